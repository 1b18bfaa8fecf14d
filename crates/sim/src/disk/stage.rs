//! Staging: what came from the service is written whole before it is published by one rename. As `disk/stage.rs` of the client.

use super::batch::{Folder, Member, run};
use super::calls::{Calls, OpenFolderError, pause};
use super::errno::{Errno, refused};
use super::machine::{Machine, Outcome};
use super::node::Hold;
use super::put::Temporary;
use super::rules::{OWN_PREFIX, OWN_SUFFIX};
use super::trash::name_of;
use stacksync_core::engine::{ApplyError, DiskAction, FileId, Stat};
use stacksync_core::planted;
use stacksync_core::values::{ItemPath, Name};
use std::future::poll_fn;
use std::task::Poll;

/// A downloaded file arrives in so many pieces at most.
const PIECES_MAX: usize = 3;

/// A file that is complete and not yet in its place.
#[derive(Debug)]
pub(super) struct Staged {
    pub path: ItemPath,
    pub into: Option<FileId>,
    pub size: u64,
    pub executable: bool,
    pub modified: i64,
    pub replaces: Option<Stat>,
    pub file: Hold,
    pub temporary: Temporary,
}

/// An action from its beginning to its outcome.
pub(super) async fn carry_out(calls: Calls, action: DiskAction, contents: Option<Vec<u8>>) -> Outcome {
    let member = match action {
        DiskAction::Write { .. } => Member::Publish(calls.stage(action, &contents.unwrap_or_default()).await?),
        action @ (DiskAction::MakeFolder { .. }
        | DiskAction::MakeLink { .. }
        | DiskAction::Move { .. }
        | DiskAction::SetMeta { .. }
        | DiskAction::Trash { .. }
        | DiskAction::RemoveFolder { .. }) => Member::Act(action),
    };
    let ticket = calls.with(|machine| {
        machine.next_ticket += 1;
        machine.queue.push((machine.next_ticket, member));
        machine.next_ticket
    });
    loop {
        pause().await;
        if let Some(outcome) = calls.with(|machine| machine.outcomes.remove(&ticket)) {
            return outcome;
        }
        calls.drive().await;
    }
}

impl Calls {
    /// One step of the batch that is under way, whosoever it is.
    async fn drive(&self) {
        let applier = self.with(|machine| {
            let waits = !machine.queue.is_empty();
            machine.applier.take().or_else(|| waits.then(|| Box::pin(run(self.clone())) as _))
        });
        let Some(mut applier) = applier else { return };
        let done = poll_fn(|context| Poll::Ready(applier.as_mut().poll(context).is_ready())).await;
        if !done {
            self.with(|machine| machine.applier = Some(applier));
        }
    }

    async fn stage(&self, action: DiskAction, contents: &[u8]) -> Result<Staged, ApplyError> {
        let DiskAction::Write { path, into, body, modified, replaces, .. } = action else { return Err(ApplyError::Changed) };
        let failed = |errno| refused("write", &path, errno);
        let (parent, target) = path.split().ok_or(ApplyError::Changed)?;
        let root = self.open_root().await.map_err(|_| ApplyError::Changed)?;
        let handle = self.open_folder(&root, &parent).await.map_err(|error| match error {
            OpenFolderError::Gone => ApplyError::Changed,
            OpenFolderError::Refused(errno) => failed(errno),
        })?;
        let folder = self.with(|machine| machine.folder(handle));
        let (mut place, mut name) = self.with(|machine| machine.staging_place(&folder)).map_err(failed)?;
        if planted!(WriteInPlace) && replaces.is_none() {
            (place, name) = (folder.handle.clone(), target.clone());
        }
        let mode = if body.executable { 0o755 } else { 0o644 };
        let file = self.create(&place, &name, mode).await.map_err(failed)?;
        let mut temporary = Temporary { folder: place, name, given_away: false };
        if let Err(errno) = self.fill(&file, contents).await {
            temporary.drop_unless_given_away(self).await;
            return Err(failed(errno));
        }
        let (size, executable, modified) = (body.size, body.executable, modified.0);
        Ok(Staged { path, into, size, executable, modified, replaces, file, temporary })
    }

    async fn fill(&self, file: &Hold, contents: &[u8]) -> Result<(), Errno> {
        let pieces = self.with(|machine| 1 + machine.luck.below(PIECES_MAX));
        let long = contents.len().div_ceil(pieces).max(1);
        let mut written = 0;
        while written < contents.len() {
            let end = (written + long).min(contents.len());
            written += self.write(file, written, &contents[written..end]).await?;
        }
        Ok(())
    }

    pub async fn stage_link(&self, folder: &Folder, target: &str) -> Result<Temporary, Errno> {
        let (place, name) = self.with(|machine| machine.staging_place(folder))?;
        self.make_link(&place, &name, target).await?;
        Ok(Temporary { folder: place, name, given_away: false })
    }
}

impl Machine {
    /// Where something is staged for a target in this folder: in the client's home, or beside it under a hidden name.
    fn staging_place(&mut self, folder: &Folder) -> Result<(Hold, Name), Errno> {
        let fresh = self.fresh();
        if folder.is_with_home {
            return Ok((self.fs.hold(self.staging)?, name_of(&fresh)?));
        }
        Ok((folder.handle.clone(), name_of(&format!("{OWN_PREFIX}new-{fresh}{OWN_SUFFIX}"))?))
    }
}
