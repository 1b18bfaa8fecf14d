//! What is remembered of synchronous calls, so that a retry is answered with the first answer instead of being carried out again.
//!
//! Calls are remembered per caller: one who calls a lot forgets only his own answers. All of it is bounded.

use crate::Message;
use crate::queue::lock;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex};

const SHARDS: usize = 8;
/// Reply queues that wait for one call: a caller that reconnected while it was under way.
const WAITING_MAX: usize = 8;

/// How much a bound object remembers.
#[derive(Clone, Copy, Debug)]
pub struct AnswerLimits {
    /// Callers.
    pub callers_max: usize,
    /// Answers per caller.
    pub answers_per_caller_max: usize,
    /// Longest answer that is remembered, in bytes. A retry of a call with a longer answer is carried out again.
    pub answer_bytes_max: usize,
    /// All answers together, in bytes.
    pub bytes_max: usize,
}

impl Default for AnswerLimits {
    fn default() -> AnswerLimits {
        AnswerLimits { callers_max: 8_192, answers_per_caller_max: 64, answer_bytes_max: 1 << 20, bytes_max: 64 << 20 }
    }
}

pub struct Answers {
    shards: [Mutex<Shard>; SHARDS],
    hasher: std::hash::RandomState,
    limits: AnswerLimits,
}

#[derive(Default)]
struct Shard {
    callers: HashMap<Arc<str>, Remembered>,
    /// Of all answers in it.
    bytes: usize,
    /// Counts calls; the clock by which the longest idle caller is found.
    now: u64,
}

/// The calls of one caller.
#[derive(Default)]
struct Remembered {
    calls: HashMap<Arc<str>, Known>,
    /// Answered calls, oldest first.
    answered: VecDeque<Arc<str>>,
    used: u64,
}

struct Known {
    /// Tells a retry from another call with the same id.
    fingerprint: u64,
    state: State,
}

enum State {
    UnderWay { waiting: Vec<Arc<str>> },
    Answered(Bytes),
}

/// What to do with a call.
pub enum Begin<'a> {
    /// Carry it out.
    First(Turn<'a>),
    /// Nothing: whoever carries it out will answer this one too.
    UnderWay,
    /// Answer with this.
    Answered(Bytes),
    /// The id belongs to another call of this caller.
    IdReused,
}

/// The right to carry a call out. Dropped without [`Turn::finish`], the call is forgotten.
pub struct Turn<'a> {
    answers: &'a Answers,
    caller: Arc<str>,
    id: Arc<str>,
    finished: bool,
}

impl Answers {
    pub fn new(limits: AnswerLimits) -> Answers {
        Answers { shards: Default::default(), hasher: Default::default(), limits }
    }

    /// A call of `caller` arrived, to be answered to `reply_to`.
    pub fn begin(&self, caller: &Arc<str>, message: &Message, reply_to: &Arc<str>) -> Begin<'_> {
        let id = &message.correlation_id;
        let fingerprint = self.hasher.hash_one(&message.body);
        let mut shard = lock(self.shard(caller));
        shard.now += 1;
        let now = shard.now;
        let remembered = shard.callers.entry(caller.clone()).or_default();
        remembered.used = now;
        match remembered.calls.get_mut(id) {
            Some(known) if known.fingerprint != fingerprint => Begin::IdReused,
            Some(Known { state: State::Answered(body), .. }) => Begin::Answered(body.clone()),
            Some(Known { state: State::UnderWay { waiting }, .. }) => {
                if waiting.len() < WAITING_MAX && !waiting.contains(reply_to) {
                    waiting.push(reply_to.clone());
                }
                Begin::UnderWay
            }
            None => {
                let state = State::UnderWay { waiting: Vec::new() };
                remembered.calls.insert(id.clone(), Known { fingerprint, state });
                Begin::First(Turn { answers: self, caller: caller.clone(), id: id.clone(), finished: false })
            }
        }
    }

    fn shard(&self, caller: &str) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(caller) as usize;
        &self.shards[hash % SHARDS]
    }
}

impl Turn<'_> {
    /// Remembers the answer, and returns the reply queues of retries that came meanwhile.
    pub fn finish(mut self, body: Bytes) -> Vec<Arc<str>> {
        self.finished = true;
        let limits = &self.answers.limits;
        let mut shard = lock(self.answers.shard(&self.caller));
        if body.len() > limits.answer_bytes_max {
            return shard.forget(&self.caller, &self.id);
        }
        let waiting = shard.remember(&self.caller, &self.id, body);
        shard.trim_caller(&self.caller, limits.answers_per_caller_max);
        shard.trim(&self.caller, limits.callers_max.div_ceil(SHARDS), limits.bytes_max / SHARDS);
        waiting
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.finished {
            lock(self.answers.shard(&self.caller)).forget(&self.caller, &self.id);
        }
    }
}

impl Shard {
    fn remember(&mut self, caller: &str, id: &Arc<str>, body: Bytes) -> Vec<Arc<str>> {
        let Some(remembered) = self.callers.get_mut(caller) else { return Vec::new() };
        let Some(known) = remembered.calls.get_mut(id) else { return Vec::new() };
        self.bytes += body.len();
        remembered.answered.push_back(id.clone());
        match std::mem::replace(&mut known.state, State::Answered(body)) {
            State::UnderWay { waiting } => waiting,
            State::Answered(_) => Vec::new(),
        }
    }

    /// Forgets a call that is under way, and returns who waited for it.
    fn forget(&mut self, caller: &str, id: &str) -> Vec<Arc<str>> {
        let Some(remembered) = self.callers.get_mut(caller) else { return Vec::new() };
        let known = remembered.calls.remove(id);
        if remembered.calls.is_empty() {
            self.callers.remove(caller);
        }
        match known.map(|known| known.state) {
            Some(State::UnderWay { waiting }) => waiting,
            Some(State::Answered(_)) | None => Vec::new(),
        }
    }

    fn trim_caller(&mut self, caller: &str, answers_max: usize) {
        let Some(remembered) = self.callers.get_mut(caller) else { return };
        while remembered.answered.len() > answers_max {
            self.bytes -= remembered.forget_oldest();
        }
    }

    /// Forgets the answers of those who called last the longest ago, except `keep`, until the limits hold.
    fn trim(&mut self, keep: &str, callers_max: usize, bytes_max: usize) {
        while self.callers.len() > callers_max || self.bytes > bytes_max {
            let idle = self.callers.iter().filter(|(name, of)| &***name != keep && !of.answered.is_empty());
            let Some(victim) = idle.min_by_key(|(_, of)| of.used).map(|(name, _)| name.clone()) else { break };
            self.forget_answers(&victim);
        }
        while self.bytes > bytes_max {
            let Some(remembered) = self.callers.get_mut(keep) else { return };
            if remembered.answered.is_empty() {
                return;
            }
            self.bytes -= remembered.forget_oldest();
        }
    }

    fn forget_answers(&mut self, caller: &str) {
        let Some(remembered) = self.callers.get_mut(caller) else { return };
        while !remembered.answered.is_empty() {
            self.bytes -= remembered.forget_oldest();
        }
        if remembered.calls.is_empty() {
            self.callers.remove(caller);
        }
    }
}

impl Remembered {
    /// Returns the bytes that this freed.
    fn forget_oldest(&mut self) -> usize {
        let Some(id) = self.answered.pop_front() else { return 0 };
        match self.calls.remove(&id).map(|known| known.state) {
            Some(State::Answered(body)) => body.len(),
            Some(State::UnderWay { .. }) | None => 0,
        }
    }
}
