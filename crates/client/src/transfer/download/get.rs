//! Gets packed chunks: small ones of many files in one request, others one by one. Says nothing about whether they are good.

use super::super::gather::{Arrival, Arrivals, Gatherer};
use super::super::http::{Care, Way};
use super::super::retry::{Failure, Tries};
use super::super::shared::Shared;
use super::super::{Tickets, Via};
use super::bundle::{self, Read};
use super::shelf::Shelf;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use stacksync_chunks::batch::{BatchError, Decoder};
use stacksync_chunks::pack::PACKED_BYTES_MAX;
use stacksync_core::values::{ChunkName, ChunkRef};
use stacksync_protocol::chunk_service::{BundlePlace, Ticket};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// What came.
#[derive(Debug)]
pub(super) enum Got {
    /// A packed chunk, and its part of the room for chunk bytes if it has one.
    Packed(Bytes, Option<Arc<OwnedSemaphorePermit>>),
    /// The storage does not have it.
    Missing,
}

/// Gets chunks of one workspace. Cheap to clone.
#[derive(Clone)]
pub(super) struct Getter {
    asker: Arc<Asker>,
    queue: mpsc::Sender<Waiting>,
    arrivals: Arrivals,
}

struct Asker {
    shared: Arc<Shared>,
    tickets: Arc<dyn Tickets>,
    /// The last batch address: good for many requests, until the storage does not accept it any more.
    batch: Mutex<Option<Ticket>>,
    /// Bundles that were read whole just now.
    shelf: Arc<Shelf>,
}

/// Somebody who waits for a small chunk.
struct Waiting {
    chunk: ChunkRef,
    got: oneshot::Sender<Result<Got, Failure>>,
    room: OwnedSemaphorePermit,
}

impl Getter {
    pub(super) fn new(shared: Arc<Shared>, tickets: Arc<dyn Tickets>) -> Self {
        let arrivals = Arrivals::default();
        let asker = Arc::new(Asker { shared, tickets, batch: Mutex::default(), shelf: Arc::default() });
        let (queue, gatherer) = Gatherer::new(arrivals.clone(), |waiting: &Waiting| waiting.chunk.len as usize);
        tokio::spawn(get_groups(asker.clone(), gatherer));
        Self { asker, queue, arrivals }
    }

    /// Announces that a small chunk may be asked for.
    pub(super) fn announce(&self) -> Arrival {
        self.arrivals.announce()
    }

    /// A small chunk, together with others that are asked for at the time.
    pub(super) async fn get_small(&self, chunk: ChunkRef) -> Result<Got, Failure> {
        let over = || Failure::NotNow("downloads are over".to_owned());
        let room = self.asker.shared.room(chunk.len as usize).await?;
        let (got, answer) = oneshot::channel();
        self.queue.send(Waiting { chunk, got, room }).await.map_err(|_| over())?;
        answer.await.map_err(|_| over())?
    }

    /// Tickets for these chunks alone, in order; `None` where the service gave none.
    pub(super) async fn tickets(&self, names: Vec<ChunkName>) -> Result<Vec<Option<Ticket>>, Failure> {
        self.asker.single_tickets(names, Care::Usual).await
    }

    /// A chunk by itself, with this ticket if it is accepted.
    pub(super) async fn get_one(&self, chunk: ChunkRef, ticket: Option<Ticket>) -> Result<Got, Failure> {
        self.asker.get_one(chunk, ticket, Care::Usual).await
    }

    /// A chunk that came damaged before: the storage shall look at it itself.
    pub(super) async fn get_checked(&self, chunk: ChunkRef) -> Result<Got, Failure> {
        self.asker.get_one(chunk, None, Care::Check).await
    }
}

/// Gets group after group, a few at once, until all who could ask are gone.
async fn get_groups(asker: Arc<Asker>, mut gatherer: Gatherer<Waiting>) {
    while let Some((members, place)) = gatherer.gather().await {
        let asker = asker.clone();
        tokio::spawn(async move {
            asker.get_group(members).await;
            drop(place);
        });
    }
}

impl Asker {
    async fn single_tickets(&self, names: Vec<ChunkName>, care: Care) -> Result<Vec<Option<Ticket>>, Failure> {
        // Only the service looks for damage.
        let via = if care == Care::Check { Via::Service } else { self.shared.http.via() };
        let count = names.len();
        let tickets = self.tickets.get(names, Vec::new(), via).await?.tickets;
        Ok(in_order(tickets, count))
    }

    async fn get_one(&self, chunk: ChunkRef, mut ticket: Option<Ticket>, care: Care) -> Result<Got, Failure> {
        let mut tries = Tries::new(self.shared.limits.retry_delay);
        loop {
            let tried = match ticket.take() {
                Some(ticket) => self.get_with(&ticket, care).await,
                None => match self.single_tickets(vec![chunk.name], care).await?.pop().flatten() {
                    Some(ticket) => self.get_with(&ticket, care).await,
                    None => Err(Failure::NotNow("the service gave no ticket for a chunk".to_owned())),
                },
            };
            match tried {
                Ok(packed) => return Ok(Got::Packed(packed, None)),
                Err(Failure::Missing) => return Ok(Got::Missing),
                Err(failure) => tries.failed(failure).await?,
            }
        }
    }

    async fn get_with(&self, ticket: &Ticket, care: Care) -> Result<Bytes, Failure> {
        self.shared.http.send(ticket, Bytes::new(), Way::Down, care).await?.whole(PACKED_BYTES_MAX).await
    }

    /// Returns when everybody was told.
    async fn get_group(&self, members: Vec<Waiting>) {
        let mut group: HashMap<ChunkName, Vec<Waiting>> = HashMap::new();
        for member in members {
            group.entry(member.chunk.name).or_default().push(member);
        }
        let mut tries = Tries::new(self.shared.limits.retry_delay);
        loop {
            let failure = match self.get_batch(&mut group).await {
                Ok(()) if group.is_empty() => return,
                Ok(()) => Failure::NotNow("the storage left chunks out of its answer".to_owned()),
                Err(failure) => failure,
            };
            if let Err(failure) = tries.failed(failure).await {
                return refuse(group.into_values().flatten(), &failure);
            }
        }
    }

    /// Whoever is answered leaves the group.
    async fn get_batch(&self, group: &mut HashMap<ChunkName, Vec<Waiting>>) -> Result<(), Failure> {
        let names: Vec<ChunkName> = group.keys().copied().collect();
        let ticket = match self.addresses(&names).await? {
            Addresses::Batch(ticket) => ticket,
            Addresses::Each(tickets, places) => {
                let reads = bundle::reads(places, &names, &self.shelf);
                let bundled = self.get_bundled(group, reads).await;
                return self.get_each(group, names, tickets).await.and(bundled);
            }
        };
        let body: Vec<u8> = names.iter().flat_map(|name| *name.as_bytes()).collect();
        let mut answer = match self.shared.http.send(&ticket, body.into(), Way::Down, Care::Usual).await {
            Err(failure @ Failure::Ticket(_)) => {
                *self.batch.lock().unwrap_or_else(PoisonError::into_inner) = None;
                return Err(failure);
            }
            // Not even the address is there.
            Err(Failure::Missing) => return Err(Failure::Refused("the storage has no such container".to_owned())),
            answer => answer?,
        };
        let mut decoder = Decoder::new();
        while let Some(bytes) = answer.next().await? {
            decoder.push(&bytes);
            while let Some((name, packed)) = decoder.next_record().map_err(garbled)? {
                tell(group.remove(&name).unwrap_or_default(), packed);
            }
        }
        decoder.finish().map_err(garbled)
    }

    async fn addresses(&self, names: &[ChunkName]) -> Result<Addresses, Failure> {
        let known = self.batch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(Addresses::Batch(known));
        }
        let batched = (0..names.len() as u32).collect();
        let fresh = self.tickets.get(names.to_vec(), batched, self.shared.http.via()).await?;
        Ok(match fresh.batch {
            Some(batch) => {
                // While bytes make a detour, the storage itself is to be tried again later.
                if self.shared.http.via() == Via::Storage {
                    *self.batch.lock().unwrap_or_else(PoisonError::into_inner) = Some(batch.clone());
                }
                Addresses::Batch(batch)
            }
            None => Addresses::Each(in_order(fresh.tickets, names.len()), fresh.bundles),
        })
    }

    /// What lies in bundles. Answers one of the failures, if some of it is left.
    async fn get_bundled(&self, group: &mut HashMap<ChunkName, Vec<Waiting>>, reads: Vec<Read>) -> Result<(), Failure> {
        let gets: Vec<_> = reads.into_iter().map(|read| async move { (read.get(&self.shared, &self.shelf).await, read) }).collect();
        let mut gets = stream::iter(gets).buffer_unordered(self.shared.limits.connections);
        let mut failed = None;
        while let Some((got, read)) = gets.next().await {
            let found = match got {
                Ok(found) => found,
                Err(failure) => {
                    // Who is left asks again, and does not take another way until then.
                    tracing::debug!(chunks = read.names().count(), "a part of a bundle did not come");
                    failed = Some(failure);
                    continue;
                }
            };
            for (name, packed) in found {
                match (packed, group.get(&name).and_then(|members| members.first())) {
                    (Some(packed), _) => tell(group.remove(&name).unwrap_or_default(), packed),
                    (None, None) => {}
                    // It is not where it should be; the service may know it elsewhere.
                    (None, Some(member)) => match self.get_one(member.chunk, None, Care::Check).await {
                        Ok(Got::Packed(packed, _)) => tell(group.remove(&name).unwrap_or_default(), packed),
                        Ok(Got::Missing) => tell(group.remove(&name).unwrap_or_default(), Bytes::new()),
                        Err(failure) => refuse(group.remove(&name).unwrap_or_default(), &failure),
                    },
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// For a storage that gives no batches. Each has tries and a reason of its own, so nobody is left.
    async fn get_each(
        &self,
        group: &mut HashMap<ChunkName, Vec<Waiting>>,
        names: Vec<ChunkName>,
        tickets: Vec<Option<Ticket>>,
    ) -> Result<(), Failure> {
        // Collected, since a stream over borrowing closures could not be spawned.
        let gets: Vec<_> = (names.into_iter().zip(tickets))
            .filter_map(|(name, ticket)| Some((group.get(&name)?.first()?.chunk, ticket?)))
            .map(|(chunk, ticket)| async move { (chunk.name, self.get_one(chunk, Some(ticket), Care::Usual).await) })
            .collect();
        let mut gets = stream::iter(gets).buffer_unordered(self.shared.limits.connections);
        while let Some((name, got)) = gets.next().await {
            let members = group.remove(&name).unwrap_or_default();
            match got {
                Ok(Got::Packed(packed, _)) => tell(members, packed),
                Ok(Got::Missing) => tell(members, Bytes::new()),
                Err(failure) => refuse(members, &failure),
            }
        }
        Ok(())
    }
}

/// Where to get many small chunks.
enum Addresses {
    /// All of them there.
    Batch(Ticket),
    /// Each by its own, in the order of the names; those without lie in these bundles.
    Each(Vec<Option<Ticket>>, Vec<BundlePlace>),
}

/// `None` where the service gave no ticket.
fn in_order(tickets: Vec<Ticket>, count: usize) -> Vec<Option<Ticket>> {
    let mut ordered = vec![None; count];
    for ticket in tickets {
        if let Some(place) = ticket.chunk.and_then(|index| ordered.get_mut(index as usize)) {
            *place = Some(ticket);
        }
    }
    ordered
}

fn refuse(members: impl IntoIterator<Item = Waiting>, failure: &Failure) {
    for member in members {
        // Whoever has gone away does not want to know.
        let _ = member.got.send(Err(failure.clone()));
    }
}

/// Empty bytes: the storage does not have the chunk.
fn tell(members: Vec<Waiting>, packed: Bytes) {
    for Waiting { got, room, .. } in members {
        let answer = if packed.is_empty() { Got::Missing } else { Got::Packed(packed.clone(), Some(Arc::new(room))) };
        // Whoever has gone away does not want it.
        let _ = got.send(Ok(answer));
    }
}

fn garbled(error: BatchError) -> Failure {
    Failure::NotNow(format!("the storage's answer is garbled: {error}"))
}
