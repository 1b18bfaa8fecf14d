//! Carries effects out: on the disk, over the transfer, to the service. One task per effect; its outcome is the engine's next input.

use super::applier::Applier;
use super::workspace::{Executor, Inputs};
use crate::disk::{Disk, Job, WriteTarget};
use crate::session::Service;
use crate::state::StateWriter;
use crate::transfer::{Downloader, Source, Uploader};
use stacksync_core::commit::ItemCommit;
use stacksync_core::engine::{
    Applied, ApplyError, DiskAction, Effect, Input, LogEntry, OpId, ScanError, Stat, StateDelta, UploadError, Uploaded,
};
use stacksync_core::values::{CommitId, FileBody, ItemId, ItemPath, Name, Revision, WorkspaceId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// Files that are open for uploading at once, over all workspaces.
pub const UPLOADS_OPEN_MAX: usize = 256;
/// Files that are staged and not yet in their place at once, over all workspaces.
pub const STAGED_MAX: usize = 384;

/// What all workspaces of a device share.
#[derive(Clone)]
pub struct Shared {
    /// The service.
    pub service: Service,
    /// The state.
    pub state: Arc<StateWriter>,
    /// Places for open uploads.
    pub uploads: Arc<Semaphore>,
    /// Places for staged files.
    pub staged: Arc<Semaphore>,
}

/// Carries the effects of one workspace out. Cheap to clone.
#[derive(Clone)]
pub struct Carrier {
    parts: Arc<Parts>,
}

struct Parts {
    id: WorkspaceId,
    shared: Shared,
    disk: Disk,
    uploader: Uploader,
    downloader: Downloader,
    applier: Applier,
    inputs: Inputs,
    root_lost: AtomicBool,
}

impl Carrier {
    /// Whether the last look found the workspace's folder missing, or another one in its place.
    pub fn root_lost(&self) -> bool {
        self.parts.root_lost.load(Ordering::Relaxed)
    }

    /// Outcomes go to `inputs`.
    pub fn new(
        id: WorkspaceId,
        shared: Shared,
        disk: Disk,
        uploader: Uploader,
        downloader: Downloader,
        applier: Applier,
        inputs: Inputs,
    ) -> Self {
        Self {
            parts: Arc::new(Parts { id, shared, disk, uploader, downloader, applier, inputs, root_lost: AtomicBool::new(false) }),
        }
    }
}

impl Executor for Carrier {
    fn begin(&self, effect: Effect) {
        let parts = self.parts.clone();
        tokio::spawn(async move {
            if let Some(outcome) = parts.carry_out(effect).await {
                parts.inputs.send(outcome).await;
            }
        });
    }

    async fn remember(&self, delta: StateDelta) {
        self.parts.shared.state.remember(self.parts.id, delta).await;
    }

    async fn log(&self, at_ns: i64, entry: LogEntry) {
        tracing::info!("{} {}{}{}", entry.verb, entry.path, if entry.detail.is_empty() { "" } else { ": " }, entry.detail);
        self.parts.shared.state.log(self.parts.id, at_ns, entry).await;
    }
}

impl Parts {
    async fn carry_out(&self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Scan { folder, path, names } => Some(self.scan(folder, path, names).await),
            Effect::Upload { op, path, expect } => Some(Input::Uploaded { op, result: self.upload(path, expect).await }),
            Effect::Commit { id, items } => Some(self.commit(id, items).await),
            Effect::AskChanges { since } => Some(self.ask(since).await),
            Effect::Apply { op, action } => Some(self.apply(op, action).await),
            // These have no outcome and are not begun here.
            Effect::Remember(_) | Effect::Log(_) => None,
        }
    }

    async fn scan(&self, folder: Option<ItemId>, path: ItemPath, names: Option<Vec<Name>>) -> Input {
        let (disk, asked) = (self.disk.clone(), names.clone());
        let scanned = tokio::task::spawn_blocking(move || disk.scan(&path, asked.as_deref())).await;
        let result = match scanned {
            Ok(scan) => {
                if scan.rules_changed {
                    self.inputs.send(Input::TouchedAll).await;
                }
                scan.result
            }
            Err(error) => Err(ScanError::Unreadable(format!("looking at it failed: {error}"))),
        };
        self.root_lost.store(matches!(result, Err(ScanError::RootLost(_))), Ordering::Relaxed);
        Input::Scanned { folder, names, result }
    }

    async fn upload(&self, path: ItemPath, expect: Stat) -> Result<Uploaded, UploadError> {
        // The semaphore is never closed.
        let _place = self.shared.uploads.acquire().await.ok();
        let (disk, asked, looked) = (self.disk.clone(), path.clone(), expect.clone());
        let file = tokio::task::spawn_blocking(move || disk.open_expected(&asked, &looked)).await;
        let file = file.map_err(|error| UploadError::Unreadable(error.to_string()))?.map_err(UploadError::from)?;
        let read = file.try_clone().map_err(|error| UploadError::Unreadable(error.to_string()))?;
        let uploaded = self.uploader.upload(file, expect).await?;
        let (disk, looked) = (self.disk.clone(), uploaded.stat.clone());
        let still = tokio::task::spawn_blocking(move || disk.finish_read(&path, &read, &looked)).await;
        let stat = still.map_err(|error| UploadError::Unreadable(error.to_string()))?.map_err(UploadError::from)?;
        Ok(Uploaded { stat, ..uploaded })
    }

    async fn commit(&self, id: CommitId, items: Arc<[ItemCommit]>) -> Input {
        Input::Committed { id, result: self.shared.service.commit(self.id, id, &items).await }
    }

    async fn ask(&self, since: Revision) -> Input {
        Input::Changes(self.shared.service.changes(self.id, since).await)
    }

    async fn apply(&self, op: OpId, action: DiskAction) -> Input {
        let result = match action {
            DiskAction::Write { ref body, ref sources, .. } => {
                let (body, sources) = (body.clone(), sources.clone());
                match WriteTarget::of(&action) {
                    Some(target) => self.write(target, body, sources).await,
                    None => Err(ApplyError::Changed),
                }
            }
            action @ (DiskAction::MakeFolder { .. }
            | DiskAction::MakeLink { .. }
            | DiskAction::Move { .. }
            | DiskAction::SetMeta { .. }
            | DiskAction::Trash { .. }
            | DiskAction::RemoveFolder { .. }) => self.applier.apply(Job::Act(action)).await,
        };
        Input::Applied { op, result }
    }

    async fn write(
        &self,
        target: WriteTarget,
        body: FileBody,
        sources: Vec<(ItemPath, Arc<FileBody>)>,
    ) -> Result<Applied, ApplyError> {
        let _place = self.shared.staged.acquire().await.ok();
        let disk = self.disk.clone();
        let staged = tokio::task::spawn_blocking(move || {
            let staged = disk.stage(target)?;
            let file = staged.file().try_clone().map_err(|error| ApplyError::Failed(error.to_string()))?;
            let sources: Vec<Source> = sources.into_iter().filter_map(|(path, body)| open_source(&disk, &path, body)).collect();
            Ok::<_, ApplyError>((staged, file, sources))
        });
        let (staged, file, sources) = staged.await.map_err(|error| ApplyError::Failed(error.to_string()))??;
        self.downloader.fetch(&body, sources, Arc::new(file)).await?;
        self.applier.apply(Job::Publish(staged)).await
    }
}

/// A file that may hold some of the bytes; that it cannot be opened only means that they are fetched.
fn open_source(disk: &Disk, path: &ItemPath, body: Arc<FileBody>) -> Option<Source> {
    disk.open_file(path).ok().map(|(file, _)| Source { file, body })
}
