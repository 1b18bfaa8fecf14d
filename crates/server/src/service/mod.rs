//! The remote objects of the service: `ISyncService` and `IChunkService`.
//!
//! Who calls is what the door found out ([`Principal`]); what he may do with a workspace is decided by [`Gate`] alone. Nothing here
//! speaks HTTP or SQL.

mod account;
mod answer;
mod belief;
mod border;
mod bundles;
mod chunks;
mod commit;
mod elsewhere;
mod fault;
mod gate;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
mod methods;
mod notices;
mod order;
mod original;
mod read;
mod session;

pub use chunks::ChunkService;
pub use elsewhere::{Elsewhere, Instances, Relay};
pub use fault::Fault;
pub use gate::{Authorized, Gate, Principal};
pub use methods::{ChunkMethod, OBJECTS, SyncMethod};
pub use notices::Notices;
pub use order::InOrder;
pub use original::{OriginalDoor, OriginalService};
pub use session::{Connected, SessionGate};

use crate::data_dir::DataDir;
use crate::db::{Db, UnixMs};
use crate::metrics::{Metrics, Outcome};
use belief::Beliefs;
use border::Sender;
use commit::Answered;
use objectmq::{BoxFuture, Caller, Incoming, RawValue, RemoteError, RemoteObject, encode_result};
use serde::Serialize;
use stacksync_chunks::store::ChunkStore;
use stacksync_chunks::ticket::TicketKey;
use stacksync_core::values::{ChunkName, WorkspaceId};
use stacksync_storage::BundledStore;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it is believed that a chunk is where it was a moment ago.
const CHUNKS_BELIEF: Duration = Duration::from_secs(1);

/// How devices move chunks to and from the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteWay {
    /// At the storage itself; through the service where a device says that it cannot reach it.
    DirectOrRelay,
    /// At the storage itself and in no other way.
    Direct,
    /// Through the service.
    Relay,
}

impl ByteWay {
    /// Whether devices go to the storage, if this one asks for the relay or not.
    pub(crate) const fn is_direct(self, asked_for_relay: bool) -> bool {
        match self {
            Self::Direct => true,
            Self::DirectOrRelay => !asked_for_relay,
            Self::Relay => false,
        }
    }
}

/// Chunks of a workspace that are believed to be in the storage: a device commits right after it has uploaded. Whatever takes chunks away
/// waits much longer than this lasts, since commits may be under way.
pub struct ChunksThere(Beliefs<(WorkspaceId, ChunkName), ()>);

impl ChunksThere {
    /// Each is believed in for so long.
    pub fn new(lasting: Duration) -> Self {
        Self(Beliefs::new(lasting))
    }

    /// Whether this one is believed to be there.
    pub fn has(&self, workspace: WorkspaceId, name: ChunkName) -> bool {
        self.0.of(&(workspace, name)).is_some()
    }

    /// It was seen there now.
    pub fn note(&self, workspace: WorkspaceId, name: ChunkName) {
        self.0.note((workspace, name), ());
    }
}

impl Default for ChunksThere {
    fn default() -> Self {
        Self::new(CHUNKS_BELIEF)
    }
}

/// What the remote objects work with.
pub struct Context {
    /// The metadata.
    pub db: Db,
    /// Where everything is kept.
    pub data: DataDir,
    /// The chunks.
    pub store: Arc<dyn ChunkStore>,
    /// The same storage, if small chunks lie in bundles there.
    pub bundles: Option<BundledStore>,
    /// Chunks that were seen there, or put there, a moment ago.
    pub chunks_there: ChunksThere,
    /// The key that signs chunk tickets.
    pub tickets: TicketKey,
    /// Life of a chunk ticket.
    pub ticket_lifetime: Duration,
    /// How devices move chunks.
    pub way: ByteWay,
    /// Who may do what.
    pub gate: Gate,
    /// What devices are told.
    pub notices: Notices,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// Seconds since 1970 by the clock that all instances of the service go by: tickets of one are looked at by another.
    pub fn now_s(&self) -> u64 {
        let now_ms = UnixMs::now().0.saturating_sub(self.db.clock_ahead_ms());
        u64::try_from(now_ms / 1_000).unwrap_or_default()
    }
}

/// The result of a method, encoded.
type Answer = Result<Box<RawValue>, Fault>;

fn encoded(result: &impl Serialize) -> Answer {
    encode_result(result).map_err(|error| Fault::Failed(error.message))
}

/// The caller, as the door let him in.
fn principal(caller: &Caller) -> Result<&Principal, Fault> {
    caller.get::<Principal>().ok_or(Fault::NotAuthenticated)
}

/// Counts a call and turns its fault into what the caller is told.
fn finished(metrics: &Metrics, incoming: &Incoming, started: Instant, answer: Answer) -> Result<Box<RawValue>, RemoteError> {
    let outcome = if answer.is_ok() { Outcome::Answer } else { Outcome::Error };
    metrics.call(&incoming.method, outcome, started.elapsed());
    answer.map_err(|fault| {
        if fault.is_ours() {
            metrics.errors.one();
            tracing::error!(method = %incoming.method, call = %incoming.id, %fault, "a call failed");
        } else {
            tracing::debug!(method = %incoming.method, call = %incoming.id, %fault, "a call was refused");
        }
        fault.into()
    })
}

/// `ISyncService`.
pub struct SyncService(pub Arc<Context>);

impl RemoteObject for SyncService {
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        Box::pin(async move {
            let started = Instant::now();
            let answer = self.answer(&incoming).await;
            finished(&self.0.metrics, &incoming, started, answer)
        })
    }
}

impl SyncService {
    async fn answer(&self, incoming: &Incoming) -> Answer {
        let context = &*self.0;
        let caller = principal(&incoming.caller)?;
        let method = SyncMethod::named(&incoming.method).ok_or_else(|| RemoteError::unknown_method(&incoming.method))?;
        match method {
            SyncMethod::Commit => {
                let how = if incoming.asynchronous { Answered::ByNotice } else { Answered::Directly };
                encoded(&commit::commit(context, caller, incoming.param()?, Sender::Device, how).await?)
            }
            SyncMethod::GetChanges => read::get_changes(context, caller, incoming.param()?).await,
            SyncMethod::GetWorkspaces => encoded(&read::get_workspaces(context, caller, incoming.param()?).await?),
            SyncMethod::GetAccountInfo => encoded(&account::get_account_info(context, caller, incoming.param()?).await?),
            SyncMethod::UpdateDevice => encoded(&account::update_device(context, caller, incoming.param()?).await?),
            SyncMethod::UpdateWorkspace => encoded(&account::update_workspace(context, caller, incoming.param()?).await?),
            SyncMethod::CreateShareProposal => Err(Fault::Later("Sharing is not part of this version of the service.")),
        }
    }
}
