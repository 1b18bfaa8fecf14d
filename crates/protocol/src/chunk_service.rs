//! The remote object `IChunkService`: which chunks are missing, and signed, expiring addresses to put and get them.
//!
//! `putTickets([PutTicketsRequest]) -> PutTickets`, `getTickets([GetTicketsRequest]) -> GetTickets`. Chunks live in the container of a
//! workspace; a ticket is for one workspace, one direction and a limited time.
//!
//! Many small chunks travel in one HTTP request where the storage is the service itself: `POST` to a batch address. A batch body, both
//! ways, is a sequence of records: name (32 bytes), stored length (u32, big endian), stored bytes (a chunk with its header, as
//! `stacksync-chunks` packs it). A put batch is answered with 204 when every record is durable. A get batch is asked with a body of
//! names (32 bytes each) and answered with a record for each, in the same order; a length of 0 says that the storage lacks this chunk.
//!
//! At a storage that devices reach themselves, many small chunks lie in one object instead, a bundle (its form is that of
//! `stacksync-chunks`): `bundleTickets([BundleTicketsRequest]) -> BundleTickets` gives addresses to put bundles, and
//! `addBundles([AddBundlesRequest]) -> AddedBundles` tells the service of those that were put; only then their chunks count as stored.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Chunks that one call may name.
pub const TICKET_CHUNKS_MAX: usize = 4_096;
/// Bytes of one batch body.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Chunks larger than this travel alone.
pub const BATCH_CHUNK_BYTES_MAX: usize = 128 * 1024;

/// Bundles that one call may name.
pub const BUNDLES_MAX: usize = 64;
/// With fewer small chunks at once each travels alone.
pub const BUNDLE_CHUNKS_MIN: usize = 2;

/// A device sends this header (with any value) with a `GET` for a single chunk that came damaged before. The service then verifies the
/// chunk first, and if it is damaged sets it aside and answers that it is missing, so that the next put brings it back.
pub const CHECK_HEADER: &str = "stacksync-check";

/// [`Ticket::checksum`]: MD5 of the body in base64, as header `Content-MD5`.
pub const CONTENT_MD5: &str = "content-md5";
/// [`Ticket::checksum`]: MD5 of the body in hexadecimal, as header `ETag`.
pub const ETAG_MD5: &str = "etag-md5";

/// Which of these chunks does the storage lack, and where do they go?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutTicketsRequest {
    /// The workspace.
    pub workspace_id: Uuid,
    /// At most [`TICKET_CHUNKS_MAX`] names.
    pub chunks: Vec<String>,
    /// Leave the single tickets out for these (by index in `chunks`): the caller will use the batch address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batched: Vec<u32>,
    /// The caller cannot reach the storage: addresses of the service itself, where it relays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relay: bool,
    /// The caller can put those of `batched` into bundles.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bundles: bool,
}

/// Where to get these chunks?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetTicketsRequest {
    /// The workspace.
    pub workspace_id: Uuid,
    /// At most [`TICKET_CHUNKS_MAX`] names.
    pub chunks: Vec<String>,
    /// As in [`PutTicketsRequest::batched`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batched: Vec<u32>,
    /// As in [`PutTicketsRequest::relay`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relay: bool,
    /// The caller can read parts of bundles.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bundles: bool,
}

/// Result of `putTickets`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutTickets {
    /// Indices (in the request) of the chunks that the storage lacks.
    pub missing: Vec<u32>,
    /// A ticket for each missing chunk that was not asked for as batched; without a batch address for those, too.
    pub tickets: Vec<Ticket>,
    /// The batch address, where the storage takes batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Ticket>,
    /// Missing chunks that were asked for as batched have no tickets: they go into bundles.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bundles: bool,
}

/// Result of `getTickets`. Does not say whether the storage holds the chunks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetTickets {
    /// A ticket for each chunk that was not asked for as batched; without a batch address for those, too.
    pub tickets: Vec<Ticket>,
    /// The batch address, where the storage gives batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Ticket>,
    /// Where those are that lie in bundles; they have no tickets of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bundles: Vec<BundlePlace>,
}

/// A bundle with chunks that were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundlePlace {
    /// Gets the whole bundle; with a header `Range`, which is not part of what is signed, a part of it.
    pub ticket: Ticket,
    /// What lies where in it.
    pub parts: Vec<BundlePart>,
}

/// A chunk in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundlePart {
    /// Index of the chunk in the request.
    pub chunk: u32,
    /// Where it begins, in bytes from the beginning of the bundle.
    pub start: u32,
    /// Its packed length.
    pub length: u32,
}

/// Where do these bundles go?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleTicketsRequest {
    /// The workspace.
    pub workspace_id: Uuid,
    /// At most [`BUNDLES_MAX`] names.
    pub bundles: Vec<String>,
}

/// Result of `bundleTickets`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleTickets {
    /// A ticket for each bundle, by its index in the request. None, if no bundles are taken (any more).
    pub tickets: Vec<Ticket>,
}

/// These bundles are at the storage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddBundlesRequest {
    /// The workspace.
    pub workspace_id: Uuid,
    /// At most [`BUNDLES_MAX`] names.
    pub bundles: Vec<String>,
}

/// Result of `addBundles`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddedBundles {
    /// Of each bundle, in order, whether its chunks count as stored now. If not they have to be put in another way.
    pub added: Vec<bool>,
}

/// A signed request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Index of the chunk (or the bundle) in the request; absent for a batch address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<u32>,
    /// HTTP method.
    pub method: String,
    /// Address; relative to the service's own when it starts with `/`, else whole, at the storage. Nothing of what the device knows of
    /// the service is sent there.
    pub url: String,
    /// Headers that must be sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// A hash of the body to send as well, so that the storage finds damage on the way: [`CONTENT_MD5`] or [`ETAG_MD5`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Valid until, in seconds since 1970 by the service's clock.
    pub expires: u64,
}
