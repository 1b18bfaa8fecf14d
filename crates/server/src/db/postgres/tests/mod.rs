//! What holds for PostgreSQL only: several instances, broken connections, poolers, other people's databases.

mod faults;
mod instances;
mod open;
