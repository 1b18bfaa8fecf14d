//! The standing connection to the service: made again whenever it is lost, and shown for what it is.

use super::connect::{ConnectError, Connector};
use super::service::Service;
use crate::home::Token;
use objectmq::Broker;
use objectmq::transport::Trouble;
use objectmq::websocket::{Client, ClientOptions, Connection};
use stacksync_protocol::join::{HttpProblem, OBJECTMQ_PATH};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module. Ends with its last clone.
#[derive(Clone)]
pub struct Link {
    service: Service,
    untrusted: Arc<AtomicBool>,
}

impl Link {
    /// Starts to connect, and keeps doing so. Must be called inside a tokio runtime.
    pub fn open(connector: Connector, token: Token) -> Self {
        let untrusted = Arc::new(AtomicBool::new(false));
        let found = untrusted.clone();
        let connect = move || {
            let (connector, token, found) = (connector.clone(), token.clone(), found.clone());
            async move { attempt(&connector, &token, &found).await }
        };
        let client = Client::start(Arc::new(connect), ClientOptions::default());
        Self { service: Service::new(Broker::new(Arc::new(client))), untrusted }
    }

    /// The service at the other end.
    pub const fn service(&self) -> &Service {
        &self.service
    }

    /// Whether whoever answered the last attempt did not prove to be the service that this device knows.
    pub fn is_untrusted(&self) -> bool {
        self.untrusted.load(Ordering::Relaxed)
    }
}

async fn attempt(connector: &Connector, token: &Token, untrusted: &AtomicBool) -> Result<Connection, Trouble> {
    let connected = connector.connect().await;
    untrusted.store(matches!(connected, Err(ConnectError::Untrusted { .. })), Ordering::Relaxed);
    let stream = connected.map_err(|error| Trouble::Unreachable(error.to_string()))?;
    let scheme = if connector.address().encrypted() { "wss" } else { "ws" };
    Ok(Connection {
        stream: Box::new(stream),
        url: format!("{scheme}://{}{OBJECTMQ_PATH}", connector.address().authority()),
        headers: vec![("Authorization".into(), format!("Bearer {}", token.secret()))],
    })
}

/// What the service said when it refused, for people.
pub fn refusal_text(said: &str) -> String {
    serde_json::from_str::<HttpProblem>(said).map_or_else(|_| said.to_owned(), |problem| problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_shown_as_the_service_put_it() {
        assert_eq!(refusal_text(r#"{"code":"revoked","message":"This device was revoked."}"#), "This device was revoked.");
        assert_eq!(refusal_text("no such place"), "no such place");
    }
}
