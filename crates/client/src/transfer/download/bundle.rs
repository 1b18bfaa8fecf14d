//! Chunks out of bundles: neighbours in one request.

use super::super::http::{Care, Way};
use super::super::retry::{Failure, Tries};
use super::super::shared::Shared;
use super::shelf::Shelf;
use bytes::Bytes;
use stacksync_chunks::bundle::{self, BUNDLE_BYTES_MAX, Part, Span};
use stacksync_core::values::ChunkName;
use stacksync_protocol::chunk_service::{BundlePlace, Ticket};
use std::sync::Arc;

/// One request for some chunks of a bundle.
#[derive(Debug)]
pub(super) struct Read {
    ticket: Ticket,
    span: Span,
    /// The bundle's address without what is signed, if it is read whole and kept.
    whole: Option<String>,
}

/// The requests for what lies in bundles; `names` is what was asked for. What cannot be is left out.
pub(super) fn reads(places: Vec<BundlePlace>, names: &[ChunkName], shelf: &Shelf) -> Vec<Read> {
    let mut reads = Vec::new();
    for BundlePlace { ticket, parts } in places {
        let part = |start: u32, length: u32, name: ChunkName| {
            let end = u64::from(start) + u64::from(length);
            (length > 0 && end <= BUNDLE_BYTES_MAX as u64).then_some(Part { name, start, length })
        };
        let parts: Vec<Part> = parts.iter().filter_map(|it| part(it.start, it.length, *names.get(it.chunk as usize)?)).collect();
        let address = ticket.url.split('?').next().unwrap_or_default().to_owned();
        if !parts.is_empty() && shelf.wants(&address, parts.len()) {
            let span = Span { start: 0, length: BUNDLE_BYTES_MAX as u64, parts };
            reads.push(Read { ticket, span, whole: Some(address) });
            continue;
        }
        reads.extend(bundle::spans(parts).into_iter().map(|span| Read { ticket: ticket.clone(), span, whole: None }));
    }
    reads
}

impl Read {
    /// The chunks that it brings.
    pub(super) fn names(&self) -> impl Iterator<Item = ChunkName> + '_ {
        self.span.parts.iter().map(|part| part.name)
    }

    /// Makes the request, again if that may help. `None` in place of a chunk: it is not there, where it should be.
    pub(super) async fn get(&self, shared: &Shared, shelf: &Arc<Shelf>) -> Result<Vec<(ChunkName, Option<Bytes>)>, Failure> {
        let Some(address) = &self.whole else { return self.try_to_get(shared, shelf).await };
        let turn = shelf.turn(address).await;
        let found = match shelf.get(address) {
            Some(bytes) => self.parts_of(&bytes),
            None => self.try_to_get(shared, shelf).await?,
        };
        drop(turn);
        shelf.used(self.span.parts.iter().map(|part| u64::from(part.length)).sum());
        Ok(found)
    }

    fn parts_of(&self, read: &Bytes) -> Vec<(ChunkName, Option<Bytes>)> {
        self.span.parts.iter().map(|part| (part.name, self.span.part(part, read))).collect()
    }

    async fn try_to_get(&self, shared: &Shared, shelf: &Arc<Shelf>) -> Result<Vec<(ChunkName, Option<Bytes>)>, Failure> {
        let mut tries = Tries::new(shared.limits.retry_delay);
        loop {
            match self.get_once(shared, shelf).await {
                Ok(found) => return Ok(found),
                Err(Failure::Missing) => return Ok(self.names().map(|name| (name, None)).collect()),
                // A new ticket comes with the next question.
                Err(failure @ Failure::Ticket(_)) => return Err(failure),
                Err(failure) => tries.failed(failure).await?,
            }
        }
    }

    async fn get_once(&self, shared: &Shared, shelf: &Arc<Shelf>) -> Result<Vec<(ChunkName, Option<Bytes>)>, Failure> {
        let mut ticket = self.ticket.clone();
        let Span { start, length, .. } = &self.span;
        ticket.headers.push(("range".to_owned(), format!("bytes={start}-{}", start + length - 1)));
        let answer = shared.http.send(&ticket, Bytes::new(), Way::Down, Care::Usual).await?;
        let is_part = answer.is_part();
        let mut bytes = answer.whole(BUNDLE_BYTES_MAX).await?;
        if !is_part {
            // The storage knows no ranges, and sent all of it.
            let start = usize::try_from(*start).unwrap_or(usize::MAX).min(bytes.len());
            bytes = bytes.slice(start..);
        }
        if let Some(address) = &self.whole {
            shelf.put(address.clone(), bytes.clone());
        }
        Ok(self.parts_of(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stacksync_protocol::chunk_service::BundlePart;

    #[test]
    fn what_a_service_says_of_places_cannot_ask_for_too_much() {
        let ticket =
            Ticket { chunk: None, method: "GET".to_owned(), url: "/b".to_owned(), headers: Vec::new(), checksum: None, expires: 0 };
        let part = |chunk, start, length| BundlePart { chunk, start, length };
        let parts = vec![part(0, 12, 5), part(7, 12, 5), part(1, u32::MAX, u32::MAX), part(1, 3, 0), part(1, 0, 9 << 20)];
        let reads = reads(vec![BundlePlace { ticket, parts }], &[ChunkName::of(b"a"), ChunkName::of(b"b")], &Shelf::default());
        assert_eq!(reads.len(), 1);
        assert_eq!(reads[0].names().collect::<Vec<_>>(), [ChunkName::of(b"a")]);
    }
}
