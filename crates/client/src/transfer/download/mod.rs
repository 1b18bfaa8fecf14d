//! Files of one workspace out of its storage.
//!
//! What other files of this computer hold already is taken from there; the rest is fetched, small chunks of many files together,
//! large ones alone and several at a time. Nothing is written that was not verified against its name. The caller makes the file,
//! and makes it durable and visible afterwards.

mod bundle;
mod get;
mod leftovers;
mod plan;
mod shelf;
mod write;

use super::Tickets;
use super::retry::Failure;
use super::shared::{Shared, work};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use get::{Getter, Got};
use leftovers::Leftovers;
use plan::{Piece, Plan};
use stacksync_chunks::pack;
use stacksync_core::engine::{ApplyError, CallError};
use stacksync_core::values::{ChunkName, FileBody};
use stacksync_protocol::chunk_service::{BATCH_CHUNK_BYTES_MAX, Ticket};
use std::fs::File;
use std::sync::Arc;
use write::Sink;

/// Large chunks of one file that are fetched at once.
const GETS_PER_FILE_MAX: usize = 4;
/// Chunks of another file that one job copies, and such jobs at once for one file.
const COPIES_PER_JOB: usize = 8;
/// See [`COPIES_PER_JOB`].
const COPY_JOBS_MAX: usize = 2;
/// Large chunks that one request for tickets names: few, so that none expires while it waits.
const TICKETS_PER_REQUEST: usize = 128;

/// An open file of this computer that may hold some of the chunks.
#[derive(Debug)]
pub struct Source {
    /// The file; read at offsets.
    pub file: File,
    /// What it held when it was last seen. Whether it still does is found out.
    pub body: Arc<FileBody>,
}

/// Downloads files of one workspace. Cheap to clone; many downloads may run at once.
#[derive(Clone)]
pub struct Downloader {
    shared: Arc<Shared>,
    getter: Getter,
    leftovers: Arc<Leftovers>,
}

impl Downloader {
    pub(super) fn new(shared: Arc<Shared>, tickets: Arc<dyn Tickets>) -> Self {
        Self { getter: Getter::new(shared.clone(), tickets), shared, leftovers: Arc::default() }
    }

    /// Writes what `body` says into `target`, an empty file open for reading and writing; long runs of zeros stay holes. Not durable
    /// yet. What an earlier call for the same content got before it failed is not fetched again.
    ///
    /// # Errors
    /// The first failure; `target` then holds some of the bytes. [`ApplyError::ChunkUnavailable`] if the storage does not have a
    /// chunk, or has it only damaged, also when asked to look twice.
    pub async fn fetch(&self, body: &FileBody, mut sources: Vec<Source>, target: Arc<File>) -> Result<(), ApplyError> {
        sources.extend(self.leftovers.take(body));
        let fetched = self.fetch_from(body, sources, target.clone()).await;
        if let Err(error) = &fetched {
            self.leftovers.keep(body, target, error);
        }
        fetched
    }

    async fn fetch_from(&self, body: &FileBody, sources: Vec<Source>, target: Arc<File>) -> Result<(), ApplyError> {
        let announced = self.getter.announce();
        let sink = Sink::new(target, self.shared.clone(), body.size);
        let mut plan = Plan::new(body)?;
        if write::may_have_holes(body.size) {
            let sink = sink.clone();
            self.on_disk(move || sink.set_len()).await??;
        }
        for source in sources {
            plan = self.copy(plan, source, &sink).await?;
        }
        let (small, large): (Vec<_>, Vec<_>) =
            plan.pieces.into_iter().partition(|piece| piece.chunk.len as usize <= BATCH_CHUNK_BYTES_MAX);
        let small =
            stream::iter(small).map(|piece| self.fetch_small(piece, &sink)).buffer_unordered(GETS_PER_FILE_MAX).try_collect::<()>();
        let large = self.fetch_large(large, &sink);
        drop(announced);
        tokio::try_join!(small, large).map(drop)
    }

    /// Takes what the source holds out of the plan, a few chunks at a time.
    async fn copy(&self, plan: Plan, source: Source, sink: &Sink) -> Result<Plan, ApplyError> {
        let (there, mut rest) = plan.split_off(&source.body);
        let file = Arc::new(source.file);
        // Collected, since a stream over borrowing closures could not be spawned.
        let jobs: Vec<_> = (there.chunks(COPIES_PER_JOB))
            .map(|pieces| {
                let (pieces, sink, file) = (pieces.to_vec(), sink.clone(), file.clone());
                self.on_disk(move || sink.copy(pieces, &file))
            })
            .collect();
        let mut copied = stream::iter(jobs).buffer_unordered(COPY_JOBS_MAX);
        while let Some(left) = copied.next().await {
            rest.pieces.extend(left??);
        }
        drop(copied);
        Ok(rest)
    }

    async fn fetch_small(&self, piece: Piece, sink: &Sink) -> Result<(), ApplyError> {
        let name = piece.chunk.name;
        let got = self.getter.get_small(piece.chunk).await;
        let (packed, room) = match got {
            Ok(Got::Packed(packed, room)) => (packed, room),
            Ok(Got::Missing) => return Err(missing(name)),
            Err(failure) => return Err(CallError::from(failure).into()),
        };
        let (writing, for_writing) = (sink.clone(), piece.clone());
        match self.on_disk(move || writing.write(&for_writing, &packed)).await? {
            Err(write::WriteError::Damage(_)) => {
                // The next try takes its own room, and must not wait for it with this one taken.
                drop(room);
                self.fetch_one(piece, None, sink).await
            }
            written => written.map_err(|error| error.into_apply(name)),
        }
    }

    async fn fetch_large(&self, pieces: Vec<Piece>, sink: &Sink) -> Result<(), ApplyError> {
        // Groups of their own: a future over borrowed ones could not be shown to be `Send`.
        let groups: Vec<Vec<Piece>> = pieces.chunks(TICKETS_PER_REQUEST).map(<[Piece]>::to_vec).collect();
        let groups = groups.into_iter().map(|group| async move {
            let names = group.iter().map(|piece| piece.chunk.name).collect();
            let tickets = self.getter.tickets(names).await.map_err(CallError::from)?;
            Ok::<_, ApplyError>(stream::iter(group.into_iter().zip(tickets).map(Ok)))
        });
        // One group of tickets ahead of the chunks.
        let with_tickets = stream::iter(groups).buffered(2).try_flatten();
        with_tickets
            .map_ok(|(piece, ticket)| self.fetch_one(piece, ticket, sink))
            .try_buffer_unordered(GETS_PER_FILE_MAX)
            .try_collect::<()>()
            .await
    }

    /// One chunk by itself; if it comes damaged, once more with care.
    async fn fetch_one(&self, piece: Piece, ticket: Option<Ticket>, sink: &Sink) -> Result<(), ApplyError> {
        let name = piece.chunk.name;
        let _room = self.shared.room(piece.chunk.len as usize).await.map_err(CallError::from)?;
        let mut got = self.getter.get_one(piece.chunk, ticket).await.map_err(CallError::from)?;
        for is_last in [false, true] {
            let Got::Packed(packed, _) = got else { return Err(missing(name)) };
            let (writing, for_writing) = (sink.clone(), piece.clone());
            match self.on_disk(move || writing.write(&for_writing, &packed)).await? {
                Err(write::WriteError::Damage(_)) if !is_last => {}
                written => return written.map_err(|error| error.into_apply(name)),
            }
            got = self.getter.get_checked(piece.chunk).await.map_err(CallError::from)?;
        }
        Err(damaged(name, &pack::Damage::WrongHash))
    }

    async fn on_disk<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, ApplyError> {
        work(&self.shared.writers, job).await.map_err(|failure: Failure| CallError::from(failure).into())
    }
}

fn missing(chunk: ChunkName) -> ApplyError {
    ApplyError::ChunkUnavailable { chunk, reason: "the storage does not have it".to_owned() }
}

fn damaged(chunk: ChunkName, damage: &pack::Damage) -> ApplyError {
    ApplyError::ChunkUnavailable { chunk, reason: format!("the storage has it only damaged: {damage}") }
}
