//! The message broker: what the `omq.*` and `legacy.*` keys mean together.

use super::table;
use super::{Values, text_of, value};
use crate::legacy::networks::NetworkDoor;
use objectmq::amqp::{AmqpConfig, AmqpTls, DeadLetters, DeliveryMode, Password, QueueFlags, QueueKind};
use objectmq::envelope::{Compression, Encoding, Serializer};
use stacksync_core::values::WorkspaceId;
use std::collections::HashSet;
use std::time::Duration;

/// Longest message through the broker: all items of a large workspace, for clients of the original.
const BROKER_BYTES_MAX: usize = 96 << 20;

/// How messages travel.
#[derive(Clone, Debug)]
pub enum MessageTransport {
    /// Within the process, and by WebSocket to it.
    Builtin,
    /// By a message broker, too.
    Amqp(Box<AmqpTransport>),
}

/// What is needed for a message broker.
#[derive(Clone, Debug)]
pub struct AmqpTransport {
    /// How to reach it, and what to declare.
    pub broker: AmqpConfig,
    /// How clients of the original are told.
    pub encoding: Encoding,
    /// Whether they are let in.
    pub original: Option<OriginalClients>,
}

/// Which clients of the original are let in, without credentials.
#[derive(Clone, Debug)]
pub struct OriginalClients {
    users: Users,
    /// `None`: all that these users are members of.
    workspaces: Option<HashSet<WorkspaceId>>,
    /// A door to the broker for some networks only.
    pub door: Option<NetworkDoor>,
}

#[derive(Clone, Debug)]
enum Users {
    All,
    /// Names, e-mail addresses and ids in lower case.
    These(HashSet<String>),
}

impl OriginalClients {
    /// Whether a user with one of these names may come in.
    pub fn names(&self, id: &str, name: &str, email: &str) -> bool {
        match &self.users {
            Users::All => true,
            Users::These(users) => [id, name, email].iter().any(|name| users.contains(&name.to_lowercase())),
        }
    }

    /// Whether the workspace is one of those that are open, as far as they are named.
    pub fn includes(&self, workspace: WorkspaceId) -> bool {
        self.workspaces.as_ref().is_none_or(|workspaces| workspaces.contains(&workspace))
    }

    /// What this means, for people.
    pub fn meaning(&self) -> String {
        let users = match &self.users {
            Users::All => "every user".to_owned(),
            Users::These(users) => {
                let mut users: Vec<&str> = users.iter().map(String::as_str).collect();
                users.sort_unstable();
                format!("the users {}", users.join(", "))
            }
        };
        let workspaces = match &self.workspaces {
            None => "all their workspaces".to_owned(),
            Some(workspaces) => format!("{} of their workspaces", workspaces.len()),
        };
        let door = match &self.door {
            None => String::new(),
            Some(door) => {
                let networks: Vec<_> = door.networks.iter().map(ToString::to_string).collect();
                format!(" (from {} through the door at {})", networks.join(", "), door.listen)
            }
        };
        format!("whoever reaches the message broker{door} can read and change {workspaces} in the name of {users}")
    }
}

/// Builds it of values that were checked one by one.
pub(super) fn transport(values: &Values) -> Result<MessageTransport, String> {
    let text = |name: &str| table::find(name).map_or("", |key| text_of(key, values));
    if text("omq.transport") != "amqp" {
        return match text("omq.serializer") {
            "java" => {
                Err("omq.serializer=java has no effect with omq.transport=builtin; set omq.transport=amqp or remove it".into())
            }
            _ => Ok(MessageTransport::Builtin),
        };
    }
    let serializer = if text("omq.serializer") == "gson" { Serializer::Json } else { Serializer::Java };
    let compression = if text("omq.compression") == "true" { Compression::Gzip } else { Compression::None };
    let encoding = Encoding { serializer, compression };
    Ok(MessageTransport::Amqp(Box::new(AmqpTransport { broker: broker(values)?, encoding, original: original(values)? })))
}

fn broker(values: &Values) -> Result<AmqpConfig, String> {
    let text = |name: &str| table::find(name).map_or("", |key| text_of(key, values));
    let is = |name: &str| text(name) == "true";
    // Where a key means two queues, what is not set is another value for each, as in the original.
    let set = |name: &str| values.get(name).map(|value| value.text == "true");
    let name = |name: &str| Some(text(name).to_owned()).filter(|name| !name.is_empty());
    let flags = |exclusive: bool, auto_delete: bool| QueueFlags {
        durable: is("omq.durable_queue"),
        exclusive: set("omq.exclusive_queue").unwrap_or(exclusive),
        auto_delete: set("omq.auto_delete").unwrap_or(auto_delete),
    };
    let queue_kind = if text("omq.queue_type") == "quorum" { QueueKind::Quorum } else { QueueKind::Classic };
    if queue_kind == QueueKind::Quorum && (set("omq.exclusive_queue") == Some(true) || set("omq.auto_delete") == Some(true)) {
        return Err("omq.queue_type=quorum: such queues are neither exclusive nor deleted by themselves; remove \
                    omq.exclusive_queue and omq.auto_delete"
            .to_owned());
    }
    Ok(AmqpConfig {
        hosts: hosts(text("omq.host"), text("omq.port"))?,
        vhost: text("omq.vhost").to_owned(),
        username: text("omq.username").to_owned(),
        password: Password(text("omq.pass").to_owned()),
        tls: tls(is("omq.enable_ssl"), text("omq.ssl_ca"))?,
        retry_pause: Duration::from_millis(text("omq.retry_connection").parse().unwrap_or(2_000)),
        rpc_exchange: text("omq.rpc_exchange").to_owned(),
        reply_queue: name("omq.reply_queue_rpc"),
        multi_queue: name("omq.multi_queue_name"),
        object_queues: flags(false, false),
        reply_queues: flags(true, true),
        multi_queues: QueueFlags {
            durable: is("omq.durable_mqueue"),
            exclusive: is("omq.exclusive_mqueue"),
            auto_delete: is("omq.auto_mdelete"),
        },
        reply_lifetime: lifetime(text("omq.message_ttl_queue"))?,
        delivery_mode: match text("omq.delivery_mode") {
            "1" => Some(DeliveryMode::Transient),
            "2" => Some(DeliveryMode::Persistent),
            _ => None,
        },
        queue_kind,
        dead_letters: if text("omq.dead_letters") == "reject" { DeadLetters::Rejected } else { DeadLetters::Kept },
        confirm_timeout: value::time(text("omq.confirm_timeout"))?,
        message_bytes_max: BROKER_BYTES_MAX,
        connection_name: "stacksync-server".to_owned(),
    })
}

/// `host`, `host:port`, or several of them with commas between; `[::1]:5672` for an address with colons.
fn hosts(text: &str, port: &str) -> Result<Vec<(String, u16)>, String> {
    let port: u16 = port.parse().map_err(|error| format!("omq.port: {error}"))?;
    let host = |place: &str| {
        let wrong = || format!("omq.host: '{place}' is no host; write e.g. mq1.example.org,mq2.example.org:5673");
        let (host, port) = match place.rsplit_once(':') {
            Some((host, own)) if !host.contains(':') || host.ends_with(']') => (host, own.parse().map_err(|_| wrong())?),
            _ => (place, port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains([' ', '/', '@']) { Err(wrong()) } else { Ok((host.to_owned(), port)) }
    };
    text.split(',').map(str::trim).map(host).collect()
}

fn tls(wanted: bool, ca: &str) -> Result<AmqpTls, String> {
    match (wanted, ca) {
        (false, "") => Ok(AmqpTls::Off),
        (false, _) => Err("omq.ssl_ca has no effect without omq.enable_ssl=true".to_owned()),
        (true, "") => Ok(AmqpTls::On { trusted: None }),
        (true, file) => {
            let pem = std::fs::read_to_string(file).map_err(|error| format!("omq.ssl_ca: cannot read '{file}': {error}"))?;
            Ok(AmqpTls::On { trusted: Some(pem) })
        }
    }
}

/// Milliseconds; what is not positive is none, as in the original.
fn lifetime(text: &str) -> Result<Option<Duration>, String> {
    let millis: i64 =
        text.parse().map_err(|_| format!("omq.message_ttl_queue: '{text}' is not a number of milliseconds, nor -1 for none"))?;
    Ok(u64::try_from(millis).ok().filter(|millis| *millis > 0).map(Duration::from_millis))
}

fn original(values: &Values) -> Result<Option<OriginalClients>, String> {
    let text = |name: &str| table::find(name).map_or("", |key| text_of(key, values));
    let list = |name: &str| {
        text(name).split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_lowercase).collect::<Vec<_>>()
    };
    let (users, workspaces) = (list("legacy.users"), list("legacy.workspaces"));
    let (listen, networks) = (list("legacy.listen"), list("legacy.networks"));
    if text("legacy.clients") != "on" {
        let ineffective = [
            ("legacy.users", &users),
            ("legacy.workspaces", &workspaces),
            ("legacy.listen", &listen),
            ("legacy.networks", &networks),
        ];
        let name = ineffective.into_iter().find(|(_, list)| !list.is_empty()).map(|(name, _)| name);
        return name
            .map_or(Ok(None), |name| Err(format!("{name} has no effect without legacy.clients=on; set it or remove {name}")));
    }
    let users = match &users[..] {
        [] => {
            return Err("legacy.clients=on lets clients in without credentials; say whose with legacy.users (names or e-mail \
                          addresses with commas between, or * for everybody)"
                .to_owned());
        }
        [all] if all == "*" => Users::All,
        _ => Users::These(users.into_iter().collect()),
    };
    let workspace = |id: &String| id.parse().map_err(|_| format!("legacy.workspaces: '{id}' is not the id of a workspace"));
    let workspaces = match workspaces.is_empty() {
        true => None,
        false => Some(workspaces.iter().map(workspace).collect::<Result<_, _>>()?),
    };
    Ok(Some(OriginalClients { users, workspaces, door: door(text("legacy.listen"), &networks)? }))
}

fn door(listen: &str, networks: &[String]) -> Result<Option<NetworkDoor>, String> {
    match (listen.is_empty(), networks.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => {
            let networks = networks.iter().map(|network| network.parse()).collect::<Result<_, String>>();
            let networks = networks.map_err(|problem| format!("legacy.networks: {problem}"))?;
            Ok(Some(NetworkDoor { listen: value::listen(listen)?, networks }))
        }
        (true, false) | (false, true) => {
            Err("legacy.listen and legacy.networks go together: a door to the broker, and where whoever comes \
             through it may be; set both or none"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts() {
        let expected = |list: &[(&str, u16)]| Ok(list.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect::<Vec<_>>());
        assert_eq!(hosts("localhost", "5672"), expected(&[("localhost", 5672)]));
        assert_eq!(hosts("a, b:1 ,[::1]:2,::1,[::1]", "3"), expected(&[("a", 3), ("b", 1), ("::1", 2), ("::1", 3), ("::1", 3)]));
        for wrong in ["", "a,", "a:x", "a:99999", "amqp://a", "u@a", "a b"] {
            assert!(hosts(wrong, "5672").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_door_needs_networks() {
        let networks = ["10.0.0.0/8".to_owned(), "::1".to_owned()];
        let opened = door("0.0.0.0:5673", &networks).unwrap().unwrap();
        assert_eq!((opened.listen.port(), opened.networks.len()), (5_673, 2));
        assert_eq!(door("", &[]), Ok(None));
        for (listen, networks) in [("0.0.0.0:5673", &[][..]), ("", &networks), ("x", &networks), ("0.0.0.0:1", &["x".to_owned()])] {
            assert!(door(listen, networks).is_err(), "{listen} {networks:?}");
        }
    }

    #[test]
    fn a_lifetime_that_is_not_positive_is_none() {
        assert_eq!(lifetime("-1"), Ok(None));
        assert_eq!(lifetime("0"), Ok(None));
        assert_eq!(lifetime("1500"), Ok(Some(Duration::from_millis(1_500))));
        assert!(lifetime("soon").is_err());
    }
}
