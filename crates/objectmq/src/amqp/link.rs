//! One life of the connection to a broker: two AMQP connections, one to publish and one to consume, since a broker that is short of
//! disk or memory stops reading from whoever publishes, acknowledgements included.

use super::config::{AmqpConfig, AmqpTls};
use crate::queue::lock;
use crate::transport::Trouble;
use futures_util::StreamExt;
use lapin::options::ConfirmSelectOptions;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, Event};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Longest time that a host may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of a connection, in seconds.
const HEARTBEAT_S: u16 = 10;
/// How often a connection that says nothing of its end is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A connected broker.
pub struct Link {
    /// To consume on.
    pub incoming: Connection,
    outgoing: Connection,
    publisher: tokio::sync::Mutex<Option<Channel>>,
    /// Exchanges that are known to exist.
    pub exchanges: Mutex<HashSet<String>>,
    /// Why the broker takes no messages now.
    blocked: watch::Sender<Option<String>>,
    /// Why it ended.
    lost: watch::Sender<Option<String>>,
}

impl Link {
    /// Connects to the first host that lets us in.
    pub async fn connect(config: &AmqpConfig) -> Result<Arc<Link>, Trouble> {
        let mut trouble = Trouble::Unreachable("no host is configured".to_owned());
        for (host, port) in &config.hosts {
            let connections = async { Ok((connect(config, host, *port, "in").await?, connect(config, host, *port, "out").await?)) };
            match connections.await {
                Ok((incoming, outgoing)) => return Ok(Link::of(incoming, outgoing)),
                // Another host would say the same of the password; of everything else it may not.
                Err(refused @ Trouble::Rejected { .. }) => return Err(refused),
                Err(error) => trouble = error,
            }
        }
        Err(trouble)
    }

    fn of(incoming: Connection, outgoing: Connection) -> Arc<Link> {
        let link = Arc::new(Link {
            publisher: tokio::sync::Mutex::new(None),
            exchanges: Mutex::default(),
            blocked: watch::Sender::new(None),
            lost: watch::Sender::new(None),
            incoming,
            outgoing,
        });
        link.watch(&link.incoming);
        link.watch(&link.outgoing);
        link
    }

    /// Notes what a connection goes through, until the link ends.
    fn watch(self: &Arc<Link>, connection: &Connection) {
        let mut events = connection.events_listener();
        let (link, status) = (Arc::downgrade(self), connection.status().clone());
        tokio::spawn(async move {
            loop {
                let event = tokio::time::timeout(LOOK_INTERVAL, events.next()).await;
                let Some(link) = link.upgrade() else { return };
                match event {
                    Ok(Some(Event::ConnectionBlocked(why))) => link.set_blocked(Some(why)),
                    Ok(Some(Event::ConnectionUnblocked)) => link.set_blocked(None),
                    // Of a single channel: whoever uses it is told.
                    Ok(Some(Event::Error(error))) if error.is_amqp_soft_error() => {}
                    Ok(Some(Event::Error(error))) => return link.lose(&error.to_string()),
                    Ok(None) => return link.lose("the connection ended"),
                    Ok(Some(_)) | Err(_) => {}
                }
                if !status.connected() {
                    return link.lose("the connection ended");
                }
            }
        });
    }

    fn set_blocked(&self, why: Option<String>) {
        match &why {
            Some(why) => tracing::error!(why, "the message broker takes no messages"),
            None => tracing::info!("the message broker takes messages again"),
        }
        self.blocked.send_replace(why);
    }

    /// Why the broker takes no messages now, if it does not.
    pub fn blocked(&self) -> Option<String> {
        self.blocked.borrow().clone()
    }

    /// Ends it: whatever was not confirmed or acknowledged on it is unknown.
    pub fn lose(&self, why: &str) {
        self.lost.send_if_modified(|lost| lost.is_none() && lost.replace(why.to_owned()).is_none());
    }

    /// Waits until it has ended, and says why.
    pub async fn ended(&self) -> String {
        let mut lost = self.lost.subscribe();
        // The sender is ours.
        let ended = lost.wait_for(Option::is_some).await;
        ended.ok().and_then(|why| why.clone()).unwrap_or_default()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.lost.borrow().is_some()
    }

    /// The channel to publish on; another one if the last was closed.
    pub async fn publisher(&self) -> Result<Channel, lapin::Error> {
        let mut publisher = self.publisher.lock().await;
        if let Some(channel) = publisher.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        // What closed it may have been a missing exchange.
        lock(&self.exchanges).clear();
        let channel = self.outgoing.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        *publisher = Some(channel.clone());
        Ok(channel)
    }

    /// A channel for one declaration that may be refused, which closes it.
    pub async fn throwaway(&self) -> Result<Channel, lapin::Error> {
        self.outgoing.create_channel().await
    }

    /// Closes both connections.
    pub async fn close(&self) {
        self.lose("closed");
        for connection in [&self.incoming, &self.outgoing] {
            // It may have ended before.
            let _ = tokio::time::timeout(Duration::from_secs(2), connection.close(200, "OK".into())).await;
        }
    }
}

async fn connect(config: &AmqpConfig, host: &str, port: u16, direction: &str) -> Result<Connection, Trouble> {
    let (scheme, tls) = match &config.tls {
        AmqpTls::Off => (AMQPScheme::AMQP, OwnedTLSConfig::default()),
        AmqpTls::On { trusted } => (AMQPScheme::AMQPS, OwnedTLSConfig { identity: None, cert_chain: trusted.clone() }),
    };
    let userinfo = AMQPUserInfo { username: config.username.clone(), password: config.password.0.clone() };
    let uri = AMQPUri {
        scheme,
        authority: AMQPAuthority { userinfo, host: host.to_owned(), port },
        vhost: config.vhost.clone(),
        query: AMQPQueryString { heartbeat: Some(HEARTBEAT_S), ..AMQPQueryString::default() },
    };
    let name = format!("{} {direction}", config.connection_name);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let runtime = lapin::runtime::default_runtime().map_err(|error| Trouble::Unreachable(error.to_string()))?;
    let place = format!("{host}:{port}");
    let connecting = Connection::connect_uri_with_config(uri, properties, tls, runtime);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(trouble(config, &place, &error)),
        Err(_) => Err(Trouble::Unreachable(format!("{place} does not answer"))),
    }
}

/// Says what is to be done, where the broker says it.
fn trouble(config: &AmqpConfig, place: &str, error: &lapin::Error) -> Trouble {
    let ErrorKind::ProtocolError(said) = error.kind() else {
        let text = format!("{place}: {error}");
        // The library hands on no more than the text of the TLS library.
        return if text.contains("peer certificate") { Trouble::Untrusted(text) } else { Trouble::Unreachable(text) };
    };
    let text = said.get_message();
    let rejected = |text: String| Trouble::Rejected { status: said.get_id(), text };
    match said.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            rejected(format!("{place} does not accept the user {:?} with this password", config.username))
        }
        // The broker is starting, or stopping.
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if text.as_str().contains("is down") => {
            Trouble::Unreachable(format!("{place}: {text}"))
        }
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => rejected(format!(
            "{place} does not let the user {:?} into the virtual host {:?}: {text}",
            config.username, config.vhost
        )),
        _ => Trouble::Unreachable(format!("{place}: {text}")),
    }
}
