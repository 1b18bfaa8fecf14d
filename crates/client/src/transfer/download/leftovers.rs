//! What a download got before it failed, for the next try of the same content: the chunk is the unit in which a download goes on.
//!
//! The file itself may be gone from its folder; while it is open here, its bytes are not. They are believed no more than those of any
//! other file. A new process begins without them.

use super::Source;
use stacksync_core::engine::ApplyError;
use stacksync_core::values::FileBody;
use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

/// Files whose leftovers are kept, which take room on the disk.
const FILES_MAX: usize = 4;
/// What is shorter is fetched again.
const FILE_BYTES_MIN: u64 = 1024 * 1024;

/// See the module.
#[derive(Default)]
pub(super) struct Leftovers {
    files: Mutex<VecDeque<(Arc<FileBody>, Arc<File>)>>,
}

impl Leftovers {
    /// What there is of this content; it is forgotten here.
    pub(super) fn take(&self, body: &FileBody) -> Option<Source> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let place = files.iter().position(|(known, _)| known.chunks == body.chunks)?;
        let (body, file) = files.remove(place)?;
        Some(Source { file: file.try_clone().ok()?, body })
    }

    /// The download into this file failed like that.
    pub(super) fn keep(&self, body: &FileBody, file: Arc<File>, error: &ApplyError) {
        match error {
            // A full disk needs the room.
            ApplyError::NoSpace | ApplyError::Failed(_) | ApplyError::Changed => return,
            ApplyError::Call(_) | ApplyError::ChunkUnavailable { .. } if body.size < FILE_BYTES_MIN => return,
            ApplyError::Call(_) | ApplyError::ChunkUnavailable { .. } => {}
        }
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.truncate(FILES_MAX - 1);
        files.push_front((Arc::new(body.clone()), file));
    }
}
