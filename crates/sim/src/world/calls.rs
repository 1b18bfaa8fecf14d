//! Calls of laptops and what the service tells them: encoded as by the real client, sent through a network that fails.

use super::World;
use super::happened::Happened;
use super::network::{ANSWER_MAX_MS, About, Call, Stage};
use super::storage::Answering;
use crate::checks::key_of_body;
use crate::outcome::Check;
use crate::scenario::Fault;
use objectmq::{Incoming, RawValue, RemoteError, encode_result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stacksync_core::commit::{CommitAnswer, ItemCommit, Verdict};
use stacksync_core::engine::{CallError, ChangesPage, Input, Notice};
use stacksync_core::values::{CommitId, RemoteItem, Revision};
use stacksync_protocol::SYNC_SERVICE;
use stacksync_protocol::item::{BadItem, ItemMetadata};
use stacksync_protocol::sync_service::{
    Changes, CommitNotification, CommitRequest, GetChangesRequest, GetWorkspacesRequest, Workspace,
};
use std::sync::Arc;

/// A delayed message takes so long at most, in milliseconds.
const DELAY_MAX_MS: u64 = 20_000;
/// A client waits so long before it connects again, at most, in milliseconds.
const CONNECT_WAIT_MAX_MS: u64 = 3_000;
/// Notices that are published before the store hears of it, at most.
const FORGET_EVERY: u64 = 4;

impl World {
    pub(super) fn ask_commit(&mut self, number: usize, id: CommitId, items: Arc<[ItemCommit]>) {
        let request = CommitRequest {
            workspace_id: self.workspace_id(self.members[number].workspace).0,
            device_id: None,
            items: items.iter().map(ItemMetadata::from_commit).collect(),
            request_id: Some(id.to_string()),
            user_id: None,
        };
        self.trace.add(format_args!("  commits {items:?}"));
        self.ask(number, About::Commit { id, items }, "commit", &request);
    }

    pub(super) fn ask_changes(&mut self, number: usize, since: Revision) {
        let request = GetChangesRequest {
            workspace_id: self.workspace_id(self.members[number].workspace).0,
            since: Some(since.0),
            limit: Some(self.page),
            request_id: None,
            user_id: None,
        };
        self.ask(number, About::Changes, "getChanges", &request);
    }

    fn ask(&mut self, number: usize, about: About, method: &'static str, param: &impl Serialize) {
        let laptop = self.members[number].laptop;
        if !self.laptops[laptop].online {
            return self.answered(number, about, Err(CallError::Offline));
        }
        let stage = match encode_result(param) {
            Ok(_) if self.faulty(Fault::CallLost) => {
                self.note_fault(Fault::CallLost, Some(laptop));
                Stage::Lost
            }
            Ok(param) => Stage::Request(method, param),
            Err(error) => return self.answered(number, about, Err(CallError::Refused(error.message))),
        };
        let ready_at = self.arrival(laptop);
        let gives_up_at = Some(self.now.ms + ANSWER_MAX_MS);
        let ready_at = if matches!(stage, Stage::Lost) { u64::MAX } else { ready_at };
        self.calls.push(Call { laptop, member: number, about, stage, ready_at, gives_up_at });
    }

    fn arrival(&mut self, laptop: usize) -> u64 {
        if self.faulty(Fault::Delayed) {
            self.note_fault(Fault::Delayed, Some(laptop));
            return self.now.ms + self.random.between(1, DELAY_MAX_MS);
        }
        self.now.ms
    }

    pub(super) fn call_goes_on(&mut self, index: usize) {
        let mut call = self.calls.swap_remove(index);
        if call.gives_up_at.is_some_and(|at| at <= self.now.ms) {
            self.answered(call.member, call.about.clone(), Err(CallError::NotNow("the service does not answer".to_owned())));
            call.gives_up_at = None;
        }
        match std::mem::replace(&mut call.stage, Stage::Lost) {
            Stage::Request(method, param) if call.ready_at <= self.now.ms => self.arrive(call, method, param),
            Stage::Answer(answer) if call.ready_at <= self.now.ms => {
                if call.gives_up_at.is_some() {
                    self.deliver(call.member, call.about, answer);
                }
            }
            Stage::Lost => self.calls.extend(call.gives_up_at.is_some().then_some(call)),
            stage @ (Stage::Request(..) | Stage::Answer(_)) => {
                call.stage = stage;
                self.calls.push(call);
            }
        }
    }

    /// The request reaches the service.
    fn arrive(&mut self, mut call: Call, method: &'static str, param: Box<RawValue>) {
        let laptop = call.laptop;
        if self.service_down_until.is_some() {
            return self.answered_if_waiting(call, "the connection was lost");
        }
        if self.maybe_cut(laptop) {
            // It was on its way already; nobody waits for its answer any more.
            if self.random.one_in(2) {
                drop(self.execute(laptop, method, param));
            }
            self.answered_if_waiting(call, "the connection was lost");
            return;
        }
        if self.faulty(Fault::CallDuplicated) {
            self.note_fault(Fault::CallDuplicated, Some(laptop));
            drop(self.execute(laptop, method, param.clone()));
        }
        let answer = self.execute(laptop, method, param);
        if self.faulty(Fault::AnswerLost) {
            self.note_fault(Fault::AnswerLost, Some(laptop));
            call.ready_at = u64::MAX;
        } else {
            call.stage = Stage::Answer(answer);
            call.ready_at = self.arrival(laptop);
        }
        self.calls.push(call);
    }

    fn execute(&mut self, laptop: usize, method: &'static str, param: Box<RawValue>) -> Result<Box<RawValue>, RemoteError> {
        let fails = self.faulty(Fault::StorageFails);
        if fails {
            self.note_fault(Fault::StorageFails, None);
            self.storage.set_answering(Answering::No);
        }
        let request = param.clone();
        let answer = self.service.call_encoded(laptop, SYNC_SERVICE, method, vec![param]);
        self.storage.set_answering(Answering::Yes);
        match &answer {
            Ok(answer) if method == "commit" => self.committed(laptop, &request, answer),
            Ok(_) => {}
            Err(error) => self.trace.add(format_args!("  the service says {error:?}")),
        }
        answer
    }

    /// What the service saved just now.
    fn committed(&mut self, laptop: usize, request: &RawValue, answer: &RawValue) {
        let request: CommitRequest = match serde_json::from_str(request.get()) {
            Ok(request) => request,
            Err(error) => return self.fail(Check::NoPanic, format!("a request of our own makes no sense: {error}")),
        };
        let Some(workspace) = self.service.number_of(&request.workspace_id.to_string()) else { return };
        let decoded = decode::<CommitNotification>(answer)
            .and_then(|answer| answer.to_answer(request.items.len()).map_err(|error| incomprehensible("commit", &error)));
        let answer = match decoded {
            Ok(answer) => answer,
            Err(error) => return self.fail(Check::NoPanic, format!("the service's answer makes no sense: {error}")),
        };
        self.trace.add(format_args!("  the service answers {answer:?}"));
        self.same_answer(laptop, request.request_id.unwrap_or_default(), &answer);
        for verdict in answer.verdicts {
            let Verdict::Accepted(item) = verdict else { continue };
            // A repeated answer speaks of what was saved before.
            if item.revision.0 > self.views[workspace].revision {
                self.saved(laptop, workspace, item);
            }
        }
    }

    /// A commit that is asked once more gets the answer that it got when it was saved.
    fn same_answer(&mut self, laptop: usize, id: String, answer: &CommitAnswer) {
        match self.answers.get(&(laptop, id.clone())) {
            Some(first) if first != answer => {
                let text = format!("laptop{laptop}'s commit {id} was answered with {first:?}, and then with {answer:?}");
                self.fail(Check::AnsweredAlike, text);
            }
            Some(_) => {}
            // Where nothing was saved, there is nothing to remember.
            None if !answer.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Accepted(_))) => {}
            None => {
                self.answers.insert((laptop, id), answer.clone());
            }
        }
    }

    fn saved(&mut self, laptop: usize, workspace: usize, item: RemoteItem) {
        let view = &mut self.views[workspace];
        view.revision = item.revision.0;
        view.items.insert(item.id, item.clone());
        if let Some(key) = key_of_body(&item.body).filter(|_| !item.deleted) {
            self.history[workspace].insert(key, item.body.chunks().iter().map(|chunk| chunk.name).collect());
        }
        self.happened.push(Happened::Saved { workspace, laptop, item });
    }

    fn deliver(&mut self, number: usize, about: About, answer: Result<Box<RawValue>, RemoteError>) {
        let laptop = self.members[number].laptop;
        if self.maybe_cut(laptop) {
            return self.answered(number, about, Err(CallError::NotNow("the connection was lost: cut".to_owned())));
        }
        let answer = answer.map_err(remote_error);
        let result = match &about {
            About::Commit { items, .. } => answer.and_then(|answer| {
                let answer: CommitNotification = decode(&answer)?;
                answer.to_answer(items.len()).map(Understood::Commit).map_err(|error| incomprehensible("commit", &error))
            }),
            About::Changes => answer.and_then(|answer| {
                let changes: Changes = decode(&answer)?;
                page(&changes).map(Understood::Changes).map_err(|error| incomprehensible("getChanges", &error))
            }),
        };
        self.answered(number, about, result);
    }

    fn answered_if_waiting(&mut self, call: Call, why: &str) {
        if call.gives_up_at.is_some() {
            self.answered(call.member, call.about, Err(CallError::NotNow(why.to_owned())));
        }
    }

    /// The outcome of a call goes to its engine.
    fn answered(&mut self, number: usize, about: About, result: Result<Understood, CallError>) {
        let (laptop, workspace) = (self.members[number].laptop, self.members[number].workspace);
        let input = match (about, result) {
            (About::Commit { id, items }, Ok(Understood::Commit(answer))) => {
                self.happened.push(Happened::Acknowledged { laptop, workspace, items, answer: answer.clone() });
                Input::Committed { id, result: Ok(answer) }
            }
            (About::Changes, Ok(Understood::Changes(page))) => Input::Changes(Ok(page)),
            (About::Commit { id, .. }, Err(error)) => Input::Committed { id, result: Err(error) },
            (About::Changes, Err(error)) => Input::Changes(Err(error)),
            (About::Commit { .. }, Ok(Understood::Changes(_))) | (About::Changes, Ok(Understood::Commit(_))) => return,
        };
        self.members[number].inbox.push_back(input);
    }

    /// The laptop has a connection again: it asks for its workspaces and follows them.
    pub(super) fn connect(&mut self, laptop: usize) {
        let found = self.service.call(laptop, SYNC_SERVICE, "getWorkspaces", &GetWorkspacesRequest::default());
        let found = found.map_err(remote_error).and_then(|found| decode::<Vec<Workspace>>(&found));
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.fail(Check::NoPanic, format!("laptop {laptop} is not told its workspaces: {error}")),
        };
        self.laptops[laptop].online = true;
        for number in self.members_of(laptop) {
            let workspace = self.members[number].workspace;
            let id = self.workspace_id(workspace).0;
            if !found.iter().any(|found| found.id == id) || !self.service.may_follow(laptop, workspace) {
                return self.fail(Check::NoPanic, format!("laptop {laptop} may not follow workspace {workspace}"));
            }
            self.members[number].inbox.push_back(Input::Online);
        }
    }

    /// The connection is gone. What was on its way to the service may still arrive.
    pub(super) fn cut(&mut self, laptop: usize) {
        if !std::mem::take(&mut self.laptops[laptop].online) {
            return;
        }
        self.laptops[laptop].connect_at = self.now.ms + self.random.between(0, CONNECT_WAIT_MAX_MS);
        self.laptops[laptop].notices.clear();
        let (mine, others): (Vec<Call>, Vec<Call>) =
            std::mem::take(&mut self.calls).into_iter().partition(|call| call.laptop == laptop);
        self.calls = others;
        let up = self.laptops[laptop].is_up();
        let offline_first = self.random.one_in(2);
        if up && offline_first {
            self.members_of(laptop).for_each(|number| self.members[number].inbox.push_back(Input::Offline));
        }
        for mut call in mine {
            if up && call.gives_up_at.is_some() {
                let error = CallError::NotNow("the connection was lost: cut".to_owned());
                self.answered(call.member, call.about.clone(), Err(error));
            }
            call.gives_up_at = None;
            if matches!(call.stage, Stage::Request(..)) && self.random.one_in(2) {
                self.calls.push(call);
            }
        }
        if up && !offline_first {
            self.members_of(laptop).for_each(|number| self.members[number].inbox.push_back(Input::Offline));
        }
    }

    /// The next notice of the outbox goes to everyone who follows.
    pub(super) fn publish(&mut self) {
        for told in self.service.publish() {
            let Some(workspace) = self.service.number_of(&told.reference) else { continue };
            let request = told.request;
            let incoming = Incoming {
                caller: objectmq::Caller::anonymous(),
                method: request.method,
                params: request.params,
                id: String::new(),
                asynchronous: true,
            };
            let notice = incoming.param::<CommitNotification>().map_err(|error| error.to_string());
            match notice.and_then(|notice| notice.to_notice().map_err(|error| error.to_string())) {
                Ok(notice) => self.tell_followers(workspace, &notice),
                Err(error) => self.fail(Check::NoPanic, format!("a notice makes no sense: {error}")),
            }
        }
        if self.random.one_in(FORGET_EVERY) {
            self.service.forget_published();
        }
    }

    fn tell_followers(&mut self, workspace: usize, notice: &Notice) {
        for number in 0..self.members.len() {
            let laptop = self.members[number].laptop;
            if self.members[number].workspace != workspace || !self.laptops[laptop].online {
                continue;
            }
            if self.faulty(Fault::NoticeLost) {
                self.note_fault(Fault::NoticeLost, Some(laptop));
                continue;
            }
            let mut copies = 1;
            if self.faulty(Fault::NoticeDuplicated) {
                self.note_fault(Fault::NoticeDuplicated, Some(laptop));
                copies = 2;
            }
            for _ in 0..copies {
                self.laptops[laptop].notices.push_back((number, notice.clone()));
            }
        }
    }

    /// A notice reaches a laptop.
    pub(super) fn hear(&mut self, laptop: usize) {
        if self.laptops[laptop].notices.len() > 1 && self.faulty(Fault::NoticeReordered) {
            self.note_fault(Fault::NoticeReordered, Some(laptop));
            self.laptops[laptop].notices.rotate_left(1);
        }
        if let Some((number, notice)) = self.laptops[laptop].notices.pop_front() {
            self.members[number].inbox.push_back(Input::Noticed(notice));
        }
    }
}

enum Understood {
    Commit(CommitAnswer),
    Changes(ChangesPage),
}

/// As the client's session turns it into core's words.
fn page(changes: &Changes) -> Result<ChangesPage, BadItem> {
    Ok(ChangesPage {
        epoch: changes.epoch.as_u128(),
        since: Revision(changes.since),
        to: Revision(changes.to),
        head: Revision(changes.head),
        items: changes.items.iter().map(ItemMetadata::to_remote).collect::<Result<_, _>>()?,
    })
}

fn decode<T: DeserializeOwned>(answer: &RawValue) -> Result<T, CallError> {
    serde_json::from_str(answer.get()).map_err(|error| CallError::NotNow(format!("the answer makes no sense: {error}")))
}

fn incomprehensible(method: &str, error: &dyn std::fmt::Display) -> CallError {
    CallError::NotNow(format!("the service's answer to {method} makes no sense: {error}"))
}

/// As the client's session tells what an error is worth.
pub(super) fn remote_error(RemoteError { kind, message }: RemoteError) -> CallError {
    if kind.starts_with("com.stacksync.commons.exceptions.") { CallError::Refused(message) } else { CallError::NotNow(message) }
}
