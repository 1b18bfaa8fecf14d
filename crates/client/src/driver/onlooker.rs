//! What would be done, found out without doing it: an engine that may look and ask, and whose every other wish stays a wish.

use super::clock::Clock;
use crate::disk::Disk;
use crate::session::Service;
use crate::state::Loaded;
use stacksync_core::engine::{Effect, Engine, Input, Now, PlanLine, ScanError, Setup, Why};
use stacksync_core::values::{ItemPath, WorkspaceId};

/// So long after a deletion it is certain that the file did not turn up elsewhere, in milliseconds.
const GRACE_MS: u64 = 10_000;

/// An engine that looked at everything it could reach.
pub struct Onlooker {
    engine: Engine,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LookError(pub String);

impl Onlooker {
    /// Looks at the folder and, where there is a service, asks it. Changes nothing anywhere.
    ///
    /// # Errors
    /// When the workspace's folder is lost.
    pub async fn look(id: WorkspaceId, loaded: Loaded, disk: &Disk, service: Option<&Service>) -> Result<Self, LookError> {
        let now = Clock::start().now();
        let setup = Setup { device: String::new(), seed: [0; 32], rows: loaded.rows, cursor: loaded.cursor };
        let mut looker = Self { engine: Engine::new(setup, now) };
        looker.engine.handle(Input::TouchedAll, now);
        if service.is_some() {
            looker.engine.handle(Input::Online, now);
        }
        looker.follow(id, disk, service, now).await?;
        let later = Now { ms: now.ms + GRACE_MS, ..now };
        looker.engine.handle(Input::Woken, later);
        looker.follow(id, disk, service, later).await?;
        Ok(looker)
    }

    async fn follow(&mut self, id: WorkspaceId, disk: &Disk, service: Option<&Service>, now: Now) -> Result<(), LookError> {
        while let Some(effect) = self.engine.poll() {
            let input = match effect {
                Effect::Scan { folder, path, names } => {
                    let result = disk.scan(&path, names.as_deref()).result;
                    if let Err(ScanError::RootLost(text)) = &result {
                        return Err(LookError(text.clone()));
                    }
                    Input::Scanned { folder, names, result }
                }
                Effect::AskChanges { since } => match service {
                    Some(service) => Input::Changes(service.changes(id, since).await),
                    None => continue,
                },
                Effect::Upload { .. } | Effect::Commit { .. } | Effect::Apply { .. } | Effect::Remember(_) | Effect::Log(_) => {
                    continue;
                }
            };
            if let Input::Changes(Err(error)) = &input {
                return Err(LookError(format!("the service does not tell its changes: {error}")));
            }
            self.engine.handle(input, now);
        }
        Ok(())
    }

    /// What would be done.
    pub fn plan(&self) -> Vec<PlanLine> {
        self.engine.plan()
    }

    /// All that is known of a path.
    pub fn why(&self, path: &ItemPath) -> Option<Why> {
        self.engine.why(path)
    }
}
