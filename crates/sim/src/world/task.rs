//! Effects that take several steps: what a laptop is in the middle of.

use crate::disk::Upload;
use stacksync_core::engine::{DiskAction, OpId, Stat};
use stacksync_core::values::{ChunkRef, FileBody, ItemId, ItemPath, Name};
use std::collections::VecDeque;
use std::sync::Arc;

/// Something under way, and from when on it goes on.
#[derive(Debug)]
pub struct Task {
    pub(super) ready_at: u64,
    pub(super) kind: TaskKind,
}

#[derive(Debug)]
pub(super) enum TaskKind {
    /// A look at a folder.
    Scan { folder: Option<ItemId>, path: ItemPath, names: Option<Vec<Name>> },
    /// An upload, from its beginning to the last look.
    Upload { op: OpId, path: ItemPath, expect: Stat, stage: UploadStage },
    /// The bytes for a file that is to be written; then it waits for its turn on the disk.
    Fetch { op: OpId, action: DiskAction, fetch: Fetch },
}

#[derive(Debug)]
pub(super) enum UploadStage {
    /// To be opened.
    Open,
    /// Being read.
    Read(Upload),
    /// Its chunks are asked for and put.
    Put(Stored),
}

/// What was read, and what of it is not known to be in the storage.
#[derive(Debug)]
pub(super) struct Stored {
    pub upload: Upload,
    pub body: FileBody,
    /// Chunks by offset; `None` until the service was asked which are missing.
    pub missing: Option<VecDeque<(ChunkRef, usize)>>,
}

/// What was gathered of a file.
#[derive(Debug)]
pub(super) struct Fetch {
    pub body: FileBody,
    /// Files on this disk that may hold some of it.
    pub sources: Vec<(ItemPath, Arc<FileBody>)>,
    /// By chunk of the body.
    pub pieces: Vec<Option<Vec<u8>>>,
    pub looked: bool,
    pub ticket: bool,
}

impl Fetch {
    pub fn new(body: FileBody, sources: Vec<(ItemPath, Arc<FileBody>)>) -> Self {
        let pieces = vec![None; body.chunks.len()];
        Self { body, sources, pieces, looked: false, ticket: false }
    }
}
