//! Changes the user's folder, in batches as the client does: first all staged files are made durable, then each action looks and
//! acts, then the folders are made durable, and only then are the outcomes told. As `disk/apply.rs` of the client.

use super::calls::{Calls, OpenFolderError};
use super::errno::{Errno, refused, refused_move};
use super::look::{Found, Look, as_expected, mode_with, moves, present};
use super::machine::{Machine, Outcome};
use super::node::Hold;
use super::put::Temporary;
use super::stage::Staged;
use stacksync_core::engine::{Applied, ApplyError, DiskAction, FileId, Stat};
use stacksync_core::planted;
use stacksync_core::values::{ItemPath, Kind, ModifiedAt, Name};
use std::collections::BTreeMap;

/// Actions that one batch takes.
const BATCH_MAX: usize = 256;

/// One action of a batch.
#[derive(Debug)]
pub(super) enum Member {
    /// Any action but a write.
    Act(DiskAction),
    /// A write whose file is staged and complete.
    Publish(Staged),
}

/// A folder that the batch works in.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub handle: Hold,
    /// Whether the client's own folders are on its file system.
    pub is_with_home: bool,
    file: Option<FileId>,
}

/// What the actions of one batch share.
pub(super) struct Batch {
    pub calls: Calls,
    pub root: Hold,
    folders: BTreeMap<ItemPath, Folder>,
    touched: Vec<Hold>,
}

/// Carries out what waits, and leaves the outcomes with the machine.
pub(super) async fn run(calls: Calls) {
    let waiting: Vec<(u64, Member)> = calls.with(|machine| {
        let many = machine.queue.len().min(BATCH_MAX);
        machine.queue.drain(..many).collect()
    });
    let Ok(root) = calls.open_root().await else {
        for (ticket, member) in waiting {
            if let Member::Publish(mut staged) = member {
                staged.temporary.drop_unless_given_away(&calls).await;
            }
            calls.with(|machine| machine.outcomes.insert(ticket, Err(ApplyError::Changed)));
        }
        return;
    };
    let mut batch = Batch { calls: calls.clone(), root, folders: BTreeMap::new(), touched: Vec::new() };
    let settled = batch.settle(&waiting).await;
    let mut done = Vec::new();
    for ((ticket, member), settled) in waiting.into_iter().zip(settled) {
        let outcome = match member {
            Member::Act(action) => batch.act(action).await,
            Member::Publish(mut staged) => {
                let outcome = match settled {
                    Ok(Some(known)) => batch.publish(&mut staged, &known).await,
                    Ok(None) => Err(ApplyError::Changed),
                    Err(error) => Err(error),
                };
                staged.temporary.drop_unless_given_away(&calls).await;
                outcome
            }
        };
        done.push((ticket, outcome));
    }
    let durable = batch.make_durable().await;
    calls.with(|machine| {
        machine.outcomes.extend(
            done.into_iter().map(|(ticket, outcome)| (ticket, outcome.and_then(|applied| durable.clone().map(|()| applied)))),
        )
    });
}

impl Temporary {
    pub async fn drop_unless_given_away(&mut self, calls: &Calls) {
        if !self.given_away {
            calls.unlink(&self.folder, &self.name).await.ok();
        }
    }
}

impl Batch {
    /// Gives the staged files their times and modes and makes them durable. For each action what its file is then.
    async fn settle(&mut self, members: &[(u64, Member)]) -> Vec<Result<Option<Stat>, ApplyError>> {
        let mut settled = Vec::new();
        for (_, member) in members {
            settled.push(match member {
                Member::Act(_) => Ok(None),
                Member::Publish(staged) => self.prepare(staged).await.map(|()| None),
            });
        }
        for ((_, member), outcome) in members.iter().zip(&mut settled) {
            if let (Member::Publish(staged), Ok(_)) = (member, &outcome) {
                *outcome = self.wait_for(staged).await;
            }
        }
        settled
    }

    async fn prepare(&mut self, staged: &Staged) -> Result<(), ApplyError> {
        let path = &staged.path;
        let failed = |errno| refused("write", path, errno);
        self.complete(staged).await?;
        if let Some(expect) = &staged.replaces {
            let (folder, name) = self.parent(path).await?;
            match self.calls.look(&folder.handle, &name).await.map_err(failed)? {
                Look::Here(old) if as_expected(&old.stat, expect) => {
                    if old.stat.kind == Kind::File {
                        let mode = mode_with(old.mode, staged.executable);
                        self.calls.set_mode(&staged.file, mode).await.map_err(failed)?;
                    }
                }
                Look::Here(_) | Look::Absent | Look::Odd(_) => return Err(ApplyError::Changed),
            }
        }
        self.calls.set_time(&staged.file, staged.modified).await.map_err(failed)
    }

    async fn wait_for(&self, staged: &Staged) -> Result<Option<Stat>, ApplyError> {
        if !planted!(NoFsync) {
            self.calls.fsync(&staged.file).await.map_err(|errno| refused("write", &staged.path, errno))?;
        }
        self.complete(staged).await.map(Some)
    }

    /// What was staged, provided that it is complete.
    async fn complete(&self, staged: &Staged) -> Result<Stat, ApplyError> {
        match self.calls.look_open(&staged.file).await {
            Look::Here(found) if found.stat.size == staged.size => Ok(found.stat),
            Look::Here(_) | Look::Odd(_) | Look::Absent => {
                Err(ApplyError::Failed(format!("what was staged for {} is incomplete", staged.path)))
            }
        }
    }

    async fn publish(&mut self, staged: &mut Staged, known: &Stat) -> Outcome {
        let (folder, name) = self.parent_as_seen(&staged.path, staged.into).await?;
        match &staged.replaces {
            None => self.put_new(&mut staged.temporary, &folder, &name, &staged.path).await?,
            Some(expect) => self.put_over(&mut staged.temporary, &folder, &name, &staged.path, expect).await?,
        }
        Ok(present(self.calls.look_open(&staged.file).await, known))
    }

    async fn act(&mut self, action: DiskAction) -> Outcome {
        match action {
            DiskAction::MakeFolder { path, into } => self.make_folder(&path, into).await,
            DiskAction::Write { path, .. } => Err(ApplyError::Failed(format!("{path} was not staged before it was to be written"))),
            DiskAction::MakeLink { path, into, target, replaces } => self.make_link(&path, into, &target, replaces.as_ref()).await,
            DiskAction::Move { from, expect, to, into } => self.rename(&from, &expect, &to, into).await,
            DiskAction::SetMeta { path, expect, modified, executable } => self.set_meta(&path, &expect, modified, executable).await,
            DiskAction::Trash { path, expect } => self.trash(&path, &expect).await,
            DiskAction::RemoveFolder { path, expect, rules } => self.remove_folder(&path, &expect, rules.as_ref()).await,
        }
    }

    async fn make_folder(&mut self, path: &ItemPath, into: Option<FileId>) -> Outcome {
        let failed = |errno| refused("make the folder", path, errno);
        let (folder, name) = self.parent_as_seen(path, into).await?;
        self.calls.make_folder(&folder.handle, &name, 0o755).await.map_err(failed)?;
        self.touch(&folder.handle);
        match self.calls.look(&folder.handle, &name).await.map_err(failed)? {
            Look::Here(found) if found.stat.kind == Kind::Folder => Ok(Applied::Present(found.stat)),
            Look::Here(_) | Look::Absent | Look::Odd(_) => Err(ApplyError::Changed),
        }
    }

    async fn make_link(&mut self, path: &ItemPath, into: Option<FileId>, target: &str, replaces: Option<&Stat>) -> Outcome {
        let (folder, name) = self.parent_as_seen(path, into).await?;
        let mut staged = self.calls.stage_link(&folder, target).await.map_err(|errno| refused("make the link", path, errno))?;
        let made = self.put_link(&mut staged, &folder, &name, path, replaces).await;
        staged.drop_unless_given_away(&self.calls).await;
        made
    }

    async fn put_link(
        &mut self,
        staged: &mut Temporary,
        folder: &Folder,
        name: &Name,
        path: &ItemPath,
        replaces: Option<&Stat>,
    ) -> Outcome {
        let failed = |errno| refused("make the link", path, errno);
        let known = match self.calls.look(&staged.folder, &staged.name).await.map_err(failed)? {
            Look::Here(found) => found.stat,
            Look::Absent | Look::Odd(_) => return Err(failed(Errno::Inval)),
        };
        match replaces {
            None => self.put_new(staged, folder, name, path).await?,
            Some(expect) => self.put_over(staged, folder, name, path, expect).await?,
        }
        Ok(present(self.calls.look(&folder.handle, name).await.unwrap_or(Look::Absent), &known))
    }

    async fn rename(&mut self, from: &ItemPath, expect: &Stat, to: &ItemPath, into: Option<FileId>) -> Outcome {
        let failed = |errno| refused_move(from, to, errno);
        let (old, old_name) = self.parent(from).await?;
        let (new, new_name) = self.parent_as_seen(to, into).await?;
        let before = match self.calls.look(&old.handle, &old_name).await.map_err(failed)? {
            Look::Here(found) if moves(&found.stat, expect) => found,
            Look::Here(_) | Look::Absent | Look::Odd(_) => return Err(ApplyError::Changed),
        };
        match self.calls.rename_new(&old.handle, &old_name, &new.handle, &new_name).await {
            Ok(()) => {}
            Err(Errno::Exist) if planted!(MoveOnto) => {
                self.calls.rename_over(&old.handle, &old_name, &new.handle, &new_name).await.map_err(failed)?;
            }
            Err(Errno::Exist) if self.is_other_case(&before, &old_name, &new, &new_name).await => {
                self.calls.rename_over(&old.handle, &old_name, &new.handle, &new_name).await.map_err(failed)?;
            }
            Err(errno) => return Err(failed(errno)),
        }
        self.forget_folders();
        let after = self.calls.look(&new.handle, &new_name).await;
        if matches!(&after, Ok(Look::Here(found)) if (found.stat.kind, found.stat.file) != (expect.kind, expect.file)) {
            // Another file slipped in between the look and the rename.
            self.calls.rename_new(&new.handle, &new_name, &old.handle, &old_name).await.map_err(failed)?;
            return Err(ApplyError::Changed);
        }
        self.touch(&old.handle);
        self.touch(&new.handle);
        Ok(present(after.unwrap_or(Look::Absent), expect))
    }

    /// On a file system that folds case the target of a change of case is the file itself. If it is a second hard link after all, made in
    /// this moment, the rename does nothing, and the next look shows both.
    async fn is_other_case(&self, before: &Found, old_name: &Name, new: &Folder, new_name: &Name) -> bool {
        let there = self.calls.look(&new.handle, new_name).await;
        let itself = matches!(there, Ok(Look::Here(found)) if found.stat.file == before.stat.file);
        itself && old_name.key() == new_name.key()
    }

    async fn set_meta(&mut self, path: &ItemPath, expect: &Stat, modified: ModifiedAt, executable: bool) -> Outcome {
        let failed = |errno| refused("set the time and mode of", path, errno);
        let (folder, name) = self.parent(path).await?;
        let file = self.calls.open_file(&folder.handle, &name).await.map_err(failed)?;
        let before = match self.calls.look_open(&file).await {
            Look::Here(found) if expect.kind == Kind::File && as_expected(&found.stat, expect) => found,
            Look::Here(_) | Look::Absent | Look::Odd(_) => return Err(ApplyError::Changed),
        };
        let mode = mode_with(before.mode, executable);
        if mode != before.mode & 0o777 {
            self.calls.set_mode(&file, mode).await.map_err(failed)?;
        }
        // The time comes last, right after another look: setting it hides a write that came before it.
        let unchanged = matches!(self.calls.look_open(&file).await, Look::Here(found) if found.stat.same_content(expect));
        let set = if unchanged { self.calls.set_time(&file, modified.0).await.map_err(failed) } else { Err(ApplyError::Changed) };
        if let Err(error) = set {
            self.calls.set_mode(&file, before.mode).await.map_err(failed)?;
            return Err(error);
        }
        let after = self.calls.look_open(&file).await;
        self.touch(&file);
        match after {
            Look::Here(found) if found.stat.size == expect.size && found.stat.modified.may_be_kept_of(modified) => {
                Ok(Applied::Present(found.stat))
            }
            Look::Here(_) | Look::Absent | Look::Odd(_) => Ok(Applied::Present(Stat { modified, executable, ..expect.clone() })),
        }
    }

    /// The folder that holds `path`, provided that it is still the one that was seen there.
    async fn parent_as_seen(&mut self, path: &ItemPath, seen: Option<FileId>) -> Result<(Folder, Name), ApplyError> {
        let (folder, name) = self.parent(path).await?;
        if seen.is_none_or(|seen| folder.file == Some(seen)) { Ok((folder, name)) } else { Err(ApplyError::Changed) }
    }

    /// The folder that holds `path`, opened once per batch.
    pub async fn parent(&mut self, path: &ItemPath) -> Result<(Folder, Name), ApplyError> {
        let (parent, name) = path.split().ok_or(ApplyError::Changed)?;
        if let Some(folder) = self.folders.get(&parent) {
            return Ok((folder.clone(), name.clone()));
        }
        let handle = self.calls.open_folder(&self.root, &parent).await.map_err(|error| match error {
            OpenFolderError::Gone => ApplyError::Changed,
            OpenFolderError::Refused(errno) => refused("open the folder of", path, errno),
        })?;
        let folder = self.calls.with(|machine| machine.folder(handle));
        self.folders.insert(parent, folder.clone());
        Ok((folder, name.clone()))
    }

    /// Paths mean other folders now.
    pub fn forget_folders(&mut self) {
        self.folders.clear();
    }

    /// Has changed, and must be durable before the batch ends.
    pub fn touch(&mut self, changed: &Hold) {
        if self.touched.iter().all(|other| other.id != changed.id) {
            self.touched.push(changed.clone());
        }
    }

    /// In any order.
    async fn make_durable(mut self) -> Result<(), ApplyError> {
        let mut outcome = Ok(());
        while !self.touched.is_empty() {
            let which = self.calls.with(|machine| machine.luck.below(self.touched.len()));
            let one = self.touched.swap_remove(which);
            if let Err(errno) = self.calls.fsync(&one).await {
                outcome = Err(ApplyError::Failed(format!("the disk does not say that the changes are safe: {errno}")));
            }
        }
        outcome
    }
}

impl Machine {
    pub fn folder(&self, handle: Hold) -> Folder {
        let mount = |id| self.fs.nodes.get(id).map(|node| node.mount);
        let is_with_home = mount(handle.id) == mount(self.staging);
        Folder { is_with_home, file: self.fs.file_id(handle.id), handle }
    }
}
