//! Tasks that take several steps: looks, uploads, downloads, and the one action at a time that changes the disk.

use super::World;
use super::calls::remote_error;
use super::happened::Happened;
use super::member::{Running, Waiting};
use super::storage::flip_bit;
use super::task::{Fetch, Stored, Task, TaskKind, UploadStage};
use crate::disk::{Progress, Upload};
use crate::scenario::Fault;
use stacksync_chunks::pack;
use stacksync_chunks::store::StoreError;
use stacksync_core::cut::Cutter;
use stacksync_core::engine::{Applied, ApplyError, CallError, DiskAction, Input, OpId, Stat, UploadError, Uploaded};
use stacksync_core::values::{ChunkName, ChunkRef, FileBody, ItemPath};
use stacksync_protocol::CHUNK_SERVICE;
use stacksync_protocol::chunk_service::{GetTickets, GetTicketsRequest, PutTickets, PutTicketsRequest};
use std::collections::VecDeque;

/// A slow storage takes so long at most, in milliseconds.
const SLOW_MAX_MS: u64 = 30_000;
/// Chunks that one call may name.
const TICKETS_MAX: usize = stacksync_protocol::chunk_service::TICKET_CHUNKS_MAX;

/// What became of one step of an upload: it goes on, or this is its outcome.
type Went = Result<UploadStage, Result<Uploaded, UploadError>>;

impl World {
    /// One step of a task.
    pub(super) fn go_on(&mut self, number: usize, index: usize) {
        let Task { kind, .. } = self.members[number].tasks.swap_remove(index);
        match kind {
            TaskKind::Scan { folder, path, names } => {
                let result = self.members[number].disk.scan(&path, names.as_deref());
                self.after_disk(number);
                let (laptop, workspace) = (self.members[number].laptop, self.members[number].workspace);
                match &result {
                    Ok(listing) if names.is_some() => {
                        let found: Vec<_> = listing.entries.iter().map(|entry| (&entry.name, entry.stat.file.inode)).collect();
                        self.trace.add(format_args!("  {laptop}/{workspace} looks in '{path}' for {names:?}: {found:?}"));
                    }
                    Ok(listing) => {
                        self.trace.add(format_args!("  {laptop}/{workspace} looks in '{path}': {}", listing.entries.len()))
                    }
                    Err(error) => self.trace.add(format_args!("  {laptop}/{workspace} looks in '{path}': {error}")),
                }
                self.members[number].inbox.push_back(Input::Scanned { folder, names, result });
            }
            TaskKind::Upload { op, path, expect, stage } => match self.upload(number, &path, &expect, stage) {
                Ok(stage) => self.again(number, TaskKind::Upload { op, path, expect, stage }),
                Err(outcome) => self.uploaded(number, op, path, outcome),
            },
            TaskKind::Fetch { op, action, mut fetch } => match self.fetch(number, &mut fetch) {
                Ok(false) => self.again(number, TaskKind::Fetch { op, action, fetch }),
                Ok(true) => {
                    let contents = fetch.pieces.into_iter().flatten().flatten().collect();
                    self.members[number].jobs.push_back(Waiting { op, action, contents: Some(contents) });
                }
                Err(error) => self.applied(number, op, action, Err(error)),
            },
        }
    }

    fn again(&mut self, number: usize, kind: TaskKind) {
        let mut ready_at = self.now.ms;
        if !matches!(kind, TaskKind::Scan { .. }) && self.faulty(Fault::StorageSlow) {
            self.note_fault(Fault::StorageSlow, Some(self.members[number].laptop));
            ready_at += self.random.between(1, SLOW_MAX_MS);
        }
        self.members[number].tasks.push(Task { ready_at, kind });
    }

    fn upload(&mut self, number: usize, path: &ItemPath, expect: &Stat, stage: UploadStage) -> Went {
        match stage {
            UploadStage::Open => {
                let opened = self.members[number].disk.begin_upload(path, expect);
                self.after_disk(number);
                opened.map(UploadStage::Read).map_err(Err)
            }
            UploadStage::Read(mut upload) => {
                let progress = self.members[number].disk.continue_upload(&mut upload);
                self.after_disk(number);
                match progress {
                    Progress::Going => Ok(UploadStage::Read(upload)),
                    Progress::Done(Ok(())) => Ok(UploadStage::Put(cut(upload, expect))),
                    Progress::Done(Err(error)) => Err(Err(error)),
                }
            }
            UploadStage::Put(mut stored) => {
                if !self.put(number, &mut stored).map_err(|error| Err(UploadError::Call(error)))? {
                    return Ok(UploadStage::Put(stored));
                }
                let looked = self.members[number].disk.finish_upload(stored.upload);
                self.after_disk(number);
                let stat = looked.map_err(Err)?;
                Err(Ok(Uploaded { body: FileBody { executable: stat.executable, ..stored.body }, stat }))
            }
        }
    }

    /// Asks which chunks are missing, or puts the next one. `true` when none is left.
    fn put(&mut self, number: usize, stored: &mut Stored) -> Result<bool, CallError> {
        let (laptop, workspace) = (self.members[number].laptop, self.members[number].workspace);
        self.reaches_storage(laptop)?;
        let id = self.workspace_id(workspace);
        let Some(missing) = &mut stored.missing else {
            let mut chunks = Vec::new();
            let mut offset = 0;
            for chunk in stored.body.chunks.iter() {
                chunks.push((*chunk, offset));
                offset += chunk.len as usize;
            }
            let mut missing = VecDeque::new();
            for group in chunks.chunks(TICKETS_MAX) {
                let names = group.iter().map(|(chunk, _)| chunk.name.to_string()).collect();
                let request =
                    PutTicketsRequest { workspace_id: id.0, chunks: names, batched: Vec::new(), relay: false, bundles: false };
                let answer = self.service.call(laptop, CHUNK_SERVICE, "putTickets", &request).map_err(remote_error)?;
                let answer: PutTickets =
                    serde_json::from_str(answer.get()).map_err(|error| CallError::NotNow(error.to_string()))?;
                missing.extend(answer.missing.iter().filter_map(|&index| group.get(index as usize).copied()));
            }
            let done = missing.is_empty();
            stored.missing = Some(missing);
            return Ok(done);
        };
        let Some((chunk, offset)) = missing.pop_front() else { return Ok(true) };
        let done = missing.is_empty();
        let plain = stored.upload.bytes.get(offset..offset + chunk.len as usize).unwrap_or_default();
        let packed = pack::pack(plain).map_err(|error| CallError::Refused(error.to_string()))?;
        let packed = if self.faulty(Fault::TransferFlipped) {
            self.note_fault(Fault::TransferFlipped, Some(laptop));
            let mut bytes = packed.to_vec();
            flip_bit(&mut bytes, self.random.next());
            bytes.into()
        } else {
            packed
        };
        match self.storage.put(id, chunk.name, packed) {
            Ok(()) => Ok(done),
            Err(error @ StoreError::Refused { .. }) => Err(CallError::Refused(error.to_string())),
            Err(error) => Err(CallError::NotNow(error.to_string())),
        }
    }

    /// Every try of the real client failed.
    fn reaches_storage(&mut self, laptop: usize) -> Result<(), CallError> {
        if !self.laptops[laptop].online || self.service_down_until.is_some() {
            return Err(CallError::NotNow("not connected".to_owned()));
        }
        if self.faulty(Fault::StorageFails) {
            self.note_fault(Fault::StorageFails, Some(laptop));
            return Err(CallError::NotNow("the storage fails".to_owned()));
        }
        Ok(())
    }

    fn uploaded(&mut self, number: usize, op: OpId, path: ItemPath, result: Result<Uploaded, UploadError>) {
        let (laptop, workspace) = (self.members[number].laptop, self.members[number].workspace);
        self.trace.add(format_args!("  {laptop}/{workspace} uploads {path}: {result:?}"));
        if let Ok(uploaded) = &result {
            let (body, stat) = (uploaded.body.clone(), uploaded.stat.clone());
            self.happened.push(Happened::Uploaded { laptop, workspace, path, body, stat });
        }
        self.members[number].inbox.push_back(Input::Uploaded { op, result });
    }

    /// Gathers some of the bytes; `true` when all are there. Every chunk is verified.
    fn fetch(&mut self, number: usize, fetch: &mut Fetch) -> Result<bool, ApplyError> {
        if !std::mem::replace(&mut fetch.looked, true) {
            self.look_here(number, fetch);
        }
        let Some(index) = fetch.pieces.iter().position(Option::is_none) else { return Ok(true) };
        let (laptop, workspace) = (self.members[number].laptop, self.members[number].workspace);
        self.reaches_storage(laptop)?;
        let id = self.workspace_id(workspace);
        if !std::mem::replace(&mut fetch.ticket, true) {
            let chunks = fetch.body.chunks.iter().take(TICKETS_MAX).map(|chunk| chunk.name.to_string()).collect();
            let request = GetTicketsRequest { workspace_id: id.0, chunks, batched: Vec::new(), relay: false, bundles: false };
            let answer = self.service.call(laptop, CHUNK_SERVICE, "getTickets", &request).map_err(remote_error)?;
            serde_json::from_str::<GetTickets>(answer.get()).map_err(|error| CallError::NotNow(error.to_string()))?;
            return Ok(false);
        }
        let name = fetch.body.chunks[index].name;
        let plain = self.get_chunk(laptop, id, name)?;
        for (piece, chunk) in fetch.pieces.iter_mut().zip(fetch.body.chunks.iter()) {
            if chunk.name == name {
                *piece = Some(plain.clone());
            }
        }
        Ok(fetch.pieces.iter().all(Option::is_some))
    }

    /// One chunk; if it comes damaged, once more with care.
    fn get_chunk(
        &mut self,
        laptop: usize,
        id: stacksync_core::values::WorkspaceId,
        name: ChunkName,
    ) -> Result<Vec<u8>, ApplyError> {
        let failed = |error: StoreError| ApplyError::Call(CallError::NotNow(error.to_string()));
        let missing = || ApplyError::ChunkUnavailable { chunk: name, reason: "the storage does not have it".to_owned() };
        let mut packed = self.storage.get(id, name).map_err(failed)?.ok_or_else(missing)?;
        if self.faulty(Fault::TransferFlipped) {
            self.note_fault(Fault::TransferFlipped, Some(laptop));
            let mut bytes = packed.to_vec();
            flip_bit(&mut bytes, self.random.next());
            packed = bytes.into();
        }
        if let Ok(plain) = pack::unpack(&name, &packed) {
            return Ok(plain.to_vec());
        }
        self.storage.check(id, name).map_err(failed)?;
        let packed = self.storage.get(id, name).map_err(failed)?.ok_or_else(missing)?;
        let damaged =
            |damage| ApplyError::ChunkUnavailable { chunk: name, reason: format!("the storage has it only damaged: {damage}") };
        pack::unpack(&name, &packed).map(|plain| plain.to_vec()).map_err(damaged)
    }

    /// What other files of this disk hold.
    fn look_here(&mut self, number: usize, fetch: &mut Fetch) {
        for (path, body) in &fetch.sources {
            let Some(bytes) = self.members[number].disk.read_source(path, body) else { continue };
            let mut offset = 0;
            for there in body.chunks.iter() {
                let end = offset + there.len as usize;
                let piece = bytes.get(offset..end);
                offset = end;
                let wanted = |(index, chunk): (usize, &ChunkRef)| (chunk.name == there.name).then_some(index);
                let indices: Vec<usize> = fetch.body.chunks.iter().enumerate().filter_map(wanted).collect();
                let open = indices.iter().any(|&index| fetch.pieces[index].is_none());
                let Some(piece) = piece.filter(|piece| open && ChunkName::of(piece) == there.name) else { continue };
                for index in indices {
                    fetch.pieces[index] = Some(piece.to_vec());
                }
            }
        }
        self.after_disk(number);
    }

    /// One step of the action that is under way; else the next one begins.
    pub(super) fn change_disk(&mut self, number: usize) {
        let member = &mut self.members[number];
        let Some(mut running) = member.running.take() else {
            if let Some(Waiting { op, action, contents }) = member.jobs.pop_front() {
                let job = member.disk.begin(action.clone(), contents);
                member.running = Some(Running { op, action, job });
            }
            return self.after_disk(number);
        };
        let progress = member.disk.step(&mut running.job);
        self.after_disk(number);
        match progress {
            Progress::Going => {
                self.members[number].running = Some(running);
                self.maybe_edit_during(number);
            }
            Progress::Done(result) => self.applied(number, running.op, running.action, result),
        }
    }

    fn applied(&mut self, number: usize, op: OpId, action: DiskAction, result: Result<Applied, ApplyError>) {
        let (laptop, workspace) = (self.members[number].laptop, self.members[number].workspace);
        self.trace.add(format_args!("  {laptop}/{workspace} applies {action:?}: {result:?}"));
        self.happened.push(Happened::Applied { laptop, workspace, action, result: result.clone() });
        self.members[number].inbox.push_back(Input::Applied { op, result });
    }
}

fn cut(upload: Upload, expect: &Stat) -> Stored {
    let mut chunks = Vec::new();
    let mut cutter = Cutter::new();
    cutter.feed(&upload.bytes, |chunk, _| chunks.push(chunk));
    let total = cutter.finish(|chunk, _| chunks.push(chunk));
    let body = FileBody { size: total.size, chunks: chunks.into(), adler32: total.adler32, executable: expect.executable };
    Stored { upload, body, missing: None }
}
