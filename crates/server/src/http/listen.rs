//! The listening socket: accepts connections, at most so many at a time, does TLS, and hands requests to the router.
//!
//! A peer that is slow to say what it wants, or to take the answer, loses its connection.

use super::stall::StallLimit;
use crate::config::HttpLimits;
use crate::metrics::Metrics;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Pause after the system refused to accept a connection, usually because the process has too many open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The HTTP door of one service.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: HttpLimits,
    metrics: Arc<Metrics>,
}

impl Listener {
    /// Binds the address; nothing is accepted yet.
    ///
    /// # Errors
    /// When the system refuses, e.g. because the port is in use.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        limits: HttpLimits,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self { socket, tls: tls.map(TlsAcceptor::from), limits, metrics })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts connections until it is told to stop; then the socket is closed, and `connections` ends when the last request has been
    /// answered.
    pub async fn serve(self, router: Router, stop: CancellationToken, connections: TaskTracker) {
        let room = Arc::new(Semaphore::new(self.limits.connections_max));
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let place = Arc::clone(&room).acquire_owned().await.ok();
                (self.socket.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                () = stop.cancelled() => return,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = Connection {
                        peer,
                        tls: self.tls.clone(),
                        limits: self.limits,
                        metrics: Arc::clone(&self.metrics),
                        router: router.clone(),
                    };
                    let stop = stop.clone();
                    connections.spawn(async move {
                        connection.run(stream, stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// One accepted connection.
struct Connection {
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    limits: HttpLimits,
    metrics: Arc<Metrics>,
    router: Router,
}

impl Connection {
    async fn run(self, stream: TcpStream, stop: CancellationToken) {
        // Answers and notices are small and must not wait for each other.
        let _ = stream.set_nodelay(true);
        self.metrics.connections_total.one();
        self.metrics.connections.one();
        let _open = Open(Arc::clone(&self.metrics));
        let stream = Counted { stream, metrics: Arc::clone(&self.metrics) };
        match self.tls.clone() {
            None => self.serve(stream, stop).await,
            Some(tls) => {
                let handshake = tokio::time::timeout(self.limits.header_timeout, tls.accept(stream));
                match stop.run_until_cancelled(handshake).await {
                    Some(Ok(Ok(stream))) => self.serve(stream, stop).await,
                    Some(Ok(Err(_)) | Err(_)) => self.metrics.handshakes_failed.one(),
                    None => {}
                }
            }
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, stop: CancellationToken) {
        let Self { peer, router, limits, .. } = self;
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(StallLimit::new(stream)), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}

/// Counts a connection as open while it lives.
struct Open(Arc<Metrics>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.sub(1);
    }
}

/// A stream whose bytes are counted.
struct Counted {
    stream: TcpStream,
    metrics: Arc<Metrics>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.metrics.network_in.add((buffer.filled().len() - before) as u64);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count_sent(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.count_sent(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Counted {
    fn count_sent(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(sent)) = &polled {
            self.metrics.network_out.add(*sent as u64);
        }
        polled
    }
}
