//! Judging the commits of a batch, in order, by core's rule: each sees what the ones before it did. Touches nothing but memory, and
//! may be begun again.

use super::Job;
use super::picture::{Changes, Facts, Known, Lacking, Picture};
use crate::db::answer_codec::decode;
use crate::db::{ChangedItem, Commit, CommitOutcome, CommitResult, DbError, Made};
use stacksync_core::commit::{CommitAnswer, Verdict};
use stacksync_core::decide::{self, Decision, Quota, decide};
use stacksync_core::values::{DeviceId, Revision, UserId, WorkspaceId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A workspace that the transaction has locked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workspace {
    pub number: i64,
    pub owner: i64,
    pub revision: Revision,
    /// The row with its last notice, if another instance wrote that; it may be told by now.
    pub notice: Option<i64>,
}

/// An answer that is stored already.
pub(super) struct Answered {
    pub fingerprint: Vec<u8>,
    pub answer: Vec<u8>,
}

/// A batch: what was seen, and what becomes of it.
#[derive(Default)]
pub(super) struct Batch {
    pub facts: Facts,
    /// There is no other instance.
    pub alone: bool,
    pub workspaces: HashMap<WorkspaceId, Workspace>,
    pub quotas: HashMap<i64, Quota>,
    /// Who may commit where.
    pub members: HashSet<(WorkspaceId, UserId)>,
    pub answers: HashMap<(DeviceId, i64), Answered>,
    /// Every version to be written, in order.
    pub saved: Vec<Known>,
    /// The revisions that workspaces come to.
    pub revisions: HashMap<i64, Revision>,
    /// What owners use.
    pub used: HashMap<i64, u64>,
}

/// What becomes of one commit.
pub(super) enum Judged {
    /// Refused as a whole; nothing is stored.
    Refused(DbError),
    /// Answered before.
    Replay(Arc<CommitOutcome>),
    /// Judged now; answer and notice are to be stored.
    Done(Arc<CommitOutcome>),
}

impl Judged {
    /// Whether an answer is stored.
    pub(super) const fn stores(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// Whether all of it is saved.
    pub(super) fn saves_everything(&self) -> bool {
        match self {
            Self::Done(outcome) => outcome.answer.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted(_))),
            Self::Refused(_) | Self::Replay(_) => false,
        }
    }

    pub(super) fn into_result(self) -> CommitResult {
        match self {
            Self::Refused(error) => Err(error),
            Self::Replay(outcome) | Self::Done(outcome) => Ok(outcome),
        }
    }
}

/// One round of judging.
struct Round<'a> {
    batch: &'a Batch,
    changes: Changes,
    saved: Vec<Known>,
    revisions: HashMap<i64, Revision>,
    used: HashMap<i64, u64>,
    /// Answers of this very batch.
    done: HashMap<(DeviceId, i64), ([u8; 16], Arc<CommitOutcome>)>,
}

/// Why a commit has no outcome.
enum Stop {
    Lacking(Lacking),
    Store(DbError),
}

impl Batch {
    /// Judges all of them, or says what is lacking.
    pub(super) fn judge(&mut self, jobs: &[Job]) -> Result<Vec<Judged>, Vec<Lacking>> {
        let mut round = Round {
            batch: self,
            changes: Changes::default(),
            saved: Vec::new(),
            revisions: HashMap::new(),
            used: HashMap::new(),
            done: HashMap::new(),
        };
        let mut judged = Vec::with_capacity(jobs.len());
        let mut lacking = Vec::new();
        // What comes later in a workspace depends on what cannot be judged yet.
        let mut stuck = HashSet::new();
        for job in jobs.iter() {
            if stuck.contains(&job.commit.workspace) {
                continue;
            }
            match round.commit(job) {
                Ok(one) => judged.push(one),
                Err(Stop::Store(error)) => judged.push(Judged::Refused(error)),
                Err(Stop::Lacking(what)) => {
                    lacking.push(what);
                    stuck.insert(job.commit.workspace);
                }
            }
        }
        let Round { saved, revisions, used, .. } = round;
        (self.saved, self.revisions, self.used) = (saved, revisions, used);
        if lacking.is_empty() { Ok(judged) } else { Err(lacking) }
    }
}

impl Round<'_> {
    fn commit(&mut self, job: &Job) -> Result<Judged, Stop> {
        let commit = &job.commit;
        let workspace = self.batch.workspaces.get(&commit.workspace);
        let allowed = self.batch.members.contains(&(commit.workspace, commit.user));
        let Some(&workspace) = workspace.filter(|_| allowed) else { return Ok(Judged::Refused(DbError::NoAccess)) };
        if let Some(answered) = self.answered(job)? {
            return Ok(answered);
        }
        let outcome = Arc::new(self.judge(commit, &workspace).map_err(Stop::Lacking)?);
        self.done.insert((commit.device, job.key.request), (job.key.fingerprint, Arc::clone(&outcome)));
        Ok(Judged::Done(outcome))
    }

    fn answered(&self, job: &Job) -> Result<Option<Judged>, Stop> {
        let key = (job.commit.device, job.key.request);
        if let Some((fingerprint, outcome)) = self.done.get(&key) {
            if *fingerprint != job.key.fingerprint {
                return Err(Stop::Store(DbError::RequestReused));
            }
            let replay = CommitOutcome { replay: true, ..CommitOutcome::clone(outcome) };
            return Ok(Some(Judged::Replay(Arc::new(replay))));
        }
        let Some(stored) = self.batch.answers.get(&key) else { return Ok(None) };
        if stored.fingerprint != job.key.fingerprint {
            return Err(Stop::Store(DbError::RequestReused));
        }
        let outcome = decode(&stored.answer, &job.commit);
        let outcome = outcome.ok_or_else(|| Stop::Store(DbError::Damaged("a stored answer cannot be read".into())))?;
        Ok(Some(Judged::Replay(Arc::new(outcome))))
    }

    fn judge(&mut self, commit: &Commit, workspace: &Workspace) -> Result<CommitOutcome, Lacking> {
        let facts = decide::Facts { present: &commit.present, place_rule: commit.place_rule };
        let mut revision = self.revisions.get(&workspace.number).copied().unwrap_or(workspace.revision);
        let mut quota = self.quota(workspace.owner);
        let from = revision;
        let mut verdicts = Vec::with_capacity(commit.items.len());
        let mut made = Vec::with_capacity(commit.items.len());
        for item in &commit.items {
            let mut view =
                Picture { facts: &self.batch.facts, changes: &self.changes, workspace: workspace.number, quota, made: None };
            let (verdict, by) = match decide(&mut view, item, facts)? {
                Decision::Existing(latest) => (Verdict::Existing(latest), view.made),
                Decision::Refuse { reason, current: None } => (Verdict::Refused { reason, current: None }, None),
                Decision::Refuse { reason, current } => (Verdict::Refused { reason, current }, view.made),
                Decision::Save(new) => {
                    revision.0 += 1;
                    quota.used = quota.used.saturating_add_signed(new.growth);
                    let by = Made { status: new.item.status, device: commit.device };
                    let saved = new.saved(revision);
                    let entry = ChangedItem { item: saved.clone(), status: by.status, device: by.device };
                    self.save(Known { workspace: workspace.number, entry });
                    (Verdict::Accepted(saved), Some(by))
                }
            };
            verdicts.push(verdict);
            made.push(by);
        }
        if revision != from {
            self.revisions.insert(workspace.number, revision);
            self.used.insert(workspace.owner, quota.used);
        }
        let answer = CommitAnswer { verdicts, from, to: revision };
        Ok(CommitOutcome { answer, made, quota_limit: quota.limit, quota_used: quota.used, replay: false })
    }

    fn quota(&self, owner: i64) -> Quota {
        let seen = self.batch.quotas.get(&owner).copied().unwrap_or(Quota { limit: 0, used: 0 });
        Quota { used: self.used.get(&owner).copied().unwrap_or(seen.used), ..seen }
    }

    fn save(&mut self, known: Known) {
        self.changes.save(known.clone());
        self.saved.push(known);
    }
}
