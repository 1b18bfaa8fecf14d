//! `IChunkService`: which chunks the storage lacks, and tickets to put and get chunks. Moves no chunk itself.

use super::{Answer, Authorized, ChunkMethod, Context, Fault, bundles, encoded, finished, principal};
use objectmq::{BoxFuture, Incoming, RawValue, RemoteError, RemoteObject};
use stacksync_chunks::store::{BodyChecksum, Direct, DirectOp};
use stacksync_chunks::ticket::{Grant, Op, Subject};
use stacksync_core::values::{ChunkName, WorkspaceId};
use stacksync_protocol::chunk_service::{
    AddBundlesRequest, BundlePart, BundlePlace, BundleTicketsRequest, CONTENT_MD5, ETAG_MD5, GetTickets, GetTicketsRequest,
    PutTickets, PutTicketsRequest, TICKET_CHUNKS_MAX, Ticket,
};
use stacksync_storage::BundledStore;
use stacksync_storage::bundled::{Making, Place};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// `IChunkService`.
pub struct ChunkService(pub Arc<Context>);

impl RemoteObject for ChunkService {
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        Box::pin(async move {
            let started = Instant::now();
            let answer = self.answer(&incoming).await;
            finished(&self.0.metrics, &incoming, started, answer)
        })
    }
}

impl ChunkService {
    async fn answer(&self, incoming: &Incoming) -> Answer {
        let caller = principal(&incoming.caller)?;
        let method = ChunkMethod::named(&incoming.method).ok_or_else(|| RemoteError::unknown_method(&incoming.method))?;
        match method {
            ChunkMethod::PutTickets => {
                let request: PutTicketsRequest = incoming.param()?;
                let place = self.0.gate.workspace(caller, WorkspaceId(request.workspace_id)).await?;
                encoded(&self.put_tickets(&place, &request).await?)
            }
            ChunkMethod::GetTickets => {
                let request: GetTicketsRequest = incoming.param()?;
                let place = self.0.gate.workspace(caller, WorkspaceId(request.workspace_id)).await?;
                encoded(&self.get_tickets(&place, &request).await?)
            }
            ChunkMethod::BundleTickets => {
                let request: BundleTicketsRequest = incoming.param()?;
                let place = self.0.gate.workspace(caller, WorkspaceId(request.workspace_id)).await?;
                encoded(&bundles::tickets(&self.0, &place, &request).await?)
            }
            ChunkMethod::AddBundles => {
                let request: AddBundlesRequest = incoming.param()?;
                let place = self.0.gate.workspace(caller, WorkspaceId(request.workspace_id)).await?;
                encoded(&bundles::add(&self.0, &place, &request).await?)
            }
        }
    }

    async fn put_tickets(&self, place: &Authorized<'_>, request: &PutTicketsRequest) -> Result<PutTickets, Fault> {
        let (names, batched) = wanted(&request.chunks, &request.batched)?;
        let bundles = self
            .0
            .bundles
            .as_ref()
            .filter(|store| request.bundles && store.making() == Making::On && self.0.way.is_direct(request.relay));
        let missing = match bundles {
            Some(store) => lacking_of_bundles(&self.0, store, place.workspace(), &names, &batched).await?,
            None => lacking(self.0.store.present(place.workspace(), names.clone()).await?),
        };
        let signer = Signer::new(&self.0, place);
        let in_bundle = |index: &u32| bundles.is_some() && batched.contains(index);
        let alone = missing.iter().filter(|index| !in_bundle(index));
        let lacked: Vec<_> = alone.filter_map(|&index| Some((index, *names.get(index as usize)?))).collect();
        if let Some(tickets) = signer.direct(DirectOp::Put, &lacked, request.relay).await? {
            return Ok(PutTickets { missing, tickets, batch: None, bundles: bundles.is_some() });
        }
        let single = lacked.into_iter().filter(|(index, _)| !batched.contains(index));
        let tickets = single.map(|(index, name)| signer.single(Op::Put, index, name)).collect();
        Ok(PutTickets { missing, tickets, batch: Some(signer.batch(Op::PutBatch)), bundles: false })
    }

    async fn get_tickets(&self, place: &Authorized<'_>, request: &GetTicketsRequest) -> Result<GetTickets, Fault> {
        let (names, batched) = wanted(&request.chunks, &request.batched)?;
        let signer = Signer::new(&self.0, place);
        let mut all: Vec<_> = (0_u32..).zip(names).collect();
        let mut bundles = Vec::new();
        let mut through_us = Vec::new();
        if let Some(store) = self.0.bundles.as_ref().filter(|_| self.0.way.is_direct(request.relay)) {
            let places = self.places(&signer, store, &all).await?;
            let held: HashSet<u32> = places.iter().flat_map(|place| &place.parts).map(|part| part.chunk).collect();
            let (in_bundles, alone): (Vec<_>, Vec<_>) = all.into_iter().partition(|(index, _)| held.contains(index));
            all = alone;
            match request.bundles {
                true => bundles = places,
                // Whoever cannot read parts gets these from the service.
                false => through_us = in_bundles.into_iter().map(|(index, name)| signer.single(Op::Get, index, name)).collect(),
            }
        }
        if let Some(mut tickets) = signer.direct(DirectOp::Get, &all, request.relay).await? {
            tickets.extend(through_us);
            return Ok(GetTickets { tickets, batch: None, bundles });
        }
        let single = all.into_iter().filter(|(index, _)| !batched.contains(index));
        let tickets = single.map(|(index, name)| signer.single(Op::Get, index, name)).collect();
        Ok(GetTickets { tickets, batch: Some(signer.batch(Op::GetBatch)), bundles: Vec::new() })
    }

    /// Where those of the chunks are that lie in bundles.
    async fn places(&self, signer: &Signer<'_>, store: &BundledStore, all: &[(u32, ChunkName)]) -> Result<Vec<BundlePlace>, Fault> {
        let names: Vec<ChunkName> = all.iter().map(|(_, name)| *name).collect();
        let places = store.places(signer.container, &names, self.0.ticket_lifetime).await?;
        let mut indices: HashMap<ChunkName, Vec<u32>> = HashMap::new();
        for (index, name) in all {
            indices.entry(*name).or_default().push(*index);
        }
        let place = |place: Place| {
            let parts = place.parts.iter().flat_map(|part| {
                let indices = indices.get(&part.name).into_iter().flatten();
                indices.map(|&chunk| BundlePart { chunk, start: part.start, length: part.length })
            });
            BundlePlace { parts: parts.collect(), ticket: signer.ticket_of(None, place.direct) }
        };
        Ok(places.unwrap_or_default().into_iter().map(place).collect())
    }
}

fn lacking(there: Vec<bool>) -> Vec<u32> {
    (0_u32..).zip(there).filter_map(|(index, there)| (!there).then_some(index)).collect()
}

/// Of chunks that go into bundles only those in bundles are looked for: to send a small one that lies alone once more costs less than a
/// request for each that is new.
async fn lacking_of_bundles(
    context: &Context,
    store: &BundledStore,
    workspace: WorkspaceId,
    names: &[ChunkName],
    batched: &HashSet<u32>,
) -> Result<Vec<u32>, Fault> {
    let (small, large): (Vec<_>, Vec<_>) = (0_u32..).zip(names.iter().copied()).partition(|(index, _)| batched.contains(index));
    let name = |chunk: &(u32, ChunkName)| chunk.1;
    let in_bundles = store.in_bundles(workspace, &small.iter().map(name).collect::<Vec<_>>()).await?;
    let there = context.store.present(workspace, large.iter().map(name).collect()).await?;
    let small = small.iter().zip(in_bundles).filter(|(_, there)| !there).map(|((index, _), _)| *index);
    let large = large.iter().zip(there).filter(|(_, there)| !there).map(|((index, _), _)| *index);
    let mut missing: Vec<u32> = small.chain(large).collect();
    missing.sort_unstable();
    Ok(missing)
}

/// The chunks that a request is about, and which of them travel in batches.
fn wanted(chunks: &[String], batched: &[u32]) -> Result<(Vec<ChunkName>, HashSet<u32>), Fault> {
    if chunks.len() > TICKET_CHUNKS_MAX || batched.len() > TICKET_CHUNKS_MAX {
        return Err(Fault::Invalid(format!("A request names at most {TICKET_CHUNKS_MAX} chunks.")));
    }
    let names = chunks.iter().map(|name| name.parse()).collect::<Result<_, _>>();
    let names = names.map_err(|error| Fault::Invalid(format!("chunks: {error}.")))?;
    Ok((names, batched.iter().copied().collect()))
}

/// Signs tickets for one caller and one workspace.
pub(super) struct Signer<'a> {
    context: &'a Context,
    container: WorkspaceId,
    grant: Grant,
}

impl<'a> Signer<'a> {
    pub(super) fn new(context: &'a Context, place: &Authorized<'_>) -> Self {
        let expires = context.now_s() + context.ticket_lifetime.as_secs();
        Self { context, container: place.workspace(), grant: Grant { device: place.caller().device, expires } }
    }

    /// Requests to the storage itself, if devices can and shall go there.
    async fn direct(&self, op: DirectOp, chunks: &[(u32, ChunkName)], asked_for_relay: bool) -> Result<Option<Vec<Ticket>>, Fault> {
        if !self.context.way.is_direct(asked_for_relay) {
            return Ok(None);
        }
        let names = chunks.iter().map(|(_, name)| *name).collect();
        let requests = self.context.store.direct(self.container, op, names, self.context.ticket_lifetime).await?;
        let ticket = |(&(index, _), direct): (&(u32, ChunkName), Direct)| self.ticket_of(Some(index), direct);
        Ok(requests.map(|requests| chunks.iter().zip(requests).map(ticket).collect()))
    }

    /// A request to the storage itself.
    pub(super) fn ticket_of(&self, index: Option<u32>, direct: Direct) -> Ticket {
        Ticket {
            chunk: index,
            method: direct.method.to_owned(),
            url: direct.url,
            headers: direct.headers,
            checksum: direct.checksum.map(|checksum| checksum_word(checksum).to_owned()),
            expires: self.grant.expires,
        }
    }

    fn single(&self, op: Op, index: u32, name: ChunkName) -> Ticket {
        let method = if op == Op::Put { "PUT" } else { "GET" };
        self.ticket(op, Some(name), Some(index), method, &name.to_string())
    }

    fn batch(&self, op: Op) -> Ticket {
        self.ticket(op, None, None, "POST", if op == Op::PutBatch { "put" } else { "get" })
    }

    fn ticket(&self, op: Op, chunk: Option<ChunkName>, index: Option<u32>, method: &str, last: &str) -> Ticket {
        let signed = self.context.tickets.sign(&Subject { op, container: self.container, chunk }, &self.grant);
        Ticket {
            chunk: index,
            method: method.to_owned(),
            url: format!("/v1/chunks/{}/{last}?ticket={signed}", self.container),
            headers: Vec::new(),
            checksum: None,
            expires: self.grant.expires,
        }
    }
}

const fn checksum_word(checksum: BodyChecksum) -> &'static str {
    match checksum {
        BodyChecksum::ContentMd5 => CONTENT_MD5,
        BodyChecksum::EtagMd5 => ETAG_MD5,
    }
}
