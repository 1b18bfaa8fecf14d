//! The door for clients of the original StackSync, which speak Java serialization over AMQP and bring no credentials; and how they packed chunks.

pub mod chunks;
mod classes;

pub use classes::catalog;
pub mod networks;
