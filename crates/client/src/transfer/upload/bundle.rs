//! Small chunks of a group in bundles: made, put at the storage, and told to the service, in as many requests as there are bundles.

use super::super::Tickets;
use super::super::http::with_checksum;
use super::super::retry::Failure;
use super::super::shared::{Shared, work};
use super::put::{Piece, send};
use bytes::Bytes;
use futures_util::future::join_all;
use stacksync_chunks::bundle::{self, BUNDLE_BYTES_FULL, BUNDLE_CHUNKS_MAX};
use stacksync_chunks::pack::Headed;
use stacksync_core::values::ChunkName;
use stacksync_protocol::chunk_service::{BUNDLES_MAX, Ticket};
use std::sync::Arc;

/// A group never makes more.
const _: () = assert!(BUNDLES_MAX > 8);

/// Why pieces were not stored.
pub(super) enum NotBundled {
    /// Try again.
    Failed(Failure),
    /// The service does not rely on this bundle: they are to be put alone.
    NotTaken,
}

/// Some pieces, and the bundle that they are in.
struct Bundled {
    pieces: Vec<Piece>,
    name: ChunkName,
    bytes: Bytes,
}

/// Tells everybody whose piece is stored; answers the others, with the reason.
pub(super) async fn put(shared: &Shared, tickets: &Arc<dyn Tickets>, pieces: Vec<Piece>) -> Vec<(Vec<Piece>, NotBundled)> {
    let mut left = Vec::new();
    let mut bundles = Vec::new();
    for group in groups(pieces) {
        let plains: Vec<(ChunkName, Headed)> = group.iter().map(|piece| (piece.chunk.name, piece.plain.clone())).collect();
        match work(&shared.packers, move || pack(plains)).await {
            Ok((name, bytes)) => bundles.push(Bundled { pieces: group, name, bytes }),
            Err(failure) => left.push((group, NotBundled::Failed(failure))),
        }
    }
    let names = bundles.iter().map(|bundle| bundle.name).collect::<Vec<_>>();
    let given = match tickets.put_bundles(names).await {
        Ok(given) => given.tickets,
        Err(error) => {
            let failure = Failure::from(error);
            left.extend(bundles.into_iter().map(|bundle| (bundle.pieces, NotBundled::Failed(failure.clone()))));
            return left;
        }
    };
    let mut tickets_of: Vec<Option<Ticket>> = vec![None; bundles.len()];
    for ticket in given {
        if let Some(place) = ticket.chunk.and_then(|index| tickets_of.get_mut(index as usize)) {
            *place = Some(ticket);
        }
    }
    let puts = bundles.into_iter().zip(tickets_of).map(|(bundle, ticket)| put_one(shared, ticket, bundle));
    let mut put = Vec::new();
    for outcome in join_all(puts).await {
        match outcome {
            Ok(bundle) => put.push(bundle),
            Err(failed) => left.push(failed),
        }
    }
    left.extend(tell(tickets, put).await);
    left
}

async fn put_one(shared: &Shared, ticket: Option<Ticket>, bundle: Bundled) -> Result<Bundled, (Vec<Piece>, NotBundled)> {
    let Some(ticket) = ticket else { return Err((bundle.pieces, NotBundled::NotTaken)) };
    let bytes = bundle.bytes.clone();
    let sent = match work(&shared.packers, move || with_checksum(ticket, &bytes)).await.flatten() {
        Ok(ticket) => send(&shared.http, &ticket, bundle.bytes.clone()).await,
        Err(failure) => Err(failure),
    };
    match sent {
        Ok(()) => Ok(bundle),
        Err(failure) => Err((bundle.pieces, NotBundled::Failed(failure))),
    }
}

/// Tells the service of what was put; from then on it counts.
async fn tell(tickets: &Arc<dyn Tickets>, put: Vec<Bundled>) -> Vec<(Vec<Piece>, NotBundled)> {
    if put.is_empty() {
        return Vec::new();
    }
    let answer = tickets.add_bundles(put.iter().map(|bundle| bundle.name).collect()).await;
    let added = match answer {
        Ok(answer) => answer.added,
        Err(error) => {
            let failure = Failure::from(error);
            return put.into_iter().map(|bundle| (bundle.pieces, NotBundled::Failed(failure.clone()))).collect();
        }
    };
    let mut left = Vec::new();
    for (at, bundle) in put.into_iter().enumerate() {
        match added.get(at) {
            Some(true) => bundle.pieces.into_iter().for_each(|piece| piece.done(&Ok(()))),
            _ => left.push((bundle.pieces, NotBundled::NotTaken)),
        }
    }
    left
}

/// As many as a bundle takes, in order.
fn groups(pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
    let mut groups: Vec<Vec<Piece>> = Vec::new();
    let mut bytes = 0;
    for piece in pieces {
        let more = piece.plain.plain_len();
        match groups.last_mut() {
            Some(group) if bytes + more <= BUNDLE_BYTES_FULL && group.len() < BUNDLE_CHUNKS_MAX => group.push(piece),
            _ => {
                bytes = 0;
                groups.push(vec![piece]);
            }
        }
        bytes += more;
    }
    groups
}

fn pack(plains: Vec<(ChunkName, Headed)>) -> (ChunkName, Bytes) {
    let packed: Vec<(ChunkName, Bytes)> = plains.into_iter().map(|(name, plain)| (name, plain.pack())).collect();
    let (table, bytes) = bundle::encode(&packed);
    (table.name, bytes)
}
