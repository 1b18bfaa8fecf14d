//! How to reach a broker, and how its queues are declared. The defaults are those of the original.

use crate::transport::MESSAGE_BYTES_MAX;
use std::fmt;
use std::time::Duration;

/// Everything that can be chosen.
#[derive(Clone, Debug)]
pub struct AmqpConfig {
    /// The nodes of the broker, each with its port; they are tried in turn.
    pub hosts: Vec<(String, u16)>,
    /// The virtual host.
    pub vhost: String,
    /// The user.
    pub username: String,
    /// His password.
    pub password: Password,
    /// Whether the connections are encrypted.
    pub tls: AmqpTls,
    /// Pause between two attempts to connect, and between two attempts to declare what could not be declared.
    pub retry_pause: Duration,
    /// The exchange of the unicast calls; empty: the default exchange, and nothing is declared.
    pub rpc_exchange: String,
    /// Name of the reply queue; `None`: one of our own making.
    pub reply_queue: Option<String>,
    /// Name of the queue for multi calls; `None`: one that the broker makes. One name is only good for one object.
    pub multi_queue: Option<String>,
    /// The queues of objects.
    pub object_queues: QueueFlags,
    /// The reply queue, if it has a name.
    pub reply_queues: QueueFlags,
    /// The queue for multi calls, if it has a name.
    pub multi_queues: QueueFlags,
    /// Life of a message in the reply queue.
    pub reply_lifetime: Option<Duration>,
    /// What is asked of requests; `None` leaves it to the broker.
    pub delivery_mode: Option<DeliveryMode>,
    /// What the queues of objects are.
    pub queue_kind: QueueKind,
    /// Where messages go that nobody can read or that kill whoever takes them.
    pub dead_letters: DeadLetters,
    /// How long the broker may take to confirm a message, before it is sent again.
    pub confirm_timeout: Duration,
    /// Longest body that is sent, in bytes. RabbitMQ 3 takes 128 MiB; RabbitMQ 4 takes 16 MiB unless its `max_message_size` says more.
    pub message_bytes_max: usize,
    /// What the broker shows of the connections.
    pub connection_name: String,
}

impl Default for AmqpConfig {
    fn default() -> AmqpConfig {
        AmqpConfig {
            hosts: vec![("localhost".to_owned(), 5672)],
            vhost: "/".to_owned(),
            username: "guest".to_owned(),
            password: Password("guest".to_owned()),
            tls: AmqpTls::Off,
            retry_pause: Duration::from_secs(2),
            rpc_exchange: String::new(),
            reply_queue: None,
            multi_queue: None,
            object_queues: QueueFlags { durable: false, exclusive: false, auto_delete: false },
            reply_queues: QueueFlags { durable: false, exclusive: true, auto_delete: true },
            multi_queues: QueueFlags { durable: false, exclusive: true, auto_delete: true },
            reply_lifetime: None,
            delivery_mode: None,
            queue_kind: QueueKind::Classic,
            dead_letters: DeadLetters::Kept,
            confirm_timeout: Duration::from_secs(10),
            message_bytes_max: MESSAGE_BYTES_MAX,
            connection_name: "objectmq".to_owned(),
        }
    }
}

/// Whether connections are encrypted. Certificates are always verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AmqpTls {
    /// They are not.
    Off,
    /// With TLS; the certificate is verified by those of the system, and by this chain (PEM), if there is one.
    On {
        /// Further certificates to trust.
        trusted: Option<String>,
    },
}

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Flags of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFlags {
    /// It survives a restart of the broker.
    pub durable: bool,
    /// It belongs to one connection.
    pub exclusive: bool,
    /// It goes when its last consumer does.
    pub auto_delete: bool,
}

/// What is asked of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    /// It may be lost with the broker.
    Transient,
    /// It is written to the broker's disk, in a durable queue.
    Persistent,
}

/// What a queue of an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// As the original declares it: on one node, with the flags above and no arguments.
    Classic,
    /// Replicated over the nodes of the broker, durable, and shared. A process of the original cannot declare the same queue. A message
    /// that was handed out too often goes to the dead letters.
    Quorum,
}

/// What happens to messages that nobody can deal with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetters {
    /// They are kept in the queue `dead.<reference>`: durable, and bounded.
    Kept,
    /// They are rejected; a policy of the broker may say where they go.
    Rejected,
}
