//! One workspace on this device: its folder, its engine, its tasks; and where the folder of another workspace goes.

use super::applier::Applier;
use super::carrier::{Carrier, Shared};
use super::clock::Clock;
use super::snapshot::Snapshot;
use super::tickets::WorkspaceTickets;
use super::workspace::{Inputs, Workspace, channel};
use crate::disk::{self, Disk, RootIdentity};
use crate::home::Config;
use crate::state::{Loaded, WorkspaceEntry};
use crate::transfer::Transfer;
use crate::watch::{Hint, Skip, watch};
use objectmq::Binding;
use stacksync_core::engine::{Engine, Input, Setup, Status};
use stacksync_core::values::{ItemPath, Name};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// What every workspace of the device is made with.
pub struct Surroundings {
    /// Who this device is.
    pub config: Config,
    /// The device's staging folder and trash.
    pub folders: disk::OwnFolders,
    /// What workspaces share.
    pub shared: Shared,
    /// Moves bytes.
    pub transfer: Transfer,
    /// The time.
    pub clock: Clock,
    /// Is told when the status of a workspace changed.
    pub changed: Arc<Notify>,
}

/// A workspace that runs.
pub struct Member {
    /// What is remembered of it.
    pub entry: WorkspaceEntry,
    /// Its folder.
    pub disk: Disk,
    /// The way to its engine.
    pub inputs: Inputs,
    /// What its engine says.
    pub status: watch::Receiver<Status>,
    /// Its notices come through this.
    pub binding: Option<Binding>,
    /// Following it is being tried.
    pub following: bool,
    /// What was last kept for `status`.
    pub kept: Snapshot,
    carrier: Carrier,
    tasks: Vec<JoinHandle<()>>,
}

impl Member {
    /// Starts a workspace with what is remembered of it.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn start(around: &Surroundings, entry: WorkspaceEntry, loaded: Loaded) -> Result<Self, String> {
        let disk = open(&around.config, &around.folders, &entry)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| format!("the computer has no random numbers: {error}"))?;
        let setup = Setup { device: around.config.device_name.clone(), seed, rows: loaded.rows, cursor: loaded.cursor };
        let (inputs, waiting) = channel();
        let tickets = Arc::new(WorkspaceTickets::new(around.shared.service.clone(), entry.id));
        let applier = Applier::start(disk.clone()).map_err(|error| error.to_string())?;
        let uploader = around.transfer.uploader(tickets.clone());
        let downloader = around.transfer.downloader(tickets);
        let carrier = Carrier::new(entry.id, around.shared.clone(), disk.clone(), uploader, downloader, applier, inputs.clone());
        let engine = Engine::new(setup, around.clock.now());
        let (workspace, status) = Workspace::new(engine, carrier.clone(), around.clock, waiting);
        let running = tokio::spawn(workspace.run());
        let (mut told, changed) = (status.clone(), around.changed.clone());
        let telling = tokio::spawn(async move {
            while told.changed().await.is_ok() {
                changed.notify_one();
            }
        });
        let tasks = vec![running, telling];
        let kept = Snapshot::parse(&entry.status);
        Ok(Self { entry, disk, inputs, status, binding: None, following: false, kept, carrier, tasks })
    }

    /// Has the engine look at everything; with `Attention::Lasting` also at what changes from then on.
    pub fn look(&mut self, attention: Attention) {
        let (disk, inputs) = (self.disk.clone(), self.inputs.clone());
        self.tasks.push(tokio::spawn(async move {
            match attention {
                Attention::Once => inputs.send(Input::TouchedAll).await,
                Attention::Lasting => watch_for(disk, inputs).await,
            }
        }));
    }

    /// Whether its folder is missing, or another one is in its place.
    pub fn root_lost(&self) -> bool {
        self.carrier.root_lost()
    }

    /// The engine is told that notices come from now on.
    pub async fn online(&self) {
        self.inputs.send(Input::Online).await;
    }

    /// The name of its folder in the root folder, if it is not the root folder itself.
    pub fn folder_name(&self) -> Option<Name> {
        folder_name(&self.entry)
    }
}

/// Whether the folder is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Looked at now.
    Once,
    /// Looked at now, and watched.
    Lasting,
}

/// Looks at everything once the watch is in place, so that nothing falls between.
async fn watch_for(disk: Disk, inputs: Inputs) {
    let watched = disk.clone();
    let skip: Skip = Arc::new(move |folder| watched.ignores_folder(folder));
    let watching = tokio::task::spawn_blocking(move || watch(disk.root(), skip)).await;
    inputs.send(Input::TouchedAll).await;
    let Ok((_watcher, mut hints)) = watching else { return };
    while let Some(hint) = hints.recv().await {
        match hint {
            Hint::Touched(paths) => {
                for path in paths {
                    inputs.send(Input::Touched(path)).await;
                }
            }
            Hint::All => inputs.send(Input::TouchedAll).await,
            Hint::Limited(text) => tracing::warn!("{text}"),
            Hint::Complete => tracing::info!("the whole folder is watched"),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The name of a workspace's folder in the root folder, if it is not the root folder itself.
pub fn folder_name(entry: &WorkspaceEntry) -> Option<Name> {
    if entry.is_default { None } else { Name::new(&entry.folder).ok() }
}

/// The folder of a workspace, which was made before.
///
/// # Errors
/// A sentence for people.
pub fn open(config: &Config, folders: &disk::OwnFolders, entry: &WorkspaceEntry) -> Result<Disk, String> {
    Ok(match folder_name(entry) {
        None if entry.is_default => Disk::new(folders, config.root.clone(), config.root_identity, ItemPath::top()),
        None => return Err(format!("the workspace '{}' has no folder", entry.name)),
        Some(name) => {
            let identity = serde_json::from_str(&entry.identity)
                .map_err(|error| format!("the folder of the workspace '{}' is not known: {error}", entry.name))?;
            Disk::new(folders, folder_path(config, &name), identity, ItemPath::top().join(&name))
        }
    })
}

/// Makes (or takes over) the folder of a workspace that is new here. The root folder must be there.
///
/// `reserve` is told the name before the folder is there, so that the default workspace never takes it for one of its own.
///
/// # Errors
/// A sentence for people.
pub fn make_folder(config: &Config, entry: &mut WorkspaceEntry, taken: &[Name], reserve: impl FnOnce(&Name)) -> Result<(), String> {
    let name = free_name(&entry.name, taken)
        .ok_or_else(|| format!("the workspace '{}' has a name that no folder can have", entry.name))?;
    reserve(&name);
    let path = folder_path(config, &name);
    match std::fs::create_dir(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(format!("cannot make the folder {} of the workspace '{}': {error}", path.display(), entry.name));
        }
        Ok(()) | Err(_) => {}
    }
    let identity = RootIdentity::of(&path)?;
    entry.folder = name.as_str().to_owned();
    entry.identity = serde_json::to_string(&identity).map_err(|error| error.to_string())?;
    Ok(())
}

fn folder_path(config: &Config, name: &Name) -> PathBuf {
    config.root.join(name.as_str())
}

/// The workspace's own name, or that with a number.
fn free_name(wanted: &str, taken: &[Name]) -> Option<Name> {
    let clean = wanted.trim().replace(['/', '\0'], "_");
    let is_free = |name: &Name| taken.iter().all(|other| other.key() != name.key());
    std::iter::once(clean.clone())
        .chain((2..1_000).map(|number| format!("{clean} ({number})")))
        .filter_map(|text| Name::new(&text).ok())
        .find(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspaces_folder_has_its_name_unless_that_is_taken() {
        let name = |text: &str| Name::new(text).unwrap();
        let taken = [name("Photos"), name("photos (2)")];
        for (wanted, expected) in [
            ("Work", Some("Work")),
            ("photos", Some("photos (3)")),
            ("a/b", Some("a_b")),
            ("", Some(" (2)")),
            ("..", Some(".. (2)")),
        ] {
            assert_eq!(free_name(wanted, &taken).as_ref().map(Name::as_str), expected, "{wanted:?}");
        }
    }
}
