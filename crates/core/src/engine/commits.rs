//! Commits: what goes together, and again.

use super::work::{Busy, Committing};
use super::{Effect, Engine};
use crate::commit::ItemCommit;
use crate::values::{Body, CommitId, Status};
use std::sync::Arc;

impl Engine {
    pub(super) fn join_commit(&mut self, commit: ItemCommit) {
        let id = commit.id;
        if matches!(commit.body, Body::Folder) && commit.status != Status::Deleted {
            self.work.joining.insert(id);
        }
        let stat = self.trees.local(id).map(|local| local.stat.clone());
        self.work.busy.insert(id, Busy::Commit);
        self.work.batch.push(Committing { commit, stat });
        for waiter in self.waits.release(id) {
            self.dirty(waiter);
        }
    }

    pub(super) fn batch_chunks(&self) -> usize {
        let large = |item: &Committing| item.commit.body.chunks().len();
        if self.work.batch.len().is_multiple_of(16) { self.work.batch.iter().map(large).sum() } else { 0 }
    }

    pub(super) fn send_commit(&mut self) {
        if self.work.batch.is_empty() {
            return;
        }
        let id = self.mint.commit_id();
        let batch = std::mem::take(&mut self.work.batch);
        self.work.joining.clear();
        let items: Arc<[ItemCommit]> = batch.iter().map(|item| item.commit.clone()).collect();
        self.work.commits.insert(id, batch);
        self.effects.push_back(Effect::Commit { id, items });
    }

    /// What was never answered is decided again, from what is known by now.
    pub(super) fn drop_unanswered(&mut self) {
        for (id, _) in std::mem::take(&mut self.work.unanswered) {
            for item in self.work.finish_commit(id) {
                self.dirty(item.commit.id);
            }
        }
    }

    /// On a new connection, all that were not answered.
    pub(super) fn resend_commits(&mut self) {
        for (id, _) in std::mem::take(&mut self.work.unanswered) {
            self.resend(id);
        }
    }

    /// Without one, those whose time has come. The others wait for the service to be known again.
    pub(super) fn resend_due_commits(&mut self) {
        for id in self.work.due_commits(self.now) {
            if self.service.is_proven() {
                self.work.unanswered.remove(&id);
                self.resend(id);
            }
        }
    }

    fn resend(&mut self, id: CommitId) {
        if let Some(batch) = self.work.commits.get(&id) {
            let items = batch.iter().map(|item| item.commit.clone()).collect();
            self.effects.push_back(Effect::Commit { id, items });
        }
    }
}
