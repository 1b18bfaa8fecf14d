//! A door to the message broker for clients of the original in given networks. The broker knows where its clients are and does not tell;
//! so, where it matters, they do not reach the broker itself, but this door: it looks at where a connection comes from, and passes its
//! bytes on. It understands none of them; who logs in with what is the broker's matter.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections at the same time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a node of the broker may take to answer.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A network: `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether this address is in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        let (bits, left, right) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(left), IpAddr::V4(right)) => (32, u128::from(u32::from(left)), u128::from(u32::from(right))),
            (IpAddr::V6(left), IpAddr::V6(right)) => (128, u128::from(left), u128::from(right)),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        (left ^ right).checked_shr(bits - u32::from(self.bits)).unwrap_or(0) == 0
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no network; write e.g. 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

/// Where the door is, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkDoor {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where they may be.
    pub networks: Vec<Network>,
}

/// An open door.
pub struct Open {
    listener: TcpListener,
    networks: Vec<Network>,
    broker: Vec<(String, u16)>,
}

impl NetworkDoor {
    /// Opens it, to the first of these nodes that answers.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn open(&self, broker: Vec<(String, u16)>) -> std::io::Result<Open> {
        Ok(Open { listener: TcpListener::bind(self.listen).await?, networks: self.networks.clone(), broker })
    }
}

impl Open {
    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Passes connections on until it is told to stop; those that are open end then.
    pub async fn serve(self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let broker = Arc::new(self.broker);
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = match stop.run_until_cancelled(self.listener.accept()).await {
                None => return,
                Some(accepted) => accepted,
            };
            match accepted {
                Ok((client, from)) if self.networks.iter().any(|network| network.holds(from.ip())) => {
                    let (broker, stop) = (Arc::clone(&broker), stop.clone());
                    tokio::spawn(async move {
                        stop.run_until_cancelled(pass_on(client, &broker)).await;
                        drop(place);
                    });
                }
                Ok((_, from)) => tracing::debug!(%from, "turned away at the door for clients of the original"),
                Err(error) => {
                    tracing::warn!(%error, "a connection at the door for clients of the original was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn pass_on(mut client: TcpStream, broker: &[(String, u16)]) {
    for (host, port) in broker {
        let connecting = TcpStream::connect((host.as_str(), *port));
        if let Ok(Ok(mut node)) = tokio::time::timeout(CONNECT_WAIT, connecting).await {
            let _ = (client.set_nodelay(true), node.set_nodelay(true));
            // However it ends, it has ended.
            let _ = copy_bidirectional(&mut client, &mut node).await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |network: &str, address: &str| network.parse::<Network>().unwrap().holds(address.parse().unwrap());
        for (network, address, expected) in [
            ("192.0.2.0/24", "192.0.2.200", true),
            ("192.0.2.0/24", "192.0.3.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ] {
            assert_eq!(holds(network, address), expected, "{network} {address}");
        }
        for text in ["", "x", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0/8", "10.0.0.0/8/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn only_clients_of_the_networks_reach_the_broker() {
        let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nodes = vec![("127.0.0.1".to_owned(), 1), ("127.0.0.1".to_owned(), broker.local_addr().unwrap().port())];
        let stop = CancellationToken::new();
        let open = async |network: &str| {
            let door = NetworkDoor { listen: "127.0.0.1:0".parse().unwrap(), networks: vec![network.parse().unwrap()] };
            let open = door.open(nodes.clone()).await.unwrap();
            let address = open.address().unwrap();
            tokio::spawn(open.serve(stop.clone()));
            TcpStream::connect(address).await.unwrap()
        };
        let mut let_in = open("127.0.0.0/8").await;
        let_in.write_all(b"AMQP").await.unwrap();
        let (mut node, _) = broker.accept().await.unwrap();
        let mut heard = [0; 4];
        node.read_exact(&mut heard).await.unwrap();
        node.write_all(b"okay").await.unwrap();
        let_in.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"okay");
        let mut turned_away = open("192.0.2.0/24").await;
        assert!(matches!(turned_away.read(&mut heard).await, Ok(0) | Err(_)));
        stop.cancel();
        assert!(matches!(let_in.read(&mut heard).await, Ok(0) | Err(_)), "what is open ends with the service");
    }
}
