//! What the benchmarks of the service on PostgreSQL and RabbitMQ share: the back-ends with their default durability, light clients, the
//! load that they make, and the peer.

pub mod amqp_line;
pub mod backends;
pub mod load;
pub mod pgbench;
pub mod service;
