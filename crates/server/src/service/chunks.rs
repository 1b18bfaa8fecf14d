//! `IChunkService`: which chunks the storage lacks, and tickets to put and get chunks. Moves no chunk itself.

use super::{Answer, Authorized, ByteWay, ChunkMethod, Context, Fault, encoded, finished, principal};
use objectmq::{BoxFuture, Incoming, RawValue, RemoteError, RemoteObject};
use stacksync_chunks::store::{BodyChecksum, Direct, DirectOp};
use stacksync_chunks::ticket::{Grant, Op, Subject};
use stacksync_core::values::{ChunkName, WorkspaceId};
use stacksync_protocol::chunk_service::{
    CONTENT_MD5, ETAG_MD5, GetTickets, GetTicketsRequest, PutTickets, PutTicketsRequest, TICKET_CHUNKS_MAX, Ticket,
};
use std::collections::HashSet;
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
        }
    }

    async fn put_tickets(&self, place: &Authorized<'_>, request: &PutTicketsRequest) -> Result<PutTickets, Fault> {
        let (names, batched) = wanted(&request.chunks, &request.batched)?;
        let there = self.0.store.present(place.workspace(), names.clone()).await?;
        let missing: Vec<u32> = (0_u32..).zip(there).filter_map(|(index, there)| (!there).then_some(index)).collect();
        let signer = Signer::new(&self.0, place);
        let lacked: Vec<_> = missing.iter().filter_map(|&index| Some((index, *names.get(index as usize)?))).collect();
        if let Some(tickets) = signer.direct(DirectOp::Put, &lacked, request.relay).await? {
            return Ok(PutTickets { missing, tickets, batch: None });
        }
        let single = lacked.into_iter().filter(|(index, _)| !batched.contains(index));
        let tickets = single.map(|(index, name)| signer.single(Op::Put, index, name)).collect();
        Ok(PutTickets { missing, tickets, batch: Some(signer.batch(Op::PutBatch)) })
    }

    async fn get_tickets(&self, place: &Authorized<'_>, request: &GetTicketsRequest) -> Result<GetTickets, Fault> {
        let (names, batched) = wanted(&request.chunks, &request.batched)?;
        let signer = Signer::new(&self.0, place);
        let all: Vec<_> = (0_u32..).zip(names).collect();
        if let Some(tickets) = signer.direct(DirectOp::Get, &all, request.relay).await? {
            return Ok(GetTickets { tickets, batch: None });
        }
        let single = all.into_iter().filter(|(index, _)| !batched.contains(index));
        let tickets = single.map(|(index, name)| signer.single(Op::Get, index, name)).collect();
        Ok(GetTickets { tickets, batch: Some(signer.batch(Op::GetBatch)) })
    }
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
struct Signer<'a> {
    context: &'a Context,
    container: WorkspaceId,
    grant: Grant,
}

impl<'a> Signer<'a> {
    fn new(context: &'a Context, place: &Authorized<'_>) -> Self {
        let expires = context.now_s() + context.ticket_lifetime.as_secs();
        Self { context, container: place.workspace(), grant: Grant { device: place.caller().device, expires } }
    }

    /// Requests to the storage itself, if devices can and shall go there.
    async fn direct(&self, op: DirectOp, chunks: &[(u32, ChunkName)], asked_for_relay: bool) -> Result<Option<Vec<Ticket>>, Fault> {
        match self.context.way {
            ByteWay::Relay => return Ok(None),
            ByteWay::DirectOrRelay if asked_for_relay => return Ok(None),
            ByteWay::DirectOrRelay | ByteWay::Direct => {}
        }
        let names = chunks.iter().map(|(_, name)| *name).collect();
        let requests = self.context.store.direct(self.container, op, names, self.context.ticket_lifetime).await?;
        let ticket = |(&(index, _), direct): (&(u32, ChunkName), Direct)| Ticket {
            chunk: Some(index),
            method: direct.method.to_owned(),
            url: direct.url,
            headers: direct.headers,
            checksum: direct.checksum.map(|checksum| checksum_word(checksum).to_owned()),
            expires: self.grant.expires,
        };
        Ok(requests.map(|requests| chunks.iter().zip(requests).map(ticket).collect()))
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
