//! The whole service from outside: started in-process on a free port, or as a program, and spoken to over the network.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod chunks;
mod commits;
mod device;
mod elsewhere;
mod frames;
mod house;
mod http;
mod joining;
mod matrix;
mod notices;
mod original;
mod program;
#[path = "../../../objectmq/src/amqp/tests/rabbit.rs"]
#[allow(dead_code, reason = "not every test stops its broker")]
mod rabbit;
