//! Reads a file to upload it, in pieces, and proves that it held still. As `disk/read.rs` and `transfer/upload/read.rs` of the client.

use super::Progress;
use super::calls::OpenFolderError;
use super::errno::Errno;
use super::look::Look;
use super::machine::Machine;
use super::node::Hold;
use stacksync_core::engine::{Stat, UploadError};
use stacksync_core::planted;
use stacksync_core::values::{ItemPath, Kind};

/// A second write within one step of the clock that stamps files is invisible in the times: a file is read only when its last
/// change is that long ago, in nanoseconds.
const CLOCK_STEP_NS: i64 = 10_000_000;
/// Two writes within so short a time may leave the same modification time, in nanoseconds.
const TICK_MAX_NS: i64 = 20_000_000;
/// A file is read in so many pieces.
const PIECES: usize = 3;

/// A file that is being read to be uploaded.
#[derive(Debug)]
pub struct Upload {
    /// The bytes read so far.
    pub bytes: Vec<u8>,
    path: ItemPath,
    expect: Stat,
    file: Hold,
    generation: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its times must become older than a tick of the clock.
    Opening,
    Reading,
    /// A further write must show in its times.
    Settling,
}

/// The step of the clock that stamped this: where no fractions of seconds are stamped, it is one second or two.
const fn clock_step(changed_ns: i64) -> i64 {
    if changed_ns % 2_000_000_000 == 0 {
        2_000_000_000
    } else if changed_ns % 1_000_000_000 == 0 {
        1_000_000_000
    } else {
        CLOCK_STEP_NS
    }
}

impl Machine {
    pub fn begin_upload(&mut self, path: &ItemPath, expect: &Stat) -> Result<Upload, UploadError> {
        let file = self.open_to_read(path)?;
        let stat = self.stat_open(&file)?;
        let settled = self.fs.clock - stat.changed_ns >= clock_step(stat.changed_ns) || stat.changed_ns > self.fs.clock;
        let stage = if settled { Stage::Reading } else { Stage::Opening };
        let (path, expect) = (path.clone(), expect.clone());
        let upload = Upload { bytes: Vec::new(), path, expect, file, generation: self.generation, stage };
        if settled {
            self.is_still(&upload)?;
        }
        Ok(upload)
    }

    pub fn open_to_read(&mut self, path: &ItemPath) -> Result<Hold, UploadError> {
        let unreadable = |errno: Errno| UploadError::Unreadable(format!("{path} cannot be read: {errno}"));
        let (parent, name) = path.split().ok_or(UploadError::Changed)?;
        let root = self.open_root().map_err(UploadError::Unreadable)?;
        let folder = self.open_folder(root.id, &parent).map_err(|error| match error {
            OpenFolderError::Gone => UploadError::Changed,
            OpenFolderError::Refused(errno) => unreadable(errno),
        })?;
        let file = self.open_file(folder.id, name).map_err(|errno| match errno {
            Errno::NoEnt | Errno::Loop | Errno::NotDir => UploadError::Changed,
            other => unreadable(other),
        })?;
        Ok(file)
    }

    fn stat_open(&self, file: &Hold) -> Result<Stat, UploadError> {
        match self.fs.look_at(file.id) {
            Look::Here(found) if found.stat.kind == Kind::File => Ok(found.stat),
            Look::Here(_) | Look::Absent | Look::Odd(_) => Err(UploadError::Changed),
        }
    }

    /// Whether the open file is what was seen.
    fn is_still(&self, upload: &Upload) -> Result<(), UploadError> {
        let now = self.stat_open(&upload.file)?;
        let same =
            now.same_content(&upload.expect) && (upload.expect.changed_ns == 0 || now.changed_ns == upload.expect.changed_ns);
        if same || planted!(UploadTorn) { Ok(()) } else { Err(UploadError::Changed) }
    }

    pub fn continue_upload(&mut self, upload: &mut Upload) -> Progress<Result<(), UploadError>> {
        if upload.generation != self.generation {
            return Progress::Done(Err(UploadError::Changed));
        }
        self.write_on();
        match self.read_on(upload) {
            Ok(None) => Progress::Going,
            Ok(Some(())) => Progress::Done(Ok(())),
            Err(error) => Progress::Done(Err(error)),
        }
    }

    fn read_on(&mut self, upload: &mut Upload) -> Result<Option<()>, UploadError> {
        match upload.stage {
            Stage::Opening => {
                let stat = self.stat_open(&upload.file)?;
                let step = clock_step(stat.changed_ns);
                self.sleep_until(stat.changed_ns + step, step);
                upload.stage = Stage::Reading;
                self.is_still(upload).map(|()| None)
            }
            Stage::Reading => {
                if !self.read_piece(upload)? {
                    return Ok(None);
                }
                self.is_still(upload)?;
                if self.fs.clock - upload.expect.modified.0 >= TICK_MAX_NS {
                    return Ok(Some(()));
                }
                upload.stage = Stage::Settling;
                Ok(None)
            }
            Stage::Settling => {
                self.sleep_until(upload.expect.modified.0 + TICK_MAX_NS, TICK_MAX_NS);
                self.is_still(upload).map(Some)
            }
        }
    }

    /// Whether it was the last one.
    fn read_piece(&mut self, upload: &mut Upload) -> Result<bool, UploadError> {
        let failed = |errno| UploadError::Unreadable(format!("cannot read the file: {errno}"));
        self.access(upload.file.id, 0).map_err(failed)?;
        let bytes = self.fs.node(upload.file.id).map_err(failed)?.bytes().cloned().unwrap_or_default();
        let size = upload.expect.size as usize;
        let start = upload.bytes.len().min(bytes.len());
        let end = (start + size / PIECES + 1).min(bytes.len());
        upload.bytes.extend_from_slice(&bytes[start..end]);
        if upload.bytes.len() > size {
            return Err(UploadError::Changed);
        }
        if start < end {
            return Ok(false);
        }
        if upload.bytes.len() == size || planted!(UploadTorn) { Ok(true) } else { Err(UploadError::Changed) }
    }

    /// The clock goes on while the client sleeps. A time in the future is another clock's: then it sleeps as long as it ever does.
    fn sleep_until(&mut self, ns: i64, longest: i64) {
        let until = if ns - self.fs.clock > longest { self.fs.clock + longest } else { ns };
        self.fs.clock = self.fs.clock.max(until);
    }

    pub fn finish_upload(&mut self, upload: &Upload) -> Result<Stat, UploadError> {
        if upload.generation != self.generation {
            return Err(UploadError::Changed);
        }
        if planted!(UploadTorn) {
            return Ok(upload.expect.clone());
        }
        let stat = self.stat_open(&upload.file)?;
        let (parent, name) = upload.path.split().ok_or(UploadError::Changed)?;
        let root = self.open_root().map_err(UploadError::Unreadable)?;
        let folder = self.open_folder(root.id, &parent).map_err(|_| UploadError::Changed)?;
        let at_path = self.look(folder.id, name);
        let same_file = matches!(at_path, Ok(Look::Here(found)) if found.stat.file == stat.file);
        if same_file && stat.same_content(&upload.expect) { Ok(stat) } else { Err(UploadError::Changed) }
    }
}
