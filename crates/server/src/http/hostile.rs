//! What must hold of uploaded batches whatever their bodies are.

use super::batch::next_record;
use super::upload::Uploads;
use crate::config::HttpLimits;
use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use futures_util::stream;
use stacksync_chunks::batch::{Decoder, RECORD_HEADER_BYTES};
use stacksync_chunks::pack::PACKED_BYTES_MAX;
use stacksync_core::values::ChunkName;
use std::convert::Infallible;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

const LIMITS: HttpLimits = HttpLimits {
    connections_max: 1,
    header_timeout: Duration::from_secs(30),
    body_timeout: Duration::from_secs(30),
    upload_memory: 1 << 30,
};

thread_local! {
    static RUNTIME: Option<Runtime> = Builder::new_current_thread().enable_time().build().ok();
}

/// The body of a batch upload, whose first byte says in what pieces it arrives. The service reads the same records as the client's decoder
/// does, up to the first one that is empty: nobody puts a chunk that is missing.
///
/// # Panics
/// When that does not hold.
pub fn batch(bytes: &[u8]) {
    let Some((&piece, body)) = bytes.split_first() else { return };
    let uploaded = RUNTIME.with(|runtime| runtime.as_ref().map(|runtime| runtime.block_on(upload(body, usize::from(piece) + 1))));
    let Some((records, complete)) = uploaded else { return };
    let mut decoder = Decoder::new();
    decoder.push(body);
    let mut same = Vec::new();
    while let Ok(Some((name, packed))) = decoder.next_record() {
        if packed.is_empty() {
            break;
        }
        same.push((name, packed));
    }
    assert_eq!(records, same);
    let read: usize = records.iter().map(|(_, packed)| RECORD_HEADER_BYTES + packed.len()).sum();
    assert_eq!(complete, read == body.len());
}

async fn upload(body: &[u8], piece: usize) -> (Vec<(ChunkName, Bytes)>, bool) {
    let pieces: Vec<Result<Bytes, Infallible>> = body.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let pieces = Body::from_stream(stream::iter(pieces));
    let mut records = Vec::new();
    let Ok(mut upload) = Uploads::new(&LIMITS).receive(&HeaderMap::new(), pieces, body.len(), PACKED_BYTES_MAX).await else {
        return (records, false);
    };
    loop {
        match next_record(&mut upload).await {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return (records, true),
            Err(_) => return (records, false),
        }
    }
}
