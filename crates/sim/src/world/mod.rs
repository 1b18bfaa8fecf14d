//! The world: laptops with real engines, a network, the real service, a chunk storage, virtual time, one step at a time.

mod happened;

pub use happened::Happened;

use crate::disk::Disk;
use crate::scenario::Scenario;
use stacksync_core::engine::Engine;
use stacksync_core::values::{Body, ItemPath, RemoteItem, WorkspaceId};
use std::collections::BTreeMap;

/// One workspace on one laptop.
#[derive(Debug)]
pub struct Member {
    /// Number of the laptop.
    pub laptop: usize,
    /// Number of the workspace.
    pub workspace: usize,
    /// The real thing.
    pub engine: Engine,
    /// Its folder.
    pub disk: Disk,
}

/// A workspace as the service has it.
#[derive(Clone, Debug, Default)]
pub struct ServiceView {
    /// Latest versions, deleted ones included.
    pub items: BTreeMap<stacksync_core::values::ItemId, RemoteItem>,
    /// The workspace's revision.
    pub revision: u64,
}

impl ServiceView {
    /// The live items by path. Items without a way to the top are left out.
    pub fn picture(&self) -> BTreeMap<ItemPath, &RemoteItem> {
        BTreeMap::new()
    }
}

/// Everything there is.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    step: u64,
    happened: Vec<Happened>,
    members: Vec<Member>,
    views: Vec<ServiceView>,
}

impl World {
    /// What it is like.
    pub const fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Number of the scheduler's step.
    pub const fn step_number(&self) -> u64 {
        self.step
    }

    /// What happened in this step.
    pub fn happened(&self) -> &[Happened] {
        &self.happened
    }

    /// Every workspace on every laptop.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// A workspace as the service has it, after every commit of it.
    pub fn service(&self, workspace: usize) -> &ServiceView {
        &self.views[workspace]
    }

    /// The id of a workspace.
    pub fn workspace_id(&self, _workspace: usize) -> WorkspaceId {
        WorkspaceId(uuid::Uuid::nil())
    }

    /// The bytes of a version, if the storage holds all its chunks, unharmed.
    pub fn bytes_of(&self, _workspace: usize, _body: &Body) -> Option<Vec<u8>> {
        None
    }

    /// Whether a version, current or past, of this workspace has exactly these bytes and the storage holds them, unharmed.
    pub fn service_has(&self, _workspace: usize, _bytes: &[u8]) -> bool {
        false
    }

    /// Whether faults happen no more.
    pub const fn is_calm(&self) -> bool {
        false
    }
}
