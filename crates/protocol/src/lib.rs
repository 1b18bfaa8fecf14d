//! StackSync's messages on ObjectMQ and HTTP, and their translation from and to core's values.
//!
//! Field names and meanings are those of the original StackSync (so that its clients are understood); what we add stands
//! beside them under names of its own and is left out where it says nothing. Validation happens here, once: what leaves
//! this crate towards the service or the engine is valid.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod chunk_service;
pub mod date;
pub mod fault;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
pub mod item;
pub mod join;
pub mod sync_service;
pub mod verdict;

/// The reference of the sync service, as in the original.
pub const SYNC_SERVICE: &str = "ISyncService";
/// The reference of the object that hands out chunk tickets.
pub const CHUNK_SERVICE: &str = "IChunkService";
/// Version of this protocol, told by both sides when a device connects; the major number must agree.
pub const PROTOCOL_VERSION: u32 = 1;
