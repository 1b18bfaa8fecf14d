//! What must hold of what people type to find a service, and of the engine whatever the service tells.

use super::service::page;
use super::{Address, JoinCode};
use stacksync_core::engine::{
    Applied, CallError, Cursor, DiskAction, Effect, Engine, FileId, Input, Listing, Now, ScanError, Setup, Stat, UploadError,
};
use stacksync_core::values::{Body, Kind, ModifiedAt};
use stacksync_protocol::sync_service::{Changes, CommitNotification};

/// An address, or a join code. One that is read is written and read again the same; nothing in it can break out of a header line.
///
/// # Panics
/// When that does not hold.
pub fn address(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(address) = text.parse::<Address>() {
        assert!(address.port() > 0);
        assert!(address.authority().bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(code) = text.parse::<JoinCode>() {
        assert!(code.code.bytes().all(|byte| byte.is_ascii_graphic()));
        let written = match code.fingerprint {
            Some(fingerprint) => format!("{}.{fingerprint}", code.code),
            None => code.code.clone(),
        };
        assert!(written.parse::<JoinCode>().is_ok_and(|again| again == code));
    }
}

/// Lines of JSON that a service tells one after the other: pages of changes, and notices. The engine neither breaks nor runs for ever:
/// what it does is bounded by what it was told.
///
/// # Panics
/// When it does.
pub fn engine(bytes: &[u8]) {
    let mut device = Device::new();
    let mut told = 0;
    for line in bytes.split(|&byte| byte == b'\n').take(8) {
        if let Ok(changes) = serde_json::from_slice::<Changes>(line) {
            told += changes.items.len();
            device.hear(Input::Changes(page(&changes).map_err(|error| CallError::NotNow(error.to_string()))));
        }
        if let Ok(notice) = serde_json::from_slice::<CommitNotification>(line)
            && let Ok(notice) = notice.to_notice()
        {
            told += notice.items.as_ref().map_or(0, Vec::len);
            device.hear(Input::Noticed(notice));
        }
    }
    let most = 100 + 40 * told;
    device.rest(most);
    assert!(device.done <= most, "{} effects because of {told} items", device.done);
}

/// A device with an empty folder, whose disk does everything and shows nothing.
struct Device {
    engine: Engine,
    now: Now,
    looked: bool,
    inode: u64,
    done: usize,
}

impl Device {
    fn new() -> Self {
        let now = Now { ms: 0, unix_ns: 0 };
        let setup = Setup { device: "d".into(), seed: [7; 32], rows: Vec::new(), cursor: Cursor::default() };
        let mut device = Self { engine: Engine::new(setup, now), now, looked: false, inode: 1, done: 0 };
        device.hear(Input::TouchedAll);
        device.hear(Input::Online);
        device
    }

    fn hear(&mut self, input: Input) {
        self.now.ms += 1;
        self.engine.handle(input, self.now);
    }

    /// Does what the engine wants, and lets some time pass, until there is nothing to do or too much was done.
    fn rest(&mut self, most: usize) {
        for _ in 0..8 {
            while let Some(effect) = self.engine.poll() {
                self.done += 1;
                if self.done > most {
                    return;
                }
                if let Some(outcome) = self.outcome(effect) {
                    self.hear(outcome);
                }
            }
            self.now.ms += 2_000;
            self.hear(Input::Woken);
        }
    }

    fn outcome(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Scan { folder, names, .. } => {
                let first = !std::mem::replace(&mut self.looked, true);
                let result = if first { Ok(Listing::default()) } else { Err(ScanError::Unreadable("x".into())) };
                Some(Input::Scanned { folder, names, result })
            }
            Effect::Apply { op, action, .. } => Some(Input::Applied { op, result: Ok(self.applied(action)) }),
            Effect::Upload { op, .. } => Some(Input::Uploaded { op, result: Err(UploadError::Changed) }),
            Effect::Commit { id, .. } => Some(Input::Committed { id, result: Err(CallError::Refused("x".into())) }),
            Effect::AskChanges { .. } | Effect::Remember(_) | Effect::Log(_) => None,
        }
    }

    fn applied(&mut self, action: DiskAction) -> Applied {
        self.inode += 1;
        let fresh = |kind, size, modified| Stat {
            kind,
            file: FileId { inode: self.inode, born_ns: 0 },
            size,
            modified,
            changed_ns: 0,
            executable: false,
            target: None,
        };
        match action {
            DiskAction::MakeFolder { .. } => Applied::Present(fresh(Kind::Folder, 0, ModifiedAt(0))),
            DiskAction::Write { body, modified, .. } => Applied::Present(fresh(Kind::File, Body::File(body).size(), modified)),
            DiskAction::MakeLink { target, .. } => {
                Applied::Present(Stat { target: Some(target), ..fresh(Kind::Link, 0, ModifiedAt(0)) })
            }
            DiskAction::Move { expect, .. } => Applied::Present(expect),
            DiskAction::SetMeta { expect, modified, executable, .. } => Applied::Present(Stat { modified, executable, ..expect }),
            DiskAction::Trash { .. } | DiskAction::RemoveFolder { .. } => Applied::Absent,
        }
    }
}
