//! Tickets for one workspace's chunks, asked of the service.

use crate::session::Service;
use crate::transfer::{Tickets, Via};
use futures_util::future::BoxFuture;
use stacksync_core::engine::CallError;
use stacksync_core::values::{ChunkName, WorkspaceId};
use stacksync_protocol::chunk_service::{
    AddBundlesRequest, AddedBundles, BUNDLE_CHUNKS_MIN, BundleTickets, BundleTicketsRequest, GetTickets, GetTicketsRequest,
    PutTickets, PutTicketsRequest,
};

/// See the module.
pub struct WorkspaceTickets {
    service: Service,
    id: WorkspaceId,
}

impl WorkspaceTickets {
    /// Tickets for chunks of this workspace.
    pub const fn new(service: Service, id: WorkspaceId) -> Self {
        Self { service, id }
    }
}

fn texts(chunks: &[ChunkName]) -> Vec<String> {
    chunks.iter().map(ToString::to_string).collect()
}

impl Tickets for WorkspaceTickets {
    fn put(&self, chunks: Vec<ChunkName>, batched: Vec<u32>, via: Via) -> BoxFuture<'_, Result<PutTickets, CallError>> {
        Box::pin(async move {
            // For a lone one a bundle takes more calls, and saves nothing.
            let bundles = batched.len() >= BUNDLE_CHUNKS_MIN;
            let relay = via == Via::Service;
            let request = PutTicketsRequest { workspace_id: self.id.0, chunks: texts(&chunks), batched, relay, bundles };
            self.service.put_tickets(&request).await
        })
    }

    fn put_bundles(&self, bundles: Vec<ChunkName>) -> BoxFuture<'_, Result<BundleTickets, CallError>> {
        Box::pin(async move {
            let request = BundleTicketsRequest { workspace_id: self.id.0, bundles: texts(&bundles) };
            self.service.bundle_tickets(&request).await
        })
    }

    fn add_bundles(&self, bundles: Vec<ChunkName>) -> BoxFuture<'_, Result<AddedBundles, CallError>> {
        Box::pin(async move {
            let request = AddBundlesRequest { workspace_id: self.id.0, bundles: texts(&bundles) };
            self.service.add_bundles(&request).await
        })
    }

    fn get(&self, chunks: Vec<ChunkName>, batched: Vec<u32>, via: Via) -> BoxFuture<'_, Result<GetTickets, CallError>> {
        Box::pin(async move {
            let (bundles, relay) = (!batched.is_empty(), via == Via::Service);
            let request = GetTicketsRequest { workspace_id: self.id.0, chunks: texts(&chunks), batched, relay, bundles };
            self.service.get_tickets(&request).await
        })
    }
}
