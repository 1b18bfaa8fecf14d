//! The client's data plane: files into chunks in the storage, and back (steps 5, 6, 14 and 15 of the path of a commit).
//!
//! It moves bytes and nothing else: it never looks for files, never names or renames one, and never decides what is moved. What it
//! reports as uploaded is durable in the storage; what it writes was verified against the chunk's name first.
//!
//! One [`Transfer`] per process holds what is limited for the whole process: chunk bytes in memory, connections, threads that read,
//! pack and write. [`Uploader`] and [`Downloader`] each serve one workspace; many calls of each run at once, and small files travel
//! together.

mod body;
mod download;
mod gather;
mod hosts;
mod http;
mod pace;
mod retry;
mod shared;
mod upload;

pub use download::{Downloader, Source};
pub use pace::{Rate, Rates};
pub use shared::{Meter, Transfer, TransferLimits};
pub use upload::Uploader;

use futures_util::future::BoxFuture;
use stacksync_core::engine::CallError;
use stacksync_core::values::ChunkName;
use stacksync_protocol::chunk_service::{AddedBundles, BundleTickets, GetTickets, PutTickets};

/// Which way bytes go, where the service knows two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// To the storage, if devices can go there.
    Storage,
    /// Through the service, if it relays.
    Service,
}

/// Asks the service for tickets to move chunks of one workspace. `batched` are indices in `chunks` that need no ticket of their
/// own: they may travel in batches, or in bundles.
///
/// At most [`stacksync_protocol::chunk_service::TICKET_CHUNKS_MAX`] chunks a call.
pub trait Tickets: Send + Sync {
    /// Which of these does the storage lack, and where do they go?
    fn put(&self, chunks: Vec<ChunkName>, batched: Vec<u32>, via: Via) -> BoxFuture<'_, Result<PutTickets, CallError>>;

    /// Where do these bundles go? By their index; nowhere, if none are taken.
    fn put_bundles(&self, bundles: Vec<ChunkName>) -> BoxFuture<'_, Result<BundleTickets, CallError>>;

    /// These bundles were put; of each, whether its chunks count as stored now.
    fn add_bundles(&self, bundles: Vec<ChunkName>) -> BoxFuture<'_, Result<AddedBundles, CallError>>;

    /// Where to get these?
    fn get(&self, chunks: Vec<ChunkName>, batched: Vec<u32>, via: Via) -> BoxFuture<'_, Result<GetTickets, CallError>>;
}

#[cfg(test)]
mod tests;
