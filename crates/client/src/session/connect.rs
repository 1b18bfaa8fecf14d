//! A connection to the service: TCP, and TLS over it where the address says so.

use super::address::{Address, Fingerprint};
use super::tls::{self, TlsError};
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long opening a connection may take, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody there, or no way there.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// The service.
        address: Address,
        /// What the operating system said.
        source: io::Error,
    },
    /// Somebody is there, but not whom we know.
    #[error("{address} does not prove to be the service that this device knows: {source}")]
    Untrusted {
        /// The service.
        address: Address,
        /// What does not fit.
        source: io::Error,
    },
}

/// Opens connections to one service.
#[derive(Clone)]
pub struct Connector {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    /// Connections to this address; encrypted ones believe the certificate with this fingerprint, else the platform's authorities.
    ///
    /// # Errors
    /// When TLS is asked for and there is nothing to believe.
    pub fn new(address: Address, fingerprint: Option<Fingerprint>) -> Result<Self, TlsError> {
        let tls = if address.encrypted() {
            let name =
                ServerName::try_from(address.host().to_owned()).map_err(|error| rustls::Error::General(error.to_string()))?;
            Some((TlsConnector::from(Arc::new(tls::config(fingerprint)?)), name))
        } else {
            None
        };
        Ok(Self { address, tls })
    }

    /// The service.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// A connection. Takes [`CONNECT_MAX`] at most.
    ///
    /// # Errors
    /// Whether nobody is there, or somebody else.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        match tokio::time::timeout(CONNECT_MAX, self.open()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.unreachable(io::Error::new(io::ErrorKind::TimedOut, "no answer"))),
        }
    }

    async fn open(&self) -> Result<Connection, ConnectError> {
        let target = (self.address.host(), self.address.port());
        let stream = TcpStream::connect(target).await.map_err(|error| self.unreachable(error))?;
        // Calls and notices are small and waited for.
        stream.set_nodelay(true).map_err(|error| self.unreachable(error))?;
        let Some((tls, name)) = &self.tls else { return Ok(Connection::Plain(stream)) };
        match tls.connect(name.clone(), stream).await {
            Ok(stream) => Ok(Connection::Encrypted(Box::new(stream))),
            // What TLS itself refuses is "invalid data"; all else is the network.
            Err(source) if source.kind() == io::ErrorKind::InvalidData => {
                Err(ConnectError::Untrusted { address: self.address.clone(), source })
            }
            Err(source) => Err(self.unreachable(source)),
        }
    }

    fn unreachable(&self, source: io::Error) -> ConnectError {
        ConnectError::Unreachable { address: self.address.clone(), source }
    }
}

/// Bytes to and from the service.
#[derive(Debug)]
pub enum Connection {
    /// As they are.
    Plain(TcpStream),
    /// Through TLS.
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// What the other side sends ahead of what is read is about so many bytes at most, from now on.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn receive_little(&self, bytes: usize) -> io::Result<()> {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Encrypted(stream) => stream.get_ref().0,
        };
        socket2::SockRef::from(stream).set_recv_buffer_size(bytes)
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Encrypted(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Encrypted(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
