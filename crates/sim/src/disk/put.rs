//! Puts something staged at its path, and takes things away from theirs; as `disk/put.rs` and `disk/remove.rs` of the client.
//!
//! The names follow the client's, so that the two can be read side by side.

use super::Removed;
use super::batch::{Batch, Folder};
use super::errno::{Errno, refused};
use super::look::{Look, as_expected};
use super::node::{Hold, Id};
use super::trash::Why;
use stacksync_core::engine::{Applied, ApplyError, Entry, Stat};
use stacksync_core::names::set_aside_name;
use stacksync_core::planted;
use stacksync_core::reconcile::RULES_NAME;
use stacksync_core::values::{ItemPath, Kind, Name};

/// Names that are tried for what cannot go back to its own.
const BESIDE_MAX: u32 = 100;

/// Something staged under a name of ours.
#[derive(Clone, Debug)]
pub(super) struct Temporary {
    pub folder: Hold,
    pub name: Name,
    /// The name was renamed to somewhere else: nothing is left to remove.
    pub given_away: bool,
}

/// Where something was set aside: its place in the trash, or a hidden name in its own folder from which it is copied there.
pub(super) struct Aside {
    folder: Hold,
    name: Name,
    copy: Copy,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Copy {
    Needed,
    No,
}

impl Batch {
    /// Puts a staged thing where nothing is.
    pub async fn put_new(
        &mut self,
        staged: &mut Temporary,
        folder: &Folder,
        name: &Name,
        path: &ItemPath,
    ) -> Result<(), ApplyError> {
        if planted!(WriteInPlace) && staged.name == *name {
            staged.given_away = true;
            return Ok(());
        }
        self.calls
            .rename_new(&staged.folder, &staged.name, &folder.handle, name)
            .await
            .map_err(|errno| refused("put in place", path, errno))?;
        staged.given_away = true;
        self.touch(&folder.handle);
        Ok(())
    }

    /// Puts a staged thing in the place of what is expected there, which goes to the trash.
    pub async fn put_over(
        &mut self,
        staged: &mut Temporary,
        folder: &Folder,
        name: &Name,
        path: &ItemPath,
        expect: &Stat,
    ) -> Result<(), ApplyError> {
        self.expected_at(folder, name, path, expect).await?;
        self.swap(staged, folder, name, path, expect).await
    }

    /// The second look comes after the exchange: if the old one is not the expected one, all is swapped back.
    async fn swap(
        &mut self,
        staged: &mut Temporary,
        folder: &Folder,
        name: &Name,
        path: &ItemPath,
        expect: &Stat,
    ) -> Result<(), ApplyError> {
        let failed = |errno| refused("replace", path, errno);
        let Look::Here(ours) = self.calls.look(&staged.folder, &staged.name).await.map_err(failed)? else {
            return Err(ApplyError::Changed);
        };
        let ours = ours.stat;
        let aside = self.set_aside(&staged.folder, &staged.name, folder, path, Why::Replaced).await.map_err(failed)?;
        staged.given_away = true;
        let old_id = match self.exchange_away(&aside, folder, name, path).await {
            Ok(Some(id)) => id,
            Ok(None) => return self.put_over_in_steps(aside, &ours, folder, name, path, expect).await,
            Err(errno) => {
                self.calls.unlink(&aside.folder, &aside.name).await.ok();
                return Err(failed(errno));
            }
        };
        self.touch(&folder.handle);
        let kept = match self.calls.look(&aside.folder, &aside.name).await {
            Ok(Look::Here(found)) if as_expected(&found.stat, expect) => self.keep(&aside, old_id, path, Why::Replaced).await,
            Ok(_) => Err(ApplyError::Changed),
            Err(errno) => Err(failed(errno)),
        };
        if kept.is_err() {
            match self.exchange_away(&aside, folder, name, path).await {
                Ok(_) => self.is_back(old_id),
                Err(errno) => {
                    self.stays_aside(old_id);
                    return Err(failed(errno));
                }
            }
            self.unstage(&aside, &ours, folder, name).await;
        }
        kept
    }

    /// The exchange; tells which node it brought out, which is aside until it goes back or is kept. `None`: names cannot be exchanged here.
    async fn exchange_away(&self, aside: &Aside, folder: &Folder, name: &Name, path: &ItemPath) -> Result<Option<Id>, Errno> {
        if !self.calls.exchange(&aside.folder, &aside.name, &folder.handle, name).await? {
            return Ok(None);
        }
        let id = self.calls.node_at(&aside.folder, &aside.name).ok_or(Errno::NoEnt)?;
        self.is_aside(id, path);
        Ok(Some(id))
    }

    /// The same where names cannot be exchanged: for a moment nothing is at the path.
    async fn put_over_in_steps(
        &mut self,
        staged: Aside,
        ours: &Stat,
        folder: &Folder,
        name: &Name,
        path: &ItemPath,
        expect: &Stat,
    ) -> Result<(), ApplyError> {
        let put = self.put_in_steps(&staged, folder, name, path, expect).await;
        if put.is_err() {
            self.unstage(&staged, ours, folder, name).await;
        }
        self.touch(&folder.handle);
        put
    }

    /// Removes what was staged; unless somebody wrote to it while it was at the path: then it is his, and goes beside what is there.
    async fn unstage(&self, staged: &Aside, ours: &Stat, folder: &Folder, name: &Name) {
        let Some(id) = self.calls.node_at(&staged.folder, &staged.name) else { return };
        match self.calls.look(&staged.folder, &staged.name).await {
            Ok(Look::Here(found)) if found.stat.same_content(ours) => {
                self.is_back(id);
                self.calls.unlink(&staged.folder, &staged.name).await.ok();
            }
            Ok(Look::Here(_) | Look::Odd(_)) => self.put_back(staged, id, folder, name).await,
            Ok(Look::Absent) | Err(_) => self.stays_aside(id),
        }
    }

    async fn put_in_steps(
        &mut self,
        staged: &Aside,
        folder: &Folder,
        name: &Name,
        path: &ItemPath,
        expect: &Stat,
    ) -> Result<(), ApplyError> {
        let (old, old_id) = self.take(folder, name, path, expect, Why::Replaced).await?;
        if let Err(errno) = self.calls.rename_new(&staged.folder, &staged.name, &folder.handle, name).await {
            self.put_back(&old, old_id, folder, name).await;
            return Err(refused("replace", path, errno));
        }
        let kept = self.keep(&old, old_id, path, Why::Replaced).await;
        if kept.is_err() {
            match self.calls.rename_new(&folder.handle, name, &staged.folder, &staged.name).await {
                Ok(()) => {
                    let new_id = self.calls.node_at(&staged.folder, &staged.name).ok_or(ApplyError::Changed)?;
                    self.is_aside(new_id, path);
                    self.put_back(&old, old_id, folder, name).await;
                }
                Err(_) => self.stays_aside(old_id),
            }
        }
        kept
    }

    /// The second look comes after the rename: if it took another thing than expected, that is put back.
    async fn take(
        &mut self,
        folder: &Folder,
        name: &Name,
        path: &ItemPath,
        expect: &Stat,
        why: Why,
    ) -> Result<(Aside, Id), ApplyError> {
        let failed = |errno| refused("move to the trash", path, errno);
        let aside = self.set_aside(&folder.handle, name, folder, path, why).await.map_err(failed)?;
        let id = self.calls.node_at(&aside.folder, &aside.name).ok_or(ApplyError::Changed)?;
        self.is_aside(id, path);
        self.touch(&folder.handle);
        match self.calls.look(&aside.folder, &aside.name).await {
            Ok(Look::Here(found)) if as_expected(&found.stat, expect) => Ok((aside, id)),
            _ => {
                self.put_back(&aside, id, folder, name).await;
                Err(ApplyError::Changed)
            }
        }
    }

    /// Renames something to the trash's place for `path`, or, where `near` is on another file system, to a hidden name there.
    async fn set_aside(&mut self, from: &Hold, name: &Name, near: &Folder, path: &ItemPath, why: Why) -> Result<Aside, Errno> {
        if near.is_with_home {
            let slot = self.calls.rename_to_trash(path, why, from, name).await?;
            slot.touched.iter().for_each(|folder| self.touch(folder));
            return Ok(Aside { folder: slot.folder, name: slot.name, copy: Copy::No });
        }
        let hidden = self.calls.with(super::machine::Machine::aside_name)?;
        self.calls.rename_new(from, name, &near.handle, &hidden).await?;
        Ok(Aside { folder: near.handle.clone(), name: hidden, copy: Copy::Needed })
    }

    /// Makes sure that what was set aside is in the trash. On failure it is still where it was set aside.
    async fn keep(&mut self, aside: &Aside, id: Id, path: &ItemPath, why: Why) -> Result<(), ApplyError> {
        let contents = self.calls.with(|machine| machine.contents(id, path));
        if aside.copy == Copy::Needed {
            let slot = self
                .calls
                .copy_to_trash(path, why, &aside.folder, &aside.name)
                .await
                .map_err(|errno| refused("move to the trash", path, errno))?;
            slot.touched.iter().for_each(|folder| self.touch(folder));
        }
        self.calls.with(|machine| machine.kept(id, contents));
        Ok(())
    }

    /// If something took the name meanwhile, what was set aside goes beside it; only if the disk refuses that, too, it stays in the trash.
    async fn put_back(&self, aside: &Aside, id: Id, folder: &Folder, name: &Name) {
        let mut outcome = self.calls.rename_new(&aside.folder, &aside.name, &folder.handle, name).await;
        for attempt in 1..=BESIDE_MAX {
            if outcome != Err(Errno::Exist) {
                break;
            }
            let other = set_aside_name(name, attempt);
            outcome = self.calls.rename_new(&aside.folder, &aside.name, &folder.handle, &other).await;
        }
        match outcome {
            Ok(()) => self.is_back(id),
            Err(_) => self.stays_aside(id),
        }
    }

    /// The disk does not let it back.
    fn stays_aside(&self, id: Id) {
        self.calls.with(|machine| {
            let path = machine.set_aside.get(&id).cloned().unwrap_or_default();
            let contents = machine.contents(id, &path);
            machine.kept(id, contents.into_iter().map(|removed| Removed { refused: true, ..removed }).collect());
        });
    }

    fn is_aside(&self, id: Id, path: &ItemPath) {
        self.calls.with(|machine| machine.set_aside.insert(id, path.clone()));
    }

    fn is_back(&self, id: Id) {
        self.calls.with(|machine| machine.set_aside.remove(&id));
    }

    /// `Changed` unless what is there now is as expected.
    async fn expected_at(&self, folder: &Folder, name: &Name, path: &ItemPath, expect: &Stat) -> Result<(), ApplyError> {
        match self.calls.look(&folder.handle, name).await.map_err(|errno| refused("look at", path, errno))? {
            Look::Here(found) if as_expected(&found.stat, expect) => Ok(()),
            Look::Here(_) | Look::Absent | Look::Odd(_) => Err(ApplyError::Changed),
        }
    }

    /// Moves a file or link to the trash.
    pub async fn trash(&mut self, path: &ItemPath, expect: &Stat) -> Result<Applied, ApplyError> {
        if expect.kind == Kind::Folder {
            return Err(ApplyError::Failed(format!("{path} is a folder and is not moved to the trash as a file")));
        }
        let (folder, name) = self.parent(path).await?;
        let (aside, id) = self.set_aside_expected(&folder, &name, path, expect).await?;
        self.keep_or_put_back(&aside, id, &folder, &name, path).await?;
        Ok(Applied::Absent)
    }

    /// Removes an empty folder; one that holds only ignored files, and these rules, goes to the trash with them.
    pub async fn remove_folder(&mut self, path: &ItemPath, expect: &Stat, rules: Option<&Stat>) -> Result<Applied, ApplyError> {
        let failed = |errno| refused("remove", path, errno);
        let (folder, name) = self.parent(path).await?;
        match self.calls.look(&folder.handle, &name).await.map_err(failed)? {
            Look::Here(found) if expect.kind == Kind::Folder && as_expected(&found.stat, expect) => {}
            Look::Here(_) | Look::Absent | Look::Odd(_) => return Err(ApplyError::Changed),
        }
        match self.calls.rmdir(&folder.handle, &name).await {
            Ok(()) => self.touch(&folder.handle),
            Err(Errno::NotEmpty | Errno::Exist) => {
                self.take_away_checked(&folder, &name, path, expect, rules).await?;
            }
            Err(errno) => return Err(failed(errno)),
        }
        self.forget_folders();
        Ok(Applied::Absent)
    }

    /// For a folder: between the check and the rename a file may have been put into it, or the rules edited. Then the folder comes back.
    async fn take_away_checked(
        &mut self,
        folder: &Folder,
        name: &Name,
        path: &ItemPath,
        expect: &Stat,
        rules: Option<&Stat>,
    ) -> Result<(), ApplyError> {
        let handle = self.calls.open_folder(&self.root, path).await.map_err(|_| ApplyError::Changed)?;
        let before = self.calls.names(&handle).await.map_err(|errno| refused("list", path, errno))?;
        if !planted!(RemoveFull) {
            self.only_ignored(path, rules).await?;
        }
        let (aside, id) = self.set_aside_expected(folder, name, path, expect).await?;
        if self.is_as_before(id, &before, rules).await {
            return self.keep_or_put_back(&aside, id, folder, name, path).await;
        }
        self.put_back(&aside, id, folder, name).await;
        Err(ApplyError::Changed)
    }

    /// Whether a folder that was set aside holds these names, and these rules if any.
    async fn is_as_before(&self, id: Id, names: &[Name], rules: Option<&Stat>) -> bool {
        let Ok(moved) = self.calls.with(|machine| machine.fs.hold(id)) else { return false };
        if let Some(rules) = rules.filter(|_| !planted!(RemoveFull)) {
            let Ok(name) = super::trash::name_of(RULES_NAME) else { return false };
            let seen = self.calls.look(&moved, &name).await;
            if !matches!(seen, Ok(Look::Here(found)) if as_expected(&found.stat, rules)) {
                return false;
            }
        }
        self.calls.names(&moved).await.is_ok_and(|now| now == names)
    }

    async fn set_aside_expected(
        &mut self,
        folder: &Folder,
        name: &Name,
        path: &ItemPath,
        expect: &Stat,
    ) -> Result<(Aside, Id), ApplyError> {
        self.expected_at(folder, name, path, expect).await?;
        self.take(folder, name, path, expect, Why::Deleted).await
    }

    async fn keep_or_put_back(
        &mut self,
        aside: &Aside,
        id: Id,
        folder: &Folder,
        name: &Name,
        path: &ItemPath,
    ) -> Result<(), ApplyError> {
        let kept = self.keep(aside, id, path, Why::Deleted).await;
        if kept.is_err() {
            self.put_back(aside, id, folder, name).await;
        }
        kept
    }

    /// `Ok` if everything in the folder is ignored; then so is what is below its folders. The rules that say so go last, with the folder.
    async fn only_ignored(&self, path: &ItemPath, rules: Option<&Stat>) -> Result<(), ApplyError> {
        super::calls::pause().await;
        let listing = self.calls.with(|machine| machine.scan(path, None)).map_err(|_| ApplyError::Changed)?;
        if let Some(odd) = listing.skipped.first() {
            let text = format!("{path} stays: it holds {:?}, which cannot be synced ({})", odd.name, odd.reason);
            return Err(ApplyError::Failed(text));
        }
        let are_rules =
            |entry: &Entry| entry.name.as_str() == RULES_NAME && rules.is_some_and(|rules| as_expected(&entry.stat, rules));
        let goes = |entry: &Entry| entry.ignored || are_rules(entry);
        if listing.entries.iter().all(goes) { Ok(()) } else { Err(ApplyError::Changed) }
    }
}
