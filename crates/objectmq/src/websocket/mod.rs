//! The transport over WebSockets: a [`Door`] at the server, which brings sessions to a [`Hub`](crate::local::Hub), and a
//! [`Client`] that keeps one connection to a door alive.
//!
//! # Frames
//!
//! Every message is one text frame: a JSON object. The body of a message stands in it as it is (its encoding is JSON too), so that
//! each side looks at it once and passes it on unchanged. Members that a reader does not know are ignored.
//!
//! | `op` | From | Members | Meaning |
//! |---|---|---|---|
//! | `publish` | client | `to` reference, `id` correlation id, `app`, `type`, `body`; `reply` true if an answer is wanted; `multi` true for all instances | send a request |
//! | `consume` | client | `n` number of the inbox, `to`, `max` unsettled messages at a time | take part in a unicast queue |
//! | `follow` | client | `n`, `to` | get the multi messages of a reference |
//! | `leave` | client | `n` | stop consuming or following |
//! | `settle` | client | `tag`; `again` true if somebody else must get it | a unicast message was dealt with |
//! | `answer` | client | `to` the `reply_to` of the request, `id`, `app`, `type`, `body` | answer a request |
//! | `ok` | server | `n` | what was asked with this `n` is done |
//! | `deliver` | server | `n`, `tag`, `id`, `app`, `type`, `body`, `reply_to` if an answer is wanted | a unicast message |
//! | `notice` | server | `n`, `id`, `app`, `type`, `body`, `reply_to` if an answer is wanted | a multi message |
//! | `answer` | server | `id`, `app`, `type`, `body` | the answer to a `publish` |
//! | `error` | server | `code`, `text`; `id` or `n` of what failed | see below |
//!
//! `code` is one of `not_bound`, `refused`, `busy`, `too_large`, `malformed`. An `error` with an `n` that was `ok` before means that
//! it was withdrawn. An unreadable frame is answered with an `error` and does not end the connection; a frame that is too long, or
//! broken below the level of frames, does. Binary frames are not used. Numbers `n` and `tag` are below 2^53.
//!
//! # A session
//!
//! Whoever owns the HTTP side authenticates the request *before* the upgrade and hands the socket to [`Door::serve`] with a
//! [`Gate`], which judges every publish, consume and follow of that session and names its [`Caller`](crate::Caller). A session
//! cannot choose where answers go: they come back to itself.
//!
//! Everything is bounded: length of a frame, messages in flight per session, what waits to be written. A session that does not read
//! what is sent to it is ended. Both sides send a ping every [`PING_EVERY`] and end a connection on which nothing came for
//! [`DEAD_AFTER`].

mod backoff;
mod client;
mod door;
pub(crate) mod frames;
mod inboxes;
mod outlet;
mod pump;
mod session;
mod socket;
mod tungstenite;

pub use backoff::Backoff;
pub use client::{Client, ClientOptions, Connection, Connector, Duplex};
pub use door::{Door, DoorOptions, Gate, Refusal, SessionEnd};
pub use socket::{CloseReason, Frame, Socket, SocketError};
pub use tungstenite::{READ_BUFFER_BYTES, TungsteniteSocket};

use std::time::Duration;

/// Pause between two pings.
pub const PING_EVERY: Duration = Duration::from_secs(20);
/// Time without any frame after which a connection is given up.
pub const DEAD_AFTER: Duration = Duration::from_secs(45);

/// When to ask whether the other side still lives, and when to give it up.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// Pause between two pings.
    pub ping_every: Duration,
    /// Time without any frame after which the connection is given up.
    pub dead_after: Duration,
}

impl Default for Keepalive {
    fn default() -> Keepalive {
        Keepalive { ping_every: PING_EVERY, dead_after: DEAD_AFTER }
    }
}

/// Longest frame that carries a body of up to `message_bytes_max` bytes.
fn frame_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max + frames::FRAME_OVERHEAD_BYTES_MAX
}

#[cfg(test)]
mod tests;
