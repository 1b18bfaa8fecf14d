//! The world: laptops with real engines, a network, the real service, a chunk storage, virtual time, one step at a time.
//!
//! `scheduler` chooses what happens next, `laptop`, `member`, `task` and `effects` are a laptop's client, `calls` and `network` are
//! what travels, `service` and `storage` the other side, `misfortune` what goes wrong.

mod calls;
mod effects;
mod happened;
mod laptop;
mod member;
mod misfortune;
mod network;
mod people;
mod scheduler;
mod service;
mod settle;
mod storage;
mod task;
mod trace;
mod transfer;
mod wire;

pub use happened::Happened;
pub use member::{Member, Remembered};
pub use service::ServiceView;
pub use trace::Keep;

use crate::checks::{Key, key_of_bytes};
use crate::coverage::Coverage;
use crate::disk::Disk;
use crate::outcome::{Check, Failure};
use crate::people::Operation;
use crate::random::Random;
use crate::scenario::{Fault, Rates, Scenario};
use laptop::Laptop;
use network::Call;
use service::Service;
use stacksync_core::commit::CommitAnswer;
use stacksync_core::engine::Now;
use stacksync_core::values::{Body, ChunkName, WorkspaceId};
use stacksync_protocol::sync_service::CHANGES_PAGE_MAX;
use std::collections::{BTreeSet, HashMap};
use storage::Storage;
use trace::Trace;

/// The world's wall clock at its beginning, in nanoseconds since 1970.
const START_UNIX_NS: i64 = 1_420_167_845_000_000_000;

/// In one world of so many, people put folders into each other on two laptops at once.
const QUARRELS_ONE_IN: u64 = 8;
/// In one world of so many, changes come in pages of a few items.
const SMALL_PAGES_ONE_IN: u64 = 8;

fn page(seed: u64) -> u32 {
    let mut random = Random::stream(seed, "pages", 0);
    if random.one_in(SMALL_PAGES_ONE_IN) { random.between(1, 12) as u32 } else { CHANGES_PAGE_MAX }
}

/// Everything there is.
pub struct World {
    scenario: Scenario,
    random: Random,
    rates: Rates,
    calm: bool,
    step: u64,
    now: Now,
    /// Milliseconds that may pass in a step.
    pace: u64,
    happened: Vec<Happened>,
    coverage: Coverage,
    trace: Trace,
    service: Service,
    /// When the service is there again, in milliseconds; `None` while it runs.
    service_down_until: Option<u64>,
    storage: Storage,
    laptops: Vec<Laptop>,
    members: Vec<Member>,
    calls: Vec<Call>,
    views: Vec<ServiceView>,
    /// Chunk lists of every version that the service ever accepted and still has, by content, per workspace.
    history: Vec<HashMap<Key, Vec<ChunkName>>>,
    /// What was answered to commits, by laptop and id, since the service went back last.
    answers: HashMap<(usize, String), CommitAnswer>,
    /// Items that a laptop asks for at once, at most.
    page: u32,
    /// Whether people put folders into each other.
    quarrels: bool,
    /// Operations of people that are perhaps not everywhere yet.
    recent: BTreeSet<Operation>,
    /// Steps that people took or were to take.
    people_steps: u32,
    /// Those that fell into the middle of something, beyond the scenario's own.
    extra_steps: u32,
    /// The member whose person does something in the next step.
    edits_next: Option<usize>,
    failure: Option<Failure>,
    choices: Vec<scheduler::Choice>,
}

impl World {
    /// The world of this scenario, before its first step.
    pub fn new(scenario: &Scenario, keep: Keep) -> Self {
        let storage = Storage::default();
        let now = Now { ms: 1_000, unix_ns: START_UNIX_NS };
        let service = Service::new(scenario, &storage);
        let mut random = Random::stream(scenario.seed, "scheduler", 0);
        let mut world = Self {
            scenario: scenario.clone(),
            rates: scenario.rates,
            calm: false,
            step: 0,
            now,
            pace: [1, 2, 20, 100][random.below(4)],
            random,
            happened: Vec::new(),
            coverage: Coverage::default(),
            trace: Trace::new(keep),
            service,
            service_down_until: None,
            storage,
            laptops: scenario.flavours.iter().map(|_| Laptop::new()).collect(),
            members: Vec::new(),
            calls: Vec::new(),
            views: vec![ServiceView::default(); scenario.workspaces.len()],
            history: vec![HashMap::new(); scenario.workspaces.len()],
            answers: HashMap::new(),
            page: page(scenario.seed),
            quarrels: Random::stream(scenario.seed, "quarrels", 0).one_in(QUARRELS_ONE_IN),
            recent: BTreeSet::new(),
            people_steps: 0,
            extra_steps: 0,
            edits_next: None,
            failure: None,
            choices: Vec::new(),
        };
        world.move_in();
        world
    }

    /// Every laptop gets its folders, some of them with something in them.
    fn move_in(&mut self) {
        for (workspace, share) in self.scenario.workspaces.iter().enumerate() {
            for &laptop in &share.laptops {
                let seed = self.scenario.seed ^ ((laptop as u64) << 8 | workspace as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mut disk = Disk::new(self.scenario.flavours[laptop], seed);
                disk.set_clock(self.now.unix_ns);
                disk.set_rates(&self.rates);
                self.members.push(Member::new(laptop, workspace, disk, self.now));
            }
        }
        self.furnish();
    }

    /// What it is like.
    pub const fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Number of the scheduler's step.
    pub const fn step_number(&self) -> u64 {
        self.step
    }

    /// Virtual time.
    pub const fn now(&self) -> Now {
        self.now
    }

    /// What happened in this step.
    pub fn happened(&self) -> &[Happened] {
        &self.happened
    }

    /// What happened so far, counted.
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Every workspace on every laptop.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether the laptop's client runs.
    pub fn is_up(&self, laptop: usize) -> bool {
        self.laptops[laptop].is_up()
    }

    /// A workspace as the service has it, after every commit of it.
    pub fn service(&self, workspace: usize) -> &ServiceView {
        &self.views[workspace]
    }

    /// The same, read from the store.
    pub fn stored(&self, workspace: usize) -> ServiceView {
        self.service.view(workspace)
    }

    /// The id of a workspace.
    pub fn workspace_id(&self, workspace: usize) -> WorkspaceId {
        self.service.workspace(workspace)
    }

    /// The bytes of a version, if the storage holds all its chunks, unharmed. The target of a link.
    pub fn bytes_of(&self, workspace: usize, body: &Body) -> Option<Vec<u8>> {
        match body {
            Body::Folder => Some(Vec::new()),
            Body::Link(target) => Some(target.as_bytes().to_vec()),
            Body::File(file) => {
                let mut bytes = Vec::with_capacity(file.size as usize);
                for chunk in file.chunks.iter() {
                    bytes.extend_from_slice(&self.storage.plain(self.workspace_id(workspace), &chunk.name)?);
                }
                Some(bytes)
            }
        }
    }

    /// Whether a version, current or past, of this workspace has exactly these bytes and the storage holds them, unharmed or set
    /// aside where an operator finds them.
    pub fn service_has(&self, workspace: usize, bytes: &[u8]) -> bool {
        key_of_bytes(bytes).is_some_and(|key| self.service_has_content(workspace, &key))
    }

    /// Whether the storage has all chunks of a version now, damaged or not.
    pub fn storage_has(&self, workspace: usize, body: &Body) -> bool {
        let id = self.workspace_id(workspace);
        body.chunks().iter().all(|chunk| self.storage.get(id, chunk.name).is_ok_and(|found| found.is_some()))
    }

    /// The same of a content that was named already.
    pub fn service_has_content(&self, workspace: usize, key: &Key) -> bool {
        let id = self.workspace_id(workspace);
        let chunks = self.history[workspace].get(key);
        chunks.is_some_and(|chunks| chunks.iter().all(|chunk| self.storage.has_somewhere(id, chunk)))
    }

    /// Bytes that each user uses, as the service's database has it.
    pub fn quotas_used(&self) -> Vec<u64> {
        let users = self.scenario.users.iter().max().map_or(0, |user| user + 1);
        let laptop_of = |user| self.scenario.users.iter().position(|&of| of == user);
        (0..users).map(|user| laptop_of(user).map_or(0, |laptop| self.service.quota_used(laptop))).collect()
    }

    /// How many versions of items the service's database has, the past ones included.
    pub fn versions_stored(&self) -> u64 {
        self.service.versions()
    }

    /// The user who owns a workspace.
    pub fn owner_of(&self, workspace: usize) -> usize {
        self.scenario.users[self.scenario.workspaces[workspace].laptops[0]]
    }

    /// Whether faults happen no more.
    pub const fn is_calm(&self) -> bool {
        self.calm
    }

    /// What was wrong first.
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Notes what is wrong, unless something was before.
    pub fn fail(&mut self, check: Check, text: String) {
        let step = self.step;
        self.failure.get_or_insert(Failure { check, step, text });
    }

    /// Of everything that happened so far.
    pub fn digest(&self) -> [u8; 32] {
        self.trace.digest()
    }

    /// The last lines of the trace, if they are kept.
    pub fn take_trace(&mut self) -> Vec<String> {
        self.trace.take_lines()
    }

    fn members_of(&self, laptop: usize) -> impl Iterator<Item = usize> + use<> {
        let of: Vec<usize> = (0..self.members.len()).filter(|&member| self.members[member].laptop == laptop).collect();
        of.into_iter()
    }

    fn faulty(&mut self, fault: Fault) -> bool {
        self.random.chance(self.rates.of(fault))
    }

    /// A fault happened: it is told, counted, and paired with what people did lately.
    fn note_fault(&mut self, fault: Fault, laptop: Option<usize>) {
        self.trace.add(format_args!("{} fault {fault} {laptop:?}", self.step));
        self.happened.push(Happened::Fault { fault, laptop });
        *self.coverage.faults.entry(fault).or_default() += 1;
        for &operation in &self.recent {
            *self.coverage.pairs.entry((operation, fault)).or_default() += 1;
        }
    }
}
