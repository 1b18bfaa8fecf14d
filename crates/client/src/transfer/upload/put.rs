//! Puts one group of chunks: asks which the storage lacks, sends those, and asks again for what went wrong.

use super::super::Tickets;
use super::super::http::{Care, Http, Way, with_checksum};
use super::super::retry::{Failure, Tries};
use super::super::shared::{Shared, work};
use super::bundle::{self, NotBundled};
use bytes::Bytes;
use futures_util::future::join_all;
use stacksync_chunks::batch;
use stacksync_chunks::crash_point;
use stacksync_chunks::pack::{self, Headed};
use stacksync_core::values::{ChunkName, ChunkRef};
use stacksync_protocol::chunk_service::{BATCH_CHUNK_BYTES_MAX, PutTickets, Ticket};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// A chunk of a file that waits to be stored.
pub(super) struct Waiting {
    pub(super) chunk: ChunkRef,
    pub(super) plain: Headed,
    pub(super) stored: mpsc::UnboundedSender<Result<(), Failure>>,
    /// Its part of the room for chunk bytes.
    pub(super) room: OwnedSemaphorePermit,
}

/// A chunk and all who wait for it.
pub(super) struct Piece {
    pub(super) chunk: ChunkRef,
    pub(super) plain: Headed,
    /// Why it is not stored yet, if it was tried: its own reason, whatever became of those that travel with it.
    failed: Option<Failure>,
    waiting: Vec<(mpsc::UnboundedSender<Result<(), Failure>>, OwnedSemaphorePermit)>,
}

/// Chunks that are asked for together, each name once.
pub(super) struct Group {
    shared: Arc<Shared>,
    tickets: Arc<dyn Tickets>,
    pieces: Vec<Piece>,
    /// The service did not take a bundle: the chunks go alone.
    alone: bool,
}

impl Piece {
    fn is_small(&self) -> bool {
        self.plain.plain_len() <= BATCH_CHUNK_BYTES_MAX
    }

    /// Tells everybody, and gives the room back.
    pub(super) fn done(self, outcome: &Result<(), Failure>) {
        for (stored, room) in self.waiting {
            drop(room);
            // Whoever has gone away does not want to know.
            let _ = stored.send(outcome.clone());
        }
    }
}

impl Group {
    pub(super) fn new(shared: Arc<Shared>, tickets: Arc<dyn Tickets>, members: Vec<Waiting>) -> Self {
        let mut pieces: Vec<Piece> = Vec::with_capacity(members.len());
        let mut places = HashMap::new();
        for Waiting { chunk, plain, stored, room } in members {
            let place = *places.entry(chunk.name).or_insert(pieces.len());
            match pieces.get_mut(place) {
                Some(piece) => piece.waiting.push((stored, room)),
                None => pieces.push(Piece { chunk, plain, failed: None, waiting: vec![(stored, room)] }),
            }
        }
        Self { shared, tickets, pieces, alone: false }
    }

    /// Returns when everybody was told.
    pub(super) async fn put(mut self) {
        let mut tries = Tries::new(self.shared.limits.retry_delay);
        loop {
            if let Err(failure) = self.put_once().await {
                self.pieces.iter_mut().for_each(|piece| piece.failed = Some(failure.clone()));
            }
            let worth = |piece: &Piece| piece.failed.as_ref().is_none_or(Failure::is_worth_another_try);
            let (left, over): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pieces).into_iter().partition(worth);
            give_up(over);
            let Some(failure) = slowest(&left) else { return give_up(left) };
            if tries.failed(failure).await.is_err() {
                return give_up(left);
            }
            self.pieces = left;
        }
    }

    /// What is stored leaves the group; what is not has its reason.
    ///
    /// # Errors
    /// When nothing was tried.
    async fn put_once(&mut self) -> Result<(), Failure> {
        let answer = self.ask(!self.alone).await?;
        // A service that has no batches and yet gave no tickets for small ones.
        let answer = match answer.batch {
            None if !answer.bundles && answer.tickets.len() < answer.missing.len() => self.ask(false).await?,
            _ => answer,
        };
        self.keep_missing(&answer.missing);
        let singles = answer.tickets.iter().filter_map(|ticket| ticket.chunk.map(|index| (index, ticket)));
        let mut singles: HashMap<u32, &Ticket> = singles.collect();
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for (piece, asked_as) in self.pieces.drain(..).zip(&answer.missing) {
            match singles.remove(asked_as) {
                Some(ticket) => large.push((piece, ticket)),
                None => small.push(piece),
            }
        }
        let (bundled, small) = if answer.bundles { (small, Vec::new()) } else { (Vec::new(), small) };
        let bundles = put_bundles(&self.shared, &self.tickets, bundled);
        let batch = put_batch(&self.shared, answer.batch.as_ref(), small);
        let singles = join_all(large.into_iter().map(|(piece, ticket)| put_single(&self.shared, ticket, piece)));
        let (batch, bundles, singles) = tokio::join!(batch, bundles, singles);
        for (left, why) in bundles {
            let failure = match why {
                NotBundled::Failed(failure) => failure,
                NotBundled::NotTaken => {
                    self.alone = true;
                    Failure::NotNow("the service did not take a bundle".to_owned())
                }
            };
            self.pieces.extend(left.into_iter().map(|piece| Piece { failed: Some(failure.clone()), ..piece }));
        }
        for (left, failure) in singles.into_iter().chain([batch]).filter_map(Result::err) {
            self.pieces.extend(left.into_iter().map(|piece| Piece { failed: Some(failure.clone()), ..piece }));
        }
        Ok(())
    }

    /// Which are missing; indices are checked. With batches small pieces get no tickets of their own.
    async fn ask(&self, batches: bool) -> Result<PutTickets, Failure> {
        let names: Vec<ChunkName> = self.pieces.iter().map(|piece| piece.chunk.name).collect();
        let count = names.len() as u32;
        let is_batched = |index: &u32| batches && self.pieces[*index as usize].is_small();
        let mut answer = self.tickets.put(names, (0..count).filter(is_batched).collect(), self.shared.http.via()).await?;
        answer.missing.sort_unstable();
        answer.missing.dedup();
        if answer.missing.last().is_some_and(|&last| last >= count) {
            return Err(Failure::NotNow("the service speaks of chunks that nobody asked for".to_owned()));
        }
        Ok(answer)
    }

    /// The storage has the others. `missing` is sorted.
    fn keep_missing(&mut self, missing: &[u32]) {
        let mut missing = missing.iter().peekable();
        for (index, piece) in std::mem::take(&mut self.pieces).into_iter().enumerate() {
            if missing.next_if(|&&missing| missing as usize == index).is_some() {
                self.pieces.push(piece);
            } else {
                piece.done(&Ok(()));
            }
        }
    }
}

/// Tells everybody why not.
fn give_up(pieces: Vec<Piece>) {
    for mut piece in pieces {
        let failure = piece.failed.take().unwrap_or_else(|| Failure::NotNow("it was not tried".to_owned()));
        piece.done(&Err(failure));
    }
}

/// Of what these wait for, that which takes longest; `None` if nothing is left.
fn slowest(pieces: &[Piece]) -> Option<Failure> {
    let failures = || pieces.iter().filter_map(|piece| piece.failed.as_ref());
    failures().find(|failure| matches!(failure, Failure::NotNow(_))).or_else(|| failures().next()).cloned()
}

type Left = (Vec<Piece>, Failure);

async fn put_single(shared: &Shared, ticket: &Ticket, piece: Piece) -> Result<(), Left> {
    let plain = piece.plain.clone();
    let ticket = ticket.clone();
    let pack = move || {
        let packed = plain.pack();
        with_checksum(ticket, &packed).map(|ticket| (packed, ticket))
    };
    let sent = match work(&shared.packers, pack).await.flatten() {
        Ok((packed, ticket)) => send(&shared.http, &ticket, packed).await,
        Err(failure) => Err(failure),
    };
    match sent {
        Ok(()) => {
            piece.done(&Ok(()));
            Ok(())
        }
        Err(failure) => Err((vec![piece], failure)),
    }
}

async fn put_bundles(shared: &Shared, tickets: &Arc<dyn Tickets>, pieces: Vec<Piece>) -> Vec<(Vec<Piece>, NotBundled)> {
    if pieces.is_empty() { Vec::new() } else { bundle::put(shared, tickets, pieces).await }
}

async fn put_batch(shared: &Shared, ticket: Option<&Ticket>, pieces: Vec<Piece>) -> Result<(), Left> {
    if pieces.is_empty() {
        return Ok(());
    }
    let Some(ticket) = ticket else {
        return Err((pieces, Failure::NotNow("the service gave no address for chunks that it lacks".to_owned())));
    };
    let plains = pieces.iter().map(|piece| (piece.chunk.name, piece.plain.clone())).collect();
    let sent = match work(&shared.packers, move || pack_all(plains)).await {
        Ok(body) => send(&shared.http, ticket, body).await,
        Err(failure) => Err(failure),
    };
    match sent {
        Ok(()) => {
            pieces.into_iter().for_each(|piece| piece.done(&Ok(())));
            Ok(())
        }
        Err(failure) => Err((pieces, failure)),
    }
}

fn pack_all(plains: Vec<(ChunkName, Headed)>) -> Bytes {
    let mut body = Vec::with_capacity(
        plains.iter().map(|(_, plain)| batch::RECORD_HEADER_BYTES + pack::HEADER_BYTES + plain.plain_len()).sum(),
    );
    for (name, plain) in plains {
        batch::append(&mut body, &name, &plain.pack());
    }
    body.into()
}

pub(super) async fn send(http: &Http, ticket: &Ticket, body: Bytes) -> Result<(), Failure> {
    // Read to its end, however short, so that the connection can be used again.
    crash_point!("upload.before-send");
    http.send(ticket, body, Way::Up, Care::Usual).await?.whole(ANSWER_BYTES_MAX).await.map(drop)?;
    crash_point!("upload.after-answer");
    Ok(())
}

/// Success says nothing; a storage that sends a few words anyway is tolerated.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
