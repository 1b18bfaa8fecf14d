//! The service as a process: starts the parts in order, tells where it is, and stops without losing what it took.

use crate::cli::exit::{Exit, Failure};
use crate::config::{AmqpTransport, Config, Datasource, MessageTransport, OriginalClients, Tls};
use crate::data_dir::certificate::CertificateError;
use crate::data_dir::server_file::ServerFile;
use crate::data_dir::{self, DataDir, Lock};
use crate::db::{Db, OpenError, Outbox};
use crate::http::listen::Listener;
use crate::http::{self, Door};
use crate::legacy::{self, networks::Open};
use crate::metrics::Metrics;
use crate::secrets;
use crate::service::{
    ChunkService, Connected, Context, Elsewhere, Gate, InOrder, Instances, Notices, OriginalDoor, OriginalService, Relay,
    SyncService,
};
use crate::storage::{self, Storage};
use objectmq::amqp::Amqp;
use objectmq::envelope::Encodings;
use objectmq::local::{Hub, HubLimits};
use objectmq::transport::Trouble;
use objectmq::websocket::{self, CloseReason, DoorOptions};
use objectmq::{AnswerLimits, BindOptions, Binding, Broker, Transport};
use stacksync_protocol::{CHUNK_SERVICE, SYNC_SERVICE};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause before a starting service looks again for its database or its broker.
const START_PAUSE: Duration = Duration::from_secs(2);

/// A service that runs.
pub struct Running {
    url: String,
    address: SocketAddr,
    data: DataDir,
    _lock: Lock,
    shutdown_wait: Duration,
    bindings: Vec<Binding>,
    broker: Broker,
    beyond: Option<Beyond>,
    sessions: websocket::Door,
    /// Stops accepting connections and watching sessions.
    stop_door: CancellationToken,
    /// Stops the publisher when the outbox is empty.
    stop_notices: CancellationToken,
    connections: TaskTracker,
    watching: TaskTracker,
    publishing: TaskTracker,
}

/// Runs the service until the process is told to stop (SIGTERM, SIGINT); a second time ends it at once.
///
/// # Errors
/// When it cannot start.
pub fn run(config: &Config) -> Result<(), Failure> {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::command(format!("cannot start threads: {error}")))?;
    runtime.block_on(async {
        let listen = |kind| signal(kind).map_err(|error| Failure::command(format!("cannot listen to signals: {error}")));
        let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let running = tokio::select! {
            running = start(config) => running?,
            // It may be waiting for its database or its broker.
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::select! {
            () = running.stop() => Ok(()),
            _ = terminate.recv() => Err(Failure::command("stopped at once, on the second signal")),
            _ = interrupt.recv() => Err(Failure::command("stopped at once, on the second signal")),
        }
    })
}

/// Every connection is a file.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Starts the service.
///
/// # Errors
/// What is in the way, with the exit code for it.
pub async fn start(config: &Config) -> Result<Running, Failure> {
    let data = DataDir::open_or_create(&config.data)?;
    let lock = data.lock()?;
    // One that was killed left it; nobody must take its address for ours.
    ServerFile::remove(&data);
    data_dir::remove_leftovers(data.path());
    let db = wait_for_db(config, &data).await?;
    let (tls_config, fingerprint) = match secrets::certificate(&config.tls, &db, &data).await? {
        Some(certificate) => (Some(certificate.credentials.server_config()?), certificate.fingerprint),
        None => (None, None),
    };
    let metrics = Arc::new(Metrics::default());
    let hub = Hub::new(HubLimits::default());
    let broker = Broker::new(Arc::new(hub.clone()));
    let beyond = match &config.messages {
        MessageTransport::Builtin => None,
        MessageTransport::Amqp(amqp) => Some(Beyond::connect(amqp).await?),
    };
    let in_order = Arc::new(InOrder::new(hub.clone(), Arc::clone(&metrics)));
    let context = open_service(config, &data, db, &broker, beyond.as_ref().map(|beyond| (beyond, &in_order)), &metrics).await?;
    let listener = Listener::bind(config.listen, tls_config, config.http, metrics).await.map_err(|error| {
        Failure::new(Exit::Http, format!("cannot listen on {}: {error}; choose another address with http.listen", config.listen))
    })?;
    let address = listener.address().map_err(|error| Failure::new(Exit::Http, error))?;
    let url = url(config, address);
    context.db.announce(&listening_at(config, address));
    let door = match &beyond {
        Some(beyond) => beyond.open_door(config).await?,
        None => None,
    };
    let mut bindings = bind_objects(config, &broker, &context).await?;
    if let Some(beyond) = &beyond {
        bindings.extend(beyond.bind(config, &in_order, &context).await?);
    }
    let mut running = Running {
        url: url.clone(),
        address,
        data,
        _lock: lock,
        shutdown_wait: config.shutdown_wait,
        bindings,
        broker,
        beyond,
        sessions: websocket::Door::new(hub.clone(), DoorOptions::default()),
        stop_door: CancellationToken::new(),
        stop_notices: CancellationToken::new(),
        connections: TaskTracker::new(),
        watching: TaskTracker::new(),
        publishing: TaskTracker::new(),
    };
    let mut outbox = context.db.outbox();
    if let Some(Err(error)) = futures_util::future::OptionFuture::from(outbox.as_mut().map(|outbox| outbox.enter())).await {
        tracing::warn!(%error, "the other instances do not know of this one yet");
    }
    running.open(config, &context, &hub, (listener, outbox));
    running.watch_over(&context, in_order);
    if let Some(door) = door {
        running.watching.spawn(door.serve(running.stop_door.clone()));
    }
    ServerFile { url: url.clone(), pid: std::process::id(), fingerprint }.write(&running.data)?;
    tracing::info!(%url, data = %running.data.path().display(), version = env!("CARGO_PKG_VERSION"), "listening");
    Ok(running)
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        Self::new(Exit::Config, error)
    }
}

/// The metadata store of this configuration.
pub(crate) async fn open_db(config: &Config, data: &DataDir) -> Result<Db, Failure> {
    try_db(config, data).await.map_err(|error| Failure::new(Exit::Database, error))
}

async fn try_db(config: &Config, data: &DataDir) -> Result<Db, OpenError> {
    match &config.datasource {
        Datasource::Sqlite => Db::open(&data.database()),
        Datasource::Postgresql(place) => Db::connect(place).await,
    }
}

/// The metadata store; waits for a database that is away, as a running service would.
async fn wait_for_db(config: &Config, data: &DataDir) -> Result<Db, Failure> {
    loop {
        match try_db(config, data).await {
            Ok(db) => return Ok(db),
            Err(error @ OpenError::Unreachable { .. }) => {
                tracing::warn!(%error, "waiting for the metadata database; trying again in {} s", START_PAUSE.as_secs());
                tokio::time::sleep(START_PAUSE).await;
            }
            Err(error) => return Err(Failure::new(Exit::Database, error)),
        }
    }
}

/// Where the chunks are.
pub(crate) fn chunks_folder(config: &Config, data: &DataDir) -> PathBuf {
    config.chunks.clone().unwrap_or_else(|| data.chunks())
}

async fn open_service(
    config: &Config,
    data: &DataDir,
    db: Db,
    broker: &Broker,
    beyond: Option<(&Beyond, &Arc<InOrder>)>,
    metrics: &Arc<Metrics>,
) -> Result<Arc<Context>, Failure> {
    let notices = Notices::new(broker.clone(), Arc::clone(metrics));
    let notices = match beyond {
        None => notices,
        Some((beyond, in_order)) => notices.and(beyond.notices(&db, metrics), Arc::clone(in_order)),
    };
    let Storage { store, bundles } = storage::open(config, data, &db).await?;
    let tickets = secrets::tickets(&db, data).await?;
    Ok(Arc::new(Context {
        gate: Gate::new(db.clone()),
        db,
        data: data.clone(),
        store,
        bundles,
        chunks_there: Default::default(),
        tickets,
        ticket_lifetime: config.ticket_lifetime,
        way: config.storage.way,
        notices,
        metrics: Arc::clone(metrics),
    }))
}

async fn bind_objects(config: &Config, broker: &Broker, context: &Arc<Context>) -> Result<Vec<Binding>, Failure> {
    let options = BindOptions { workers: config.workers, answers: AnswerLimits::default() };
    let sync = broker.bind(SYNC_SERVICE, Arc::new(SyncService(Arc::clone(context))), options.clone()).await;
    let chunks = broker.bind(CHUNK_SERVICE, Arc::new(ChunkService(Arc::clone(context))), options).await;
    [sync, chunks].into_iter().map(|binding| binding.map_err(|error| Failure::new(Exit::ObjectMq, error))).collect()
}

/// The message broker, and who is reached by it.
struct Beyond {
    transport: Amqp,
    instances: Instances,
    /// Speaks as the original did.
    original: Broker,
    door: Option<OriginalClients>,
}

impl Beyond {
    async fn connect(config: &AmqpTransport) -> Result<Beyond, Failure> {
        let transport = loop {
            match Amqp::connect(config.broker.clone()).await {
                Ok(transport) => break transport,
                Err(trouble @ (Trouble::Unreachable(_) | Trouble::Lost(_))) => {
                    tracing::warn!(%trouble, "waiting for the message broker; trying again in {} s", START_PAUSE.as_secs());
                    tokio::time::sleep(START_PAUSE).await;
                }
                Err(trouble) => return Err(Failure::new(Exit::ObjectMq, format!("message broker: {trouble}"))),
            }
        };
        let encodings = Encodings::original(config.encoding, Arc::new(legacy::catalog()));
        Ok(Beyond {
            instances: Instances { broker: Broker::new(Arc::new(transport.clone())), own: uuid::Uuid::new_v4() },
            original: Broker::with_encodings(Arc::new(transport.clone()), encodings),
            transport,
            door: config.original.clone(),
        })
    }

    /// The door for some networks, if there is one.
    async fn open_door(&self, config: &Config) -> Result<Option<Open>, Failure> {
        let (Some(door), MessageTransport::Amqp(amqp)) =
            (self.door.as_ref().and_then(|allowed| allowed.door.as_ref()), &config.messages)
        else {
            return Ok(None);
        };
        let open = door.open(amqp.broker.hosts.clone()).await;
        let failed = |error| format!("cannot listen on {}: {error}; choose another address with legacy.listen", door.listen);
        open.map(Some).map_err(|error| Failure::new(Exit::Http, failed(error)))
    }

    fn notices(&self, db: &Db, metrics: &Arc<Metrics>) -> Elsewhere {
        let door = self.door.clone().map(|allowed| (self.original.clone(), Arc::new(OriginalDoor::new(allowed, db.clone()))));
        Elsewhere::start(self.instances.clone(), door, db.clone(), Arc::clone(metrics))
    }

    /// Takes part in what the other instances do, and lets clients of the original in, if they are.
    async fn bind(&self, config: &Config, here: &Arc<InOrder>, context: &Arc<Context>) -> Result<Vec<Binding>, Failure> {
        let failed = |error| Failure::new(Exit::ObjectMq, error);
        let relay = Arc::new(Relay { own: self.instances.own, here: Arc::clone(here), db: context.db.clone() });
        let mut bindings = vec![self.instances.broker.listen(Relay::REFERENCE, relay).await.map_err(failed)?];
        if let Some(allowed) = &self.door {
            let door = Arc::new(OriginalDoor::new(allowed.clone(), context.db.clone()));
            let object = Arc::new(OriginalService { context: Arc::clone(context), door });
            let options = BindOptions { workers: config.workers, answers: AnswerLimits::default() };
            bindings.push(self.original.bind(SYNC_SERVICE, object, options).await.map_err(failed)?);
            tracing::warn!(
                "clients of the original StackSync are let in without credentials (legacy.clients=on): {}. Let nobody else reach it",
                allowed.meaning()
            );
        }
        Ok(bindings)
    }
}

impl Running {
    /// Where devices reach it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts what runs beside the calls.
    fn open(&mut self, config: &Config, context: &Arc<Context>, hub: &Hub, (listener, outbox): (Listener, Option<Outbox>)) {
        let connected = Arc::new(Connected::default());
        let door =
            Door::new(Arc::clone(context), Arc::clone(hub.stats()), self.sessions.clone(), Arc::clone(&connected), &config.http)
                .with_broker(self.beyond.as_ref().map(|beyond| beyond.transport.clone()));
        let router = http::router(Arc::new(door));
        self.watching.spawn(listener.serve(router, self.stop_door.clone(), self.connections.clone()));
        let (watched, sessions, stop) = (Arc::clone(context), self.sessions.clone(), self.stop_door.clone());
        self.watching.spawn(async move { connected.watch(&watched, &sessions, &stop).await });
        if let Some(outbox) = outbox {
            let (context, stop) = (Arc::clone(context), self.stop_notices.clone());
            self.publishing.spawn(async move { context.notices.run(&context.db, outbox, &stop).await });
        }
    }

    /// Where other instances tell our devices, too: keeps what they are told in order.
    fn watch_over(&self, context: &Arc<Context>, in_order: Arc<InOrder>) {
        if self.beyond.is_some() {
            let (context, stop) = (Arc::clone(context), self.stop_door.clone());
            self.watching.spawn(async move { in_order.watch(&context.db, &stop).await });
        }
    }

    /// Stops: accepts nothing more, finishes what was taken, tells everybody of it, closes. Waits no longer than configured.
    pub async fn stop(self) {
        tracing::info!("stopping");
        let Self { bindings, broker, beyond, sessions, stop_door, stop_notices, connections, watching, publishing, .. } = self;
        let finished = async {
            stop_door.cancel();
            futures_util::future::join_all(bindings.into_iter().map(Binding::unbind)).await;
            watching.close();
            watching.wait().await;
            connections.close();
            stop_notices.cancel();
            publishing.close();
            publishing.wait().await;
            sessions.close(&CloseReason::new(CloseReason::AWAY, "The service stops.")).await;
            broker.close().await;
            if let Some(beyond) = beyond {
                beyond.transport.close().await;
            }
            connections.wait().await;
        };
        if tokio::time::timeout(self.shutdown_wait, finished).await.is_err() {
            tracing::warn!("stopped before everything was finished; devices will try again");
        }
        ServerFile::remove(&self.data);
        tracing::info!("stopped");
    }
}

/// Where devices reach a service that listens here.
pub(crate) fn url(config: &Config, address: SocketAddr) -> String {
    config.public_url.clone().unwrap_or_else(|| listening_at(config, address))
}

/// The same without a name or a proxy in front: the address of this instance alone.
fn listening_at(config: &Config, address: SocketAddr) -> String {
    let scheme = if config.tls == Tls::Off { "http" } else { "https" };
    let host = if address.ip().is_unspecified() { own_address(address.ip()) } else { address.ip() };
    format!("{scheme}://{}", SocketAddr::new(host, address.port()))
}

/// The address of this computer that others see: that from which it would reach them. Sends nothing.
fn own_address(unspecified: IpAddr) -> IpAddr {
    let (any, far): (IpAddr, IpAddr) = match unspecified {
        IpAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED.into(), std::net::Ipv4Addr::new(192, 0, 2, 1).into()),
        IpAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED.into(), std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    };
    let found = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((far, 9)).and_then(|()| socket.local_addr()));
    let loopback: IpAddr = if any.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
    found.map_or(loopback, |address| address.ip())
}
