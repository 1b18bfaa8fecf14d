//! The device's workspaces: which there are, where their folders are, when they start and stop.

use super::Device;
use crate::driver::device::Stay;
use crate::driver::member::{self, Attention, Member};
use crate::driver::wishes::Wishes;
use crate::session::WorkspaceInfo;
use crate::state::{Loaded, WorkspaceEntry};
use stacksync_core::engine::Cursor;
use stacksync_core::values::{Name, WorkspaceId};
use std::collections::HashSet;

impl Device {
    /// The user's workspaces, as the service has them now: new ones begin, lost ones stop.
    pub(super) async fn take_list(&mut self, found: Vec<WorkspaceInfo>) {
        self.listed = true;
        self.trouble.clear();
        let listed: HashSet<WorkspaceId> = found.iter().map(|info| info.id).collect();
        let lost: Vec<WorkspaceId> = self.members.keys().copied().filter(|id| !listed.contains(id)).collect();
        for id in lost {
            if let Some(member) = self.members.remove(&id) {
                tracing::warn!("no longer a member of the workspace '{}'; its folder stays as it is", member.entry.name);
                self.idle.insert(id, member.entry.clone());
            }
        }
        // The default workspace first: the folders of the others are in its folder.
        let (default, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|info| info.is_default);
        for info in default.into_iter().chain(others) {
            self.meet(info).await;
        }
        self.reserve_folders();
        self.try_again();
    }

    async fn meet(&mut self, info: WorkspaceInfo) {
        if self.members.contains_key(&info.id) {
            return;
        }
        let known = self.idle.remove(&info.id);
        let mut entry = known.unwrap_or_else(|| new_entry(&info));
        entry.name.clone_from(&info.name);
        let needs_folder = !entry.is_default && entry.folder.is_empty();
        if needs_folder && let Err(text) = self.make_folder(&mut entry) {
            tracing::warn!("{text}");
            self.trouble = text;
            return;
        }
        self.around.shared.state.workspace(entry.clone()).await;
        self.around.shared.state.flush().await;
        let loaded = self.flags.load(entry.id).unwrap_or_default();
        let id = entry.id;
        self.start(entry, loaded);
        self.reserve_folders();
        let (wishes, attention) = (self.wishes, self.attention());
        if let Some(member) = self.members.get_mut(&id) {
            begin(member, wishes, attention).await;
        }
    }

    pub(super) const fn attention(&self) -> Attention {
        match self.stay {
            Stay::ForGood => Attention::Lasting,
            Stay::Once => Attention::Once,
        }
    }

    fn make_folder(&self, entry: &mut WorkspaceEntry) -> Result<(), String> {
        let root = self.members.values().find(|member| member.entry.is_default);
        if let Some(member) = root.filter(|member| member.root_lost()) {
            return Err(format!("the folder {} is missing", member.disk.root().display()));
        }
        member::make_folder(&self.around.config, entry, &self.folder_names(), |name| self.reserve_also(Some(name)))
    }

    pub(super) fn start(&mut self, entry: WorkspaceEntry, loaded: Loaded) {
        let id = entry.id;
        match Member::start(&self.around, entry.clone(), loaded) {
            Ok(member) => {
                self.members.insert(id, member);
            }
            Err(text) => {
                tracing::warn!("{text}");
                self.trouble = text;
                self.idle.insert(id, entry);
            }
        }
    }

    fn folder_names(&self) -> Vec<Name> {
        let running = self.members.values().filter_map(Member::folder_name);
        running.chain(self.idle.values().filter_map(member::folder_name)).collect()
    }

    /// The default workspace leaves the folders of the others alone.
    pub(super) fn reserve_folders(&self) {
        self.reserve_also(None);
    }

    fn reserve_also(&self, one_more: Option<&Name>) {
        let names: HashSet<Name> = self.folder_names().into_iter().chain(one_more.cloned()).collect();
        for member in self.members.values().filter(|member| member.entry.is_default) {
            member.disk.reserve(names.clone());
        }
    }
}

/// A workspace that starts looks at everything; a paused device begins nothing.
pub(super) async fn begin(member: &mut Member, wishes: Wishes, attention: Attention) {
    if wishes.paused {
        member.inputs.pause().await;
    }
    member.look(attention);
}

fn new_entry(info: &WorkspaceInfo) -> WorkspaceEntry {
    WorkspaceEntry {
        id: info.id,
        name: info.name.clone(),
        is_default: info.is_default,
        folder: String::new(),
        identity: String::new(),
        cursor: Cursor::default(),
        status: String::new(),
    }
}
