//! The service: the real remote objects over the real store in memory, called with encoded parameters; and what it publishes.
//!
//! What dies with the process (beliefs, what waits for the publisher) dies here too; what the store committed stays.

use super::storage::Storage;
use super::wire::{Told, Wire};
use crate::scenario::Scenario;
use futures_util::FutureExt;
use objectmq::websocket::Gate as _;
use objectmq::{Broker, Caller, Incoming, RawValue, RemoteError, RemoteObject};
use serde::Serialize;
use stacksync_chunks::ticket::TicketKey;
use stacksync_core::values::{DeviceId, ItemId, ItemPath, RemoteItem, Revision, UserId, WorkspaceId};
use stacksync_protocol::{CHUNK_SERVICE, SYNC_SERVICE};
use stacksync_server::data_dir::DataDir;
use stacksync_server::db::inline::{Copy, Population};
use stacksync_server::db::{Db, Outbox, UserKey};
use stacksync_server::metrics::Metrics;
use stacksync_server::service::{ByteWay, ChunkService, ChunksThere, Context, Gate, Notices, Principal, SessionGate, SyncService};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

thread_local! {
    // Making the tables costs more than a small world.
    static EMPTY: RefCell<Option<Copy>> = const { RefCell::new(None) };
}

/// A workspace as the service has it.
#[derive(Clone, Debug, Default)]
pub struct ServiceView {
    /// Latest versions, deleted ones included.
    pub items: BTreeMap<ItemId, RemoteItem>,
    /// The workspace's revision.
    pub revision: u64,
}

impl ServiceView {
    /// The live items by path. Items without a way to the top are left out.
    pub fn picture(&self) -> BTreeMap<ItemPath, &RemoteItem> {
        self.items.values().filter(|item| !item.deleted).filter_map(|item| Some((self.path(item)?, item))).collect()
    }

    /// Where an item is; `None` if no chain of live folders leads to it.
    pub fn path(&self, item: &RemoteItem) -> Option<ItemPath> {
        let mut names = vec![item.place.name.clone()];
        let mut parent = item.place.parent;
        while let Some(id) = parent {
            let folder = self.items.get(&id).filter(|folder| !folder.deleted && names.len() <= self.items.len())?;
            names.push(folder.place.name.clone());
            parent = folder.place.parent;
        }
        names.reverse();
        Some(ItemPath::from_names(names))
    }
}

/// What one process of the service is made of.
struct Process {
    context: Arc<Context>,
    outbox: Option<Outbox>,
}

/// See the module.
pub struct Service {
    process: Process,
    wire: Arc<Wire>,
    devices: Vec<Principal>,
    workspaces: Vec<WorkspaceId>,
    seed: u64,
    epochs: u64,
    backup: Option<Copy>,
    /// Notices given to followers and not yet reported to the store.
    published: u64,
    /// The outbox may have something.
    may_publish: bool,
}

/// The ids of a world come out of its seed.
fn id(seed: u64, what: &str, number: usize) -> Uuid {
    let hash = blake3::hash(format!("{seed} {what} {number}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// Whatever the service does in memory is done when it is first polled.
fn done<T>(future: impl Future<Output = T>) -> T {
    match future.now_or_never() {
        Some(result) => result,
        None => panic!("the service waits for something"),
    }
}

impl Process {
    fn start(db: Db, wire: &Arc<Wire>, storage: &Storage) -> Self {
        let metrics = Arc::new(Metrics::default());
        let context = Context {
            data: DataDir::unopened(PathBuf::new()),
            store: storage.store(),
            bundles: None,
            // Chunks get lost here, and no time passes.
            chunks_there: ChunksThere::new(Duration::ZERO),
            tickets: TicketKey::from_bytes([7; 32]),
            ticket_lifetime: Duration::from_secs(3_600),
            way: ByteWay::Relay,
            gate: Gate::new(db.clone()),
            notices: Notices::new(Broker::new(wire.clone()), metrics.clone()),
            db,
            metrics,
        };
        let outbox = context.db.outbox();
        Self { context: Arc::new(context), outbox }
    }
}

impl Service {
    /// A service with the people of this world.
    pub fn new(scenario: &Scenario, storage: &Storage) -> Self {
        let seed = scenario.seed;
        let user_count = scenario.users.iter().max().map_or(1, |user| user + 1);
        let users: Vec<UserId> = (0..user_count).map(|number| UserId(id(seed, "user", number))).collect();
        let devices: Vec<Principal> = (scenario.users.iter().enumerate())
            .map(|(laptop, &user)| Principal { user: users[user], device: DeviceId(id(seed, "device", laptop)) })
            .collect();
        let workspaces: Vec<WorkspaceId> =
            (0..scenario.workspaces.len()).map(|number| WorkspaceId(id(seed, "workspace", number))).collect();
        let people = Population {
            epoch: id(seed, "epoch", 0),
            users: users
                .iter()
                .map(|&user| (user, devices.iter().filter(|device| device.user == user).map(|device| device.device).collect()))
                .collect(),
            workspaces: workspaces.iter().zip(&scenario.workspaces).map(|(&id, share)| (id, members(share, &devices))).collect(),
        };
        let wire = Arc::new(Wire::default());
        let process = Process::start(open(populated(&people)), &wire, storage);
        Self { process, wire, devices, workspaces, seed, epochs: 0, backup: None, published: 0, may_publish: false }
    }

    /// The id of a workspace.
    pub fn workspace(&self, number: usize) -> WorkspaceId {
        self.workspaces[number]
    }

    /// The number of a workspace that a notice is about.
    pub fn number_of(&self, reference: &str) -> Option<usize> {
        self.workspaces.iter().position(|id| id.to_string() == reference)
    }

    /// A call by a laptop's device, as it comes through its session.
    ///
    /// # Errors
    /// What the caller is told.
    pub fn call(
        &mut self,
        laptop: usize,
        reference: &str,
        method: &str,
        param: &impl Serialize,
    ) -> Result<Box<RawValue>, RemoteError> {
        let params = vec![objectmq::encode_result(param)?];
        self.call_encoded(laptop, reference, method, params)
    }

    /// The same with parameters that are encoded.
    ///
    /// # Errors
    /// What the caller is told.
    pub fn call_encoded(
        &mut self,
        laptop: usize,
        reference: &str,
        method: &str,
        params: Vec<Box<RawValue>>,
    ) -> Result<Box<RawValue>, RemoteError> {
        self.may_publish |= method == "commit";
        let caller = Caller::new(&self.devices[laptop].device.to_string(), self.devices[laptop]);
        let incoming = Incoming { caller, method: method.to_owned(), params, id: "call".to_owned(), asynchronous: false };
        let context = self.process.context.clone();
        match reference {
            SYNC_SERVICE => done(SyncService(context).call(incoming)),
            CHUNK_SERVICE => done(ChunkService(context).call(incoming)),
            _ => Err(RemoteError::failed(format!("nobody is bound to {reference}"))),
        }
    }

    /// Whether the laptop's session may follow the workspace.
    pub fn may_follow(&self, laptop: usize, workspace: usize) -> bool {
        let gate = SessionGate::new(self.process.context.clone(), self.devices[laptop]);
        done(gate.admit_follow(&self.workspaces[workspace].to_string())).is_ok()
    }

    /// Whether the outbox may have something.
    pub const fn may_publish(&self) -> bool {
        self.may_publish
    }

    /// Publishes the next notice of the outbox; empty if there is none.
    pub fn publish(&mut self) -> Vec<Told> {
        let Some(outbox) = &mut self.process.outbox else { return Vec::new() };
        let Ok(Some(notice)) = done(outbox.next_now()) else {
            self.may_publish = false;
            return Vec::new();
        };
        self.published = notice.id;
        done(self.process.context.notices.tell(notice));
        self.wire.take()
    }

    /// The store hears what was published.
    pub fn forget_published(&self) {
        // It only fails when the store is closed.
        let _ = done(self.process.context.db.outbox_done(self.published));
    }

    /// The process dies and another one starts with what was committed.
    pub fn restart(&mut self, storage: &Storage) {
        let copy = self.copy();
        self.begin(copy, storage);
    }

    fn begin(&mut self, copy: Copy, storage: &Storage) {
        self.published = 0;
        self.may_publish = true;
        self.wire.take();
        self.process = Process::start(open(copy), &self.wire, storage);
    }

    fn copy(&self) -> Copy {
        match self.process.context.db.copy() {
            Ok(Some(copy)) => copy,
            Ok(None) => panic!("the store is not in memory"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether the operator has a copy.
    pub const fn has_backup(&self) -> bool {
        self.backup.is_some()
    }

    /// The operator keeps a copy of the metadata.
    pub fn back_up(&mut self) {
        self.backup = Some(self.copy());
    }

    /// The operator puts the copy in place of the metadata; `false` if there is none.
    pub fn restore(&mut self, storage: &Storage) -> bool {
        let Some(backup) = self.backup.take() else { return false };
        self.epochs += 1;
        let again = backup.another().and_then(|again| {
            again.set_epoch(id(self.seed, "epoch", self.epochs as usize))?;
            Ok(again)
        });
        match again {
            Ok(again) => self.begin(again, storage),
            Err(error) => panic!("{error}"),
        }
        self.backup = Some(backup);
        true
    }

    /// Bytes that the laptop's user uses, as the store has it.
    pub fn quota_used(&self, laptop: usize) -> u64 {
        match done(self.process.context.db.user(UserKey::Id(self.devices[laptop].user))) {
            Ok(found) => found.map_or(0, |user| user.quota_used),
            Err(error) => panic!("{error}"),
        }
    }

    /// How many versions of items the store has, the past ones included.
    pub fn versions(&self) -> u64 {
        match self.copy().versions() {
            Ok(versions) => versions,
            Err(error) => panic!("{error}"),
        }
    }

    /// A workspace as the store has it.
    pub fn view(&self, workspace: usize) -> ServiceView {
        let db = &self.process.context.db;
        let mut view = ServiceView::default();
        loop {
            let page = match done(db.changes(self.workspaces[workspace], Revision(view.revision), u32::MAX)) {
                Ok(page) => page,
                Err(error) => panic!("{error}"),
            };
            view.items.extend(page.items.into_iter().map(|change| (change.item.id, change.item)));
            view.revision = page.to.0;
            if page.to >= page.head {
                return view;
            }
        }
    }
}

/// The users of a share, the owner first, each once.
fn members(share: &crate::scenario::Share, devices: &[Principal]) -> Vec<UserId> {
    let mut members = Vec::new();
    for &laptop in &share.laptops {
        let user = devices[laptop].user;
        if !members.contains(&user) {
            members.push(user);
        }
    }
    members
}

fn populated(people: &Population) -> Copy {
    let made = EMPTY.with_borrow_mut(|empty| {
        let empty = match empty {
            Some(empty) => empty,
            None => empty.insert(Copy::empty()?),
        };
        let copy = empty.another()?;
        copy.settle(people)?;
        Ok::<_, stacksync_server::db::inline::CopyError>(copy)
    });
    match made {
        Ok(copy) => copy,
        Err(error) => panic!("{error}"),
    }
}

fn open(copy: Copy) -> Db {
    match Db::inline(copy) {
        Ok(db) => db,
        Err(error) => panic!("{error}"),
    }
}
