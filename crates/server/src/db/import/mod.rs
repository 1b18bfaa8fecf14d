//! Moving in from a database of the original StackSync: users, devices, workspaces, memberships, items, versions, chunk lists.
//!
//! The source is read in one read-only transaction and never written to. The target may hold other things already: what it has by id is
//! left as it is, so an import can be run again. All of it comes in one transaction of the target, after its counts and references were
//! checked. What cannot be taken is said, with the reason; what is odd is taken in the way that loses nothing.

mod people;
mod source;
mod target;
#[cfg(test)]
mod tests;
mod tree;

use super::transfer::Place;
use super::{DbError, OpenError, PostgresPlace};
use people::People;
use source::Source;
use stacksync_core::values::WorkspaceId;
use std::collections::BTreeMap;
use target::Target;

/// Problems that are told one by one; of more only the number is.
const PROBLEMS_TOLD_MAX: usize = 1_000;

/// What the source does not say about itself.
#[derive(Clone, Debug)]
pub struct Told {
    /// Name of the time zone in which the original's service ran, as PostgreSQL knows it.
    pub time_zone: String,
    /// Bytes in one unit of the quotas; `None`: bytes, unless the source is of the time when that was not defined.
    pub quota_unit: Option<u64>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Which of its schemas the source has.
    pub schema: String,
    /// Rows taken, by what they are.
    pub taken: BTreeMap<&'static str, u64>,
    /// What the target had before, by what it is.
    pub there: BTreeMap<&'static str, u64>,
    /// What could not be taken as it is, and what was done instead.
    pub problems: Vec<String>,
    /// Problems that are not in the list.
    pub problems_more: u64,
    /// Every workspace of the source, and the container that has its chunks there.
    pub containers: Vec<(WorkspaceId, String)>,
}

impl Imported {
    fn take(&mut self, what: &'static str, count: usize) {
        *self.taken.entry(what).or_default() += count as u64;
    }

    fn had(&mut self, what: &'static str, count: usize) {
        *self.there.entry(what).or_default() += count as u64;
    }

    fn problem(&mut self, text: impl Into<String>) {
        if self.problems.len() < PROBLEMS_TOLD_MAX {
            self.problems.push(text.into());
        } else {
            self.problems_more += 1;
        }
    }
}

/// Why nothing was taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// One of the two cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The source has no schema that is known.
    #[error("{0}: holds no StackSync database that can be imported: {1}")]
    Unknown(String, String),
    /// The quotas of the source have no unit.
    #[error("{0}: is of the time when quotas had no defined unit; say which it is with --quota-unit")]
    NoUnit(String),
    /// One of the two failed on the way.
    #[error("{0}: {1}; nothing was imported")]
    Failed(String, DbError),
    /// What was written is not what was meant.
    #[error("{0}: {1}; nothing was imported")]
    Wrong(String, String),
}

/// Takes everything that the target does not have.
///
/// # Errors
/// See [`ImportError`]. The target is as it was then.
pub async fn import(from: &PostgresPlace, to: &Place, told: &Told) -> Result<Imported, ImportError> {
    let at = |place: &dyn std::fmt::Display| {
        let place = place.to_string();
        move |error: DbError| ImportError::Failed(place, error)
    };
    let mut report = Imported::default();
    let source = Source::open(from, told).await?;
    report.schema = source.schema().to_owned();
    let mut target = Target::open(to).await?;
    let mut people = People::of(&target.known().await.map_err(at(to))?);
    people.take_users(source.users().await.map_err(at(from))?, &mut target, &mut report).await.map_err(at(to))?;
    people.take_devices(source.devices().await.map_err(at(from))?, &mut target, &mut report).await.map_err(at(to))?;
    let workspaces = source.workspaces().await.map_err(at(from))?;
    report.containers = workspaces.iter().map(|old| (WorkspaceId(old.id), old.container.clone())).collect();
    let members = source.members().await.map_err(at(from))?;
    let fresh = people.take_workspaces(&workspaces, &members, &mut target, &mut report).await.map_err(at(to))?;
    for workspace in &fresh {
        let items = source.items(workspace.id).await.map_err(at(from))?;
        let tree = tree::tree(workspace, items, &mut report);
        people.take_tree(workspace, tree, &mut target, &mut report).await.map_err(at(to))?;
    }
    people.take_members(&members, &fresh, &mut target, &mut report).await.map_err(at(to))?;
    people.finish(&mut target).await.map_err(at(to))?;
    if let Some(wrong) = target.wrong(&people).await.map_err(at(to))? {
        return Err(ImportError::Wrong(to.to_string(), wrong));
    }
    target.commit().await.map_err(at(to))?;
    Ok(report)
}
