//! ObjectMQ: remote objects over messages.
//!
//! A *server* binds an object under a *reference*; a *client* looks the reference up and calls methods of it. Three kinds of call:
//! synchronous (one bound instance answers), asynchronous (one bound instance takes it, nobody answers), and multi (every instance
//! gets it: a notification, or, synchronously, a question to all). Desktop clients are servers too: they listen to the references
//! of what they follow.
//!
//! This crate knows nothing of StackSync and could be published alone. Nothing in it may panic on, or keep without bound, what
//! comes from outside.
//!
//! From the top: [`Broker`] and [`Proxy`] (calls, bindings, workers, duplicates), [`envelope`] (how a call becomes bytes),
//! [`transport`] (the seam: how bytes travel), and its implementations [`local`], [`websocket`], and `amqp` (a feature: it
//! brings many dependencies that clients do not need).
//!
//! Delivery is at least once. A retry of a synchronous call carries the same id, and a bound object answers it with the first
//! answer for as long as it remembers it (see [`AnswerLimits`]); beyond that, and for asynchronous calls, objects must be idempotent.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[cfg(feature = "amqp")]
pub mod amqp;
mod broker;
mod caller;
#[cfg(test)]
mod conformance;
pub mod envelope;
mod error;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
pub mod java;
pub mod local;
mod message;
mod object;
mod queue;
mod stats;
pub mod transport;
pub mod websocket;

pub use broker::{AnswerLimits, BindOptions, Binding, Broker, CallOptions, Proxy};
pub use caller::Caller;
pub use error::{BindError, CallError, RemoteError, SendError};
pub use message::{Message, MessageType};
pub use object::{Incoming, RemoteObject, encode_result};
pub use stats::{Stats, StatsSnapshot};
pub use transport::{ConnectionState, Transport};

/// A boxed future, as the traits of this crate return them.
pub use futures_util::future::BoxFuture;
/// Encoded JSON that is decoded once, by whom it is meant for.
pub use serde_json::value::RawValue;
