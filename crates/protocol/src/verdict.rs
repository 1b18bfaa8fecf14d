//! A commit's answer on the wire: `CommitNotification` <-> core's `CommitAnswer`, and the notice that everybody else gets of it.
//!
//! The same words both ways, in one place: what the service says of an item is what the device's engine hears.

use crate::item::{BadItem, ItemMetadata};
use crate::sync_service::{CommitInfo, CommitNotification, refusal_word};
use stacksync_core::commit::{CommitAnswer, ItemCommit, Refusal, Verdict};
use stacksync_core::engine::Notice;
use stacksync_core::values::{ItemId, RemoteItem, Revision, Status};

/// Why an answer or a notice makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// One of its items does.
    #[error(transparent)]
    Item(#[from] BadItem),
    /// A member that our own service always sends is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The answer speaks of another number of items than were committed.
    #[error("{got} results for {sent} items")]
    Count {
        /// Items that were committed.
        sent: usize,
        /// Results in the answer.
        got: usize,
    },
    /// A refusal without a reason that this version knows.
    #[error("unknown reason '{0}'")]
    UnknownReason(String),
}

impl CommitNotification {
    /// The message for an answer. `statuses` says, verdict by verdict, what the version in it did (anything where there is none).
    ///
    /// Quota, workspace and request id are left for the caller to fill in.
    pub fn from_answer(items: &[ItemCommit], answer: &CommitAnswer, statuses: &[Status]) -> Self {
        let infos = items.iter().zip(&answer.verdicts).enumerate().map(|(index, (item, verdict))| {
            let status = statuses.get(index).copied().unwrap_or(item.status);
            CommitInfo::from_verdict(item, verdict, status)
        });
        Self { items: infos.collect(), from_revision: Some(answer.from.0), to_revision: Some(answer.to.0), ..Self::default() }
    }

    /// The answer to a commit of `sent` items.
    ///
    /// # Errors
    /// When it does not come from a service of ours, or contradicts itself.
    pub fn to_answer(&self, sent: usize) -> Result<CommitAnswer, BadAnswer> {
        let (from, to) = self.revisions()?;
        if self.items.len() != sent {
            return Err(BadAnswer::Count { sent, got: self.items.len() });
        }
        let verdicts = self.items.iter().map(|info| info.to_verdict(from, to)).collect::<Result<_, _>>()?;
        Ok(CommitAnswer { verdicts, from, to })
    }

    /// What this says to a device that follows the workspace: the accepted items (the last version of each, by revision), or none of them
    /// where they were left out.
    ///
    /// # Errors
    /// When it does not come from a service of ours, or contradicts itself.
    pub fn to_notice(&self) -> Result<Notice, BadAnswer> {
        let (from, to) = self.revisions()?;
        if self.items_omitted {
            return Ok(Notice { from, to, items: None });
        }
        let mut items: Vec<RemoteItem> = Vec::new();
        for info in &self.items {
            if let Verdict::Accepted(item) = info.to_verdict(from, to)? {
                items.retain(|earlier| earlier.id != item.id);
                items.push(item);
            }
        }
        items.sort_by_key(|item| item.revision);
        Ok(Notice { from, to, items: Some(items) })
    }

    fn revisions(&self) -> Result<(Revision, Revision), BadAnswer> {
        let from = self.from_revision.ok_or(BadAnswer::Missing("fromRevision"))?;
        let to = self.to_revision.ok_or(BadAnswer::Missing("toRevision"))?;
        Ok((Revision(from), Revision(to)))
    }
}

impl CommitInfo {
    fn from_verdict(item: &ItemCommit, verdict: &Verdict, status: Status) -> Self {
        let metadata = |remote: &RemoteItem| Some(ItemMetadata::from_remote(remote, status));
        let mut info = Self { committed_version: item.version.get() as i64, ..Self::default() };
        match verdict {
            Verdict::Accepted(remote) | Verdict::Existing(remote) => {
                info.commit_succeed = true;
                info.metadata = metadata(remote);
            }
            Verdict::Refused { reason, current } => {
                info.metadata = current.as_ref().and_then(metadata);
                info.refuse(reason);
            }
        }
        info
    }

    fn refuse(&mut self, reason: &Refusal) {
        self.reason = Some(refusal_word(reason).to_owned());
        self.message = Some(match reason {
            Refusal::Invalid(problem) => problem.clone(),
            _ => reason.to_string(),
        });
        match reason {
            Refusal::NameTaken { by } => self.taken_by = Some(by.get()),
            Refusal::ChunksMissing(chunks) => self.missing_chunks = Some(chunks.iter().map(ToString::to_string).collect()),
            Refusal::QuotaExceeded { limit, used, needed } => self.quota = Some([*limit, *used, *needed]),
            Refusal::WrongVersion
            | Refusal::UnknownItem
            | Refusal::Foreign
            | Refusal::KindChanged
            | Refusal::ParentUnknown
            | Refusal::ParentDeleted
            | Refusal::ParentNotFolder
            | Refusal::Cycle
            | Refusal::TooDeep
            | Refusal::NotEmpty
            | Refusal::Invalid(_) => {}
        }
    }

    /// A version that took one of the commit's own revisions was accepted by it; any other success was there before.
    fn to_verdict(&self, from: Revision, to: Revision) -> Result<Verdict, BadAnswer> {
        let current = self.metadata.as_ref().map(ItemMetadata::to_remote).transpose()?;
        if !self.commit_succeed {
            return Ok(Verdict::Refused { reason: self.refusal()?, current });
        }
        let item = current.ok_or(BadAnswer::Missing("metadata"))?;
        let ours = item.version.get() as i64 == self.committed_version && from < item.revision && item.revision <= to;
        Ok(if ours { Verdict::Accepted(item) } else { Verdict::Existing(item) })
    }

    fn refusal(&self) -> Result<Refusal, BadAnswer> {
        let word = self.reason.as_deref().ok_or(BadAnswer::Missing("reason"))?;
        Ok(match word {
            "wrongVersion" => Refusal::WrongVersion,
            "unknownItem" => Refusal::UnknownItem,
            "foreignItem" => Refusal::Foreign,
            "kindChanged" => Refusal::KindChanged,
            "parentUnknown" => Refusal::ParentUnknown,
            "parentDeleted" => Refusal::ParentDeleted,
            "parentNotFolder" => Refusal::ParentNotFolder,
            "cycle" => Refusal::Cycle,
            "tooDeep" => Refusal::TooDeep,
            "nameTaken" => Refusal::NameTaken { by: self.taken_by.and_then(ItemId::new).ok_or(BadAnswer::Missing("takenBy"))? },
            "notEmpty" => Refusal::NotEmpty,
            "chunksMissing" => Refusal::ChunksMissing(self.missing()?),
            "quotaExceeded" => {
                let [limit, used, needed] = self.quota.ok_or(BadAnswer::Missing("quota"))?;
                Refusal::QuotaExceeded { limit, used, needed }
            }
            "invalid" => Refusal::Invalid(self.message.clone().unwrap_or_default()),
            other => return Err(BadAnswer::UnknownReason(other.to_owned())),
        })
    }

    fn missing(&self) -> Result<Vec<stacksync_core::values::ChunkName>, BadAnswer> {
        let names = self.missing_chunks.as_deref().unwrap_or_default();
        let parsed = names.iter().map(|name| name.parse()).collect::<Result<_, _>>();
        parsed.map_err(|error| BadAnswer::Item(BadItem { field: "missingChunks", problem: format!("{error}") }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stacksync_core::values::{Body, ChunkName, ModifiedAt, Name, Place, Version};

    fn item(id: i64, version: u64, status: Status) -> ItemCommit {
        ItemCommit {
            id: ItemId::new(id).unwrap(),
            version: Version::new(version).unwrap(),
            status,
            place: Place { parent: None, name: Name::new("a").unwrap() },
            body: Body::Folder,
            modified: ModifiedAt(5),
        }
    }

    fn remote(id: i64, version: u64, revision: u64) -> RemoteItem {
        RemoteItem {
            id: ItemId::new(id).unwrap(),
            version: Version::new(version).unwrap(),
            revision: Revision(revision),
            deleted: false,
            place: Place { parent: None, name: Name::new("a").unwrap() },
            body: Body::Folder,
            modified: ModifiedAt(5),
        }
    }

    fn every_refusal() -> Vec<Refusal> {
        vec![
            Refusal::WrongVersion,
            Refusal::UnknownItem,
            Refusal::Foreign,
            Refusal::KindChanged,
            Refusal::ParentUnknown,
            Refusal::ParentDeleted,
            Refusal::ParentNotFolder,
            Refusal::Cycle,
            Refusal::TooDeep,
            Refusal::NameTaken { by: ItemId::new(9).unwrap() },
            Refusal::NotEmpty,
            Refusal::ChunksMissing(vec![ChunkName::of(b"x"), ChunkName::of(b"y")]),
            Refusal::QuotaExceeded { limit: 10, used: 9, needed: 2 },
            Refusal::Invalid("size: wrong".into()),
        ]
    }

    /// Through the text of the wire, as an answer travels.
    fn sent(items: &[ItemCommit], answer: &CommitAnswer) -> CommitNotification {
        let statuses: Vec<Status> = items.iter().map(|item| item.status).collect();
        let text = serde_json::to_string(&CommitNotification::from_answer(items, answer, &statuses)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn every_verdict_arrives_as_it_was_given() {
        let mut verdicts = vec![Verdict::Accepted(remote(1, 2, 8)), Verdict::Existing(remote(2, 5, 3))];
        for reason in every_refusal() {
            verdicts.push(Verdict::Refused { reason: reason.clone(), current: None });
            verdicts.push(Verdict::Refused { reason, current: Some(remote(3, 7, 2)) });
        }
        let items: Vec<ItemCommit> = (1..).take(verdicts.len()).map(|id| item(id, 2, Status::Changed)).collect();
        let answer = CommitAnswer { verdicts, from: Revision(7), to: Revision(8) };
        assert_eq!(sent(&items, &answer).to_answer(items.len()), Ok(answer));
    }

    #[test]
    fn a_deletion_arrives_as_a_deletion() {
        let gone = RemoteItem { deleted: true, ..remote(1, 2, 8) };
        let items = [item(1, 2, Status::Deleted)];
        let answer = CommitAnswer { verdicts: vec![Verdict::Accepted(gone)], from: Revision(7), to: Revision(8) };
        assert_eq!(sent(&items, &answer).to_answer(1), Ok(answer));
    }

    #[test]
    fn a_notice_holds_the_last_accepted_version_of_each_item() {
        let verdicts = vec![
            Verdict::Accepted(remote(1, 2, 8)),
            Verdict::Accepted(remote(2, 1, 9)),
            Verdict::Accepted(remote(1, 3, 10)),
            Verdict::Refused { reason: Refusal::NotEmpty, current: Some(remote(3, 7, 2)) },
            Verdict::Existing(remote(4, 1, 1)),
        ];
        let items = [
            item(1, 2, Status::Changed),
            item(2, 1, Status::New),
            item(1, 3, Status::Changed),
            item(3, 8, Status::Deleted),
            item(4, 1, Status::New),
        ];
        let mut notification = sent(&items, &CommitAnswer { verdicts, from: Revision(7), to: Revision(10) });
        let notice = notification.to_notice().unwrap();
        assert_eq!((notice.from, notice.to), (Revision(7), Revision(10)));
        assert_eq!(notice.items, Some(vec![remote(2, 1, 9), remote(1, 3, 10)]));
        notification.items.clear();
        notification.items_omitted = true;
        assert_eq!(notification.to_notice().unwrap().items, None);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let items = [item(1, 2, Status::Changed)];
        let good =
            sent(&items, &CommitAnswer { verdicts: vec![Verdict::Accepted(remote(1, 2, 8))], from: Revision(7), to: Revision(8) });
        assert_eq!(good.to_answer(2), Err(BadAnswer::Count { sent: 2, got: 1 }));
        let without = |change: fn(&mut CommitNotification)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.to_answer(1)
        };
        assert_eq!(without(|bad| bad.to_revision = None), Err(BadAnswer::Missing("toRevision")));
        assert_eq!(without(|bad| bad.items[0].metadata = None), Err(BadAnswer::Missing("metadata")));
        assert_eq!(without(|bad| bad.items[0].commit_succeed = false), Err(BadAnswer::Missing("reason")));
        let unknown = without(|bad| {
            bad.items[0].commit_succeed = false;
            bad.items[0].reason = Some("moonPhase".into());
        });
        assert_eq!(unknown, Err(BadAnswer::UnknownReason("moonPhase".into())));
    }
}
