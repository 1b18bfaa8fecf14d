//! Some devices and a service; effects are carried out in any order, answers may get lost, devices crash.

use super::disk::{Data, Disk, body_of};
use super::random::Random;
use super::service::FakeService;
use crate::commit::CommitAnswer;
use crate::engine::{CallError, Cursor, DiskAction, Effect, Engine, Input, Notice, Now, Row, Setup, UploadError, Uploaded};
use crate::values::{CommitId, ItemId, ItemPath, Name};
use std::collections::{BTreeMap, VecDeque};

/// So many steps without coming to rest are a livelock.
const STEPS_MAX: usize = 200_000;

#[derive(Clone, Debug, Default)]
struct Remembered {
    rows: BTreeMap<ItemId, Row>,
    cursor: Cursor,
}

pub struct Device {
    pub name: String,
    pub disk: Disk,
    pub engine: Engine,
    remembered: Remembered,
    pending: Vec<Effect>,
    notices: VecDeque<Notice>,
    /// Answers on their way; notices may overtake them.
    answers: VecDeque<(CommitId, CommitAnswer)>,
    online: bool,
    boots: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// One in so many answers, notices, connections is lost; 0: none.
    pub rate: usize,
}

pub struct World {
    seed: u64,
    pub random: Random,
    pub service: FakeService,
    pub devices: Vec<Device>,
    pub now: Now,
    pub faults: Faults,
    /// What people do is not told to the engine.
    pub unseen: bool,
    /// Devices from this one on are switched off.
    pub devices_on: usize,
    /// The storage says that it took a chunk, and does not have it.
    pub storage_loses: bool,
    /// Files that were sent.
    pub uploads: usize,
    next_content: u64,
    pub trace: Vec<String>,
}

fn boot(name: &str, boots: u64, remembered: &Remembered, now: Now) -> Engine {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&boots.to_le_bytes());
    seed[8] = name.as_bytes()[0];
    let rows = remembered.rows.iter().map(|(id, row)| (*id, row.clone())).collect();
    let mut engine = Engine::new(Setup { device: name.into(), seed, rows, cursor: remembered.cursor }, now);
    engine.handle(Input::TouchedAll, now);
    engine
}

impl World {
    pub fn new(seed: u64, devices: usize, faults: Faults) -> Self {
        let now = Now { ms: 1_000, unix_ns: 1_420_167_845_000_000_000 };
        let device = |index: usize| {
            let name = char::from(b'A' + index as u8).to_string();
            let engine = boot(&name, 0, &Remembered::default(), now);
            Device {
                name,
                disk: Disk::new((index as i64 + 1) * 1_000_000),
                engine,
                remembered: Remembered::default(),
                pending: Vec::new(),
                notices: VecDeque::new(),
                answers: VecDeque::new(),
                online: false,
                boots: 0,
            }
        };
        let devices = (0..devices).map(device).collect();
        Self {
            seed,
            random: Random::new(seed),
            service: FakeService::new(),
            devices,
            now,
            faults,
            unseen: false,
            devices_on: usize::MAX,
            storage_loses: false,
            uploads: 0,
            next_content: 0,
            trace: Vec::new(),
        }
    }

    /// The watcher of a device says that something changed at a path.
    pub fn touch(&mut self, d: usize, path: ItemPath) {
        self.tell(d, Input::Touched(path));
    }

    pub fn tell(&mut self, d: usize, input: Input) {
        let device = &mut self.devices[d];
        device.engine.handle(input, self.now);
        while let Some(effect) = device.engine.poll() {
            device.pending.push(effect);
        }
        if let Err(problem) = self.devices[d].engine.check() {
            panic!("{problem}\n{}", self.report());
        }
    }

    fn faulty(&mut self) -> bool {
        self.faults.rate > 0 && self.random.one_in(self.faults.rate)
    }

    /// One step of somebody; `false` when there is nothing to do.
    pub fn step(&mut self) -> bool {
        let d = self.random.below(self.devices.len());
        if self.faulty() {
            self.misfortune(d);
        }
        for offset in 0..self.devices.len() {
            if self.step_of((d + offset) % self.devices.len()) {
                return true;
            }
        }
        let next = self.devices.iter().filter_map(|device| device.engine.deadline()).min();
        match next {
            Some(at) if at < self.now.ms + 50_000 => {
                self.pass(at.saturating_sub(self.now.ms).max(1));
                true
            }
            Some(_) | None => false,
        }
    }

    pub fn pass(&mut self, ms: u64) {
        self.now.ms += ms;
        self.now.unix_ns += ms as i64 * 1_000_000;
        for d in 0..self.devices.len() {
            let own = self.now.unix_ns + d as i64 * 1_000_000_000;
            self.devices[d].disk.clock = self.devices[d].disk.clock.max(own);
            self.tell(d, Input::Woken);
        }
    }

    fn misfortune(&mut self, d: usize) {
        match self.random.below(3) {
            0 => self.disconnect(d),
            1 => self.crash(d),
            _ => {
                self.devices[d].notices.pop_front();
            }
        }
    }

    pub fn disconnect(&mut self, d: usize) {
        if std::mem::take(&mut self.devices[d].online) {
            self.devices[d].notices.clear();
            for (id, _) in std::mem::take(&mut self.devices[d].answers) {
                self.tell(d, Input::Committed { id, result: Err(CallError::Offline) });
            }
            self.tell(d, Input::Offline);
        }
    }

    /// What was remembered stays, the rest of the pending work is gone.
    pub fn crash(&mut self, d: usize) {
        self.trace.push(format!("{} crashes", self.devices[d].name));
        let device = &mut self.devices[d];
        device.pending.clear();
        device.notices.clear();
        device.answers.clear();
        device.online = false;
        device.boots += 1;
        device.engine = boot(&device.name, device.boots, &device.remembered, self.now);
        self.tell(d, Input::Woken);
    }

    pub fn lose_state(&mut self, d: usize) {
        self.devices[d].remembered = Remembered::default();
        self.crash(d);
    }

    fn step_of(&mut self, d: usize) -> bool {
        if d >= self.devices_on {
            return false;
        }
        let stays_away = self.faults.rate > 0 && self.random.one_in(3);
        if !self.devices[d].online && !stays_away {
            self.devices[d].online = true;
            self.tell(d, Input::Online);
            return true;
        }
        let device = &mut self.devices[d];
        if !device.notices.is_empty() && (device.pending.is_empty() || self.random.one_in(2)) {
            let notice = self.devices[d].notices.pop_front().unwrap();
            self.tell(d, Input::Noticed(notice));
            return true;
        }
        if !self.devices[d].answers.is_empty() && (self.devices[d].pending.is_empty() || self.random.one_in(2)) {
            let (id, answer) = self.devices[d].answers.pop_front().unwrap();
            self.tell(d, Input::Committed { id, result: Ok(answer) });
            return true;
        }
        if self.devices[d].pending.is_empty() {
            return false;
        }
        // State is saved in order; everything else happens in any order.
        let first_save = self.devices[d].pending.iter().position(|effect| matches!(effect, Effect::Remember(_)));
        let mut index = self.random.below(self.devices[d].pending.len());
        if matches!(self.devices[d].pending[index], Effect::Remember(_)) {
            index = first_save.unwrap();
        }
        let effect = self.devices[d].pending.remove(index);
        self.carry_out(d, effect);
        true
    }

    pub fn carry_out(&mut self, d: usize, effect: Effect) {
        match effect {
            Effect::Remember(delta) => {
                let remembered = &mut self.devices[d].remembered;
                for (id, row) in delta.rows {
                    match row {
                        Some(row) => remembered.rows.insert(id, row),
                        None => remembered.rows.remove(&id),
                    };
                }
                remembered.cursor = delta.cursor.unwrap_or(remembered.cursor);
            }
            Effect::Log(entry) => {
                let line = format!("{} {}ms {} {} {}", self.devices[d].name, self.now.ms, entry.verb, entry.path, entry.detail);
                self.trace.push(line);
            }
            Effect::Scan { folder, path, names } => {
                let result = self.devices[d].disk.scan(&path, names.as_deref());
                self.tell(d, Input::Scanned { folder, names, result });
            }
            Effect::Upload { op, path, expect } => {
                let result = self.upload(d, &path, &expect);
                self.tell(d, Input::Uploaded { op, result });
            }
            Effect::Apply { op, action } => {
                let result = self.devices[d].disk.apply(&action, &self.service.chunks);
                self.trace.push(format!("{} applies {action:?}: {result:?}", self.devices[d].name));
                for bytes in std::mem::take(&mut self.devices[d].disk.taken_away) {
                    let known = bytes.is_empty() || self.service.history.contains(&crate::values::ChunkName::of(&bytes));
                    assert!(known, "{} lost {:?}\n{}", self.devices[d].name, String::from_utf8_lossy(&bytes), self.report());
                }
                self.tell(d, Input::Applied { op, result });
            }
            Effect::AskChanges { since } => {
                let result = if self.devices[d].online { Ok(self.service.changes(since)) } else { Err(CallError::Offline) };
                self.tell(d, Input::Changes(result));
            }
            Effect::Commit { id, items } => self.commit(d, id, &items),
        }
    }

    fn upload(&mut self, d: usize, path: &ItemPath, expect: &crate::engine::Stat) -> Result<Uploaded, UploadError> {
        if !self.devices[d].online {
            return Err(UploadError::Call(CallError::Offline));
        }
        let disk = &self.devices[d].disk;
        let inode = disk.find(path).ok_or(UploadError::Changed)?;
        let stat = disk.stat(inode);
        let Data::File(bytes) = &disk.nodes[&inode].data else { return Err(UploadError::Changed) };
        if !stat.same_content(expect) {
            return Err(UploadError::Changed);
        }
        let body = body_of(bytes, stat.executable);
        self.uploads += 1;
        if let Some(chunk) = body.chunks.first().filter(|_| !self.storage_loses) {
            self.service.chunks.insert(chunk.name, bytes.clone());
        }
        Ok(Uploaded { body, stat })
    }

    fn commit(&mut self, d: usize, id: crate::values::CommitId, items: &[crate::commit::ItemCommit]) {
        if !self.devices[d].online {
            return self.tell(d, Input::Committed { id, result: Err(CallError::Offline) });
        }
        if self.faulty() {
            let lost_before = self.random.one_in(2);
            if !lost_before {
                self.commit_and_notify(id, items);
            }
            self.tell(d, Input::Committed { id, result: Err(CallError::Offline) });
            return self.disconnect(d);
        }
        let answer = self.commit_and_notify(id, items);
        self.trace.push(format!("{} commits {items:?}: {answer:?}", self.devices[d].name));
        self.devices[d].answers.push_back((id, answer));
    }

    pub fn commit_and_notify(
        &mut self,
        id: crate::values::CommitId,
        items: &[crate::commit::ItemCommit],
    ) -> crate::commit::CommitAnswer {
        let (answer, notice) = self.service.commit(id, items);
        for device in &mut self.devices {
            if let Some(notice) = notice.clone().filter(|_| device.online) {
                device.notices.push_back(notice);
            }
        }
        answer
    }

    /// Whether a device has decided to move something on its disk, and has not done so yet.
    pub fn is_about_to_move(&self, d: usize) -> bool {
        self.devices[d].pending.iter().any(|effect| matches!(effect, Effect::Apply { action: DiskAction::Move { .. }, .. }))
    }

    /// Goes on until a device wants this; it does not get it until it is carried out.
    pub fn hold(&mut self, d: usize, wants: impl Fn(&Effect) -> bool) -> Effect {
        loop {
            if let Some(index) = self.devices[d].pending.iter().position(&wants) {
                return self.devices[d].pending.remove(index);
            }
            assert!(self.step(), "{}", self.report());
        }
    }

    /// Lets the next such action be done on a device's disk; what happens then, happens before its engine is told.
    pub fn apply_and_meanwhile(&mut self, d: usize, wants: impl Fn(&DiskAction) -> bool, meanwhile: impl FnOnce(&mut Self)) {
        let effect = self.hold(d, |effect| matches!(effect, Effect::Apply { action, .. } if wants(action)));
        let Effect::Apply { op, action } = effect else { unreachable!() };
        let result = self.devices[d].disk.apply(&action, &self.service.chunks);
        meanwhile(self);
        self.tell(d, Input::Applied { op, result });
    }

    /// What can happen at once happens, without time passing.
    pub fn steps(&mut self, most: usize) {
        for _ in 0..most {
            if (0..self.devices.len()).all(|d| !self.step_of(d)) {
                return;
            }
        }
    }

    /// What waits to be told to a device.
    pub fn notices(&mut self, d: usize) -> &mut VecDeque<Notice> {
        &mut self.devices[d].notices
    }

    /// Until nobody has anything to do.
    pub fn rest(&mut self) {
        for _ in 0..STEPS_MAX {
            let told = |device: &Device| device.notices.is_empty() && device.answers.is_empty();
            let rests = |device: &Device| device.engine.is_settled() && device.pending.is_empty() && told(device);
            if self.devices.iter().take(self.devices_on).all(rests) {
                return;
            }
            self.step();
        }
        panic!("no rest after {STEPS_MAX} steps\n{}", self.report());
    }

    /// Faults end, everything is looked at again, held deletions are approved.
    pub fn settle(&mut self) {
        self.faults.rate = 0;
        self.rest();
        self.pass(crate::engine::ASK_EVERY_MS);
        for d in 0..self.devices.len() {
            self.tell(d, Input::TouchedAll);
        }
        self.approve();
    }

    /// At rest, held deletions are approved.
    pub fn approve(&mut self) {
        self.rest();
        for d in 0..self.devices.len() {
            self.tell(d, Input::Approve);
        }
        self.rest();
    }

    pub fn check_converged(&self) {
        let service = self.service.picture();
        for device in &self.devices {
            let on_disk: BTreeMap<String, String> =
                device.disk.picture().into_iter().map(|(path, seen)| (path, seen.data)).collect();
            let difference = difference(&on_disk, &service);
            assert!(difference.is_empty(), "{} against the service: {difference:#?}\n{}", device.name, self.report());
            let status = device.engine.status();
            assert!(status.problems.is_empty() && status.waiting == 0, "{status:?}\n{}", self.report());
            assert!(device.engine.plan().is_empty(), "{:?}\n{}", device.engine.plan(), self.report());
        }
        for pair in self.devices.windows(2) {
            let difference = difference(&pair[0].disk.picture(), &pair[1].disk.picture());
            assert!(difference.is_empty(), "{} against {}: {difference:#?}\n{}", pair[0].name, pair[1].name, self.report());
        }
    }

    /// Only a crash or an overlooked change may leave a file under the name that it had in passing.
    pub fn check_names(&self) {
        assert!(self.service.picture().keys().all(|path| !path.contains("stacksync-renaming")), "{}", self.report());
    }

    pub fn report(&self) -> String {
        let mut text = format!("seed {}\n", self.seed);
        text += &self.trace.iter().rev().take(120).rev().cloned().collect::<Vec<_>>().join("\n");
        for device in &self.devices {
            let picture: Vec<_> = device.disk.picture().into_iter().map(|(path, seen)| (path, seen.data)).collect();
            let engine = &device.engine;
            text += &format!("\n{}: {picture:?}\n  {:?}\n  plan {:?}", device.name, engine.status(), engine.plan());
            for id in engine.trees.ids() {
                text += &format!("\n  {}", line_of(id, engine));
            }
        }
        text + &format!("\nservice: {:?}", self.service.picture())
    }

    pub fn content(&mut self) -> Vec<u8> {
        self.next_content += 1;
        format!("content {}", self.next_content).into_bytes()
    }

    /// A person does something on a device; says what.
    pub fn act(&mut self, d: usize) -> String {
        let names: Vec<Name> = ["a", "b", "c", "d", "B"].iter().map(|name| Name::new(name).unwrap()).collect();
        let paths = self.devices[d].disk.paths();
        let folders: Vec<ItemPath> = std::iter::once(ItemPath::top())
            .chain(paths.iter().filter(|path| self.is_folder(d, path)).cloned())
            .filter(|path| path.names().len() < 4)
            .collect();
        let folder = self.random.pick(&folders).unwrap().clone();
        let usual = names.len() - usize::from(!self.random.one_in(8));
        let target = folder.join(&names[self.random.below(usual)]);
        let some = self.random.pick(&paths).cloned();
        let other = self.random.pick(&paths).cloned();
        let content = self.content();
        let disk = &mut self.devices[d].disk;
        let mut touched = vec![];
        let what = match (self.random.below(14), some) {
            (0..=2, _) | (_, None) if disk.find(&target).is_none() => {
                disk.make(&target, Data::File(content));
                touched.push(target.clone());
                format!("creates {target}")
            }
            (3, _) if disk.find(&target).is_none() => {
                disk.make(&target, Data::Folder(BTreeMap::new()));
                touched.push(target.clone());
                format!("makes folder {target}")
            }
            (4, _) if disk.find(&target).is_none() => {
                disk.make(&target, Data::Link("somewhere".into()));
                touched.push(target.clone());
                format!("makes link {target}")
            }
            (5 | 6, Some(path)) => {
                let inode = disk.find(&path).unwrap();
                if !matches!(disk.nodes[&inode].data, Data::File(_)) {
                    return String::new();
                }
                disk.write(inode, content);
                touched.push(path.clone());
                format!("edits {path}")
            }
            (7, Some(path)) => {
                disk.unlink(&path);
                touched.push(path.clone());
                format!("deletes {path}")
            }
            (8 | 9, Some(path)) => {
                if !disk.rename(&path, &target) {
                    return String::new();
                }
                touched.extend([path.clone(), target.clone()]);
                format!("moves {path} to {target}")
            }
            (10, Some(path)) => {
                let Some(other) = other else { return String::new() };
                let aside = ItemPath::parse("aside").unwrap();
                if other.names().starts_with(path.names()) || path.names().starts_with(other.names()) {
                    return String::new();
                }
                disk.rename(&path, &aside);
                disk.rename(&other, &path);
                disk.rename(&aside, &other);
                touched.extend([path.clone(), other.clone()]);
                format!("swaps {path} and {other}")
            }
            (11, Some(path)) => {
                let inode = disk.find(&path).unwrap();
                if !matches!(disk.nodes[&inode].data, Data::File(_)) {
                    return String::new();
                }
                disk.unlink(&path);
                disk.make(&path, Data::File(content));
                touched.push(path.clone());
                format!("saves {path} by rename")
            }
            (12, Some(path)) => {
                disk.unlink(&path);
                disk.make(&path, Data::Folder(BTreeMap::new()));
                touched.push(path.clone());
                format!("replaces {path} by a folder")
            }
            (13, Some(path)) => {
                let inode = disk.find(&path).unwrap();
                disk.clock += 1;
                let clock = disk.clock;
                let node = disk.nodes.get_mut(&inode).unwrap();
                if !matches!(node.data, Data::File(_)) {
                    return String::new();
                }
                (node.executable, node.changed) = (!node.executable, clock);
                let also_time = self.random.one_in(2);
                if also_time {
                    node.modified = clock;
                }
                touched.push(path.clone());
                format!("changes the mode{} of {path}", if also_time { " and time" } else { "" })
            }
            (_, _) => return String::new(),
        };
        self.trace.push(format!("{} {what}", self.devices[d].name));
        for path in touched {
            let seen = !self.unseen && (self.faults.rate == 0 || !self.random.one_in(5));
            if seen {
                self.tell(d, Input::Touched(path));
            }
        }
        what
    }

    fn is_folder(&self, d: usize, path: &ItemPath) -> bool {
        let disk = &self.devices[d].disk;
        disk.find(path).is_some_and(|inode| disk.children(inode).is_some())
    }
}

fn line_of(id: ItemId, engine: &Engine) -> String {
    let item = engine.trees.get(id);
    let place = |place: &crate::values::Place| format!("{}/{}", place.parent.map_or(0, ItemId::get) % 10_000, place.name);
    let content =
        |body: &crate::values::Body| body.chunks().first().map_or(String::new(), |chunk| chunk.name.to_string()[..4].to_owned());
    let remote = item
        .remote
        .as_ref()
        .map(|r| format!("{}{} v{} {}", place(&r.place), if r.deleted { " gone" } else { "" }, r.version, content(&r.body)));
    let synced = item.synced.as_ref().map(|s| format!("{} v{} {}", place(&s.place), s.version, content(&s.body)));
    let local =
        item.local.as_ref().map(|l| format!("{} {:?} {:?}", place(&l.place), l.stat.file.inode, l.body.as_ref().map(content)));
    let next = engine.decide(id);
    format!("{} R {remote:?} S {synced:?} L {local:?} wait {:?} step {:?}", id.get() % 10_000, engine.waits.of(id), next.step)
        .chars()
        .take(400)
        .collect()
}

/// Paths at which two pictures differ, with what each shows.
pub fn difference<T: PartialEq + std::fmt::Debug>(a: &BTreeMap<String, T>, b: &BTreeMap<String, T>) -> Vec<String> {
    let paths: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differs = |path: &&String| a.get(*path) != b.get(*path);
    paths.into_iter().filter(differs).map(|path| format!("{path}: {:?} / {:?}", a.get(path), b.get(path))).collect()
}
