//! Reading chunks out of bundles: neighbours in one request.

use super::index::{Found, Known};
use super::{BundledStore, REQUESTS_MAX, bundles_of};
use crate::backend::Put;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use stacksync_chunks::bundle::{self, Part, Span};
use stacksync_chunks::pack;
use stacksync_chunks::store::{Health, StoreError};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::collections::{HashMap, HashSet};

/// What copying bundles to another storage did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bundles that were copied.
    pub bundles: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bundles that were there already.
    pub there: u64,
    /// Chunks that are damaged where they are.
    pub damaged: Vec<ChunkName>,
}

impl BundledStore {
    /// Those of the chunks that can be read out of bundles. Nothing is verified.
    pub(super) async fn read(&self, workspace: WorkspaceId, names: &[ChunkName]) -> Result<HashMap<ChunkName, Bytes>, StoreError> {
        let mut left = self.index.find(workspace, names.to_vec()).await?;
        let mut read = HashMap::new();
        // The newest place of each first; where nothing is, the next one.
        while !left.is_empty() {
            let (mut parts, mut next, mut tried) = (HashMap::<ChunkName, Vec<Part>>::new(), Vec::new(), HashSet::new());
            for found in left {
                match tried.insert(found.part.name) {
                    true => parts.entry(found.bundle).or_default().push(found.part),
                    false => next.push(found),
                }
            }
            read.extend(self.read_parts(workspace, parts).await?);
            next.retain(|found: &Found| !read.contains_key(&found.part.name));
            left = next;
        }
        Ok(read)
    }

    /// The parts of several bundles. What is not there is left out.
    pub(super) async fn read_parts(
        &self,
        workspace: WorkspaceId,
        parts: HashMap<ChunkName, Vec<Part>>,
    ) -> Result<Vec<(ChunkName, Bytes)>, StoreError> {
        let spans = parts.into_iter().flat_map(|(bundle, parts)| bundle::spans(parts).into_iter().map(move |span| (bundle, span)));
        let reads = spans.map(|(bundle, span)| self.read_span(workspace, bundle, span)).collect::<Vec<_>>();
        let read: Vec<_> = stream::iter(reads).buffer_unordered(REQUESTS_MAX).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn read_span(
        &self,
        workspace: WorkspaceId,
        bundle: ChunkName,
        span: Span,
    ) -> Result<Vec<(ChunkName, Bytes)>, StoreError> {
        let read = self.alone.object_part(bundles_of(workspace), bundle, span.start, span.length).await?;
        let bytes = read.map(|read| read.bytes).unwrap_or_default();
        Ok(span.parts.iter().filter_map(|part| Some((part.name, span.part(part, &bytes)?))).collect())
    }

    /// Whether a chunk is whole in this bundle. Damaged on the way is not damaged: it is read twice.
    pub(super) async fn look_at(&self, workspace: WorkspaceId, found: &Found) -> Result<Health, StoreError> {
        let Part { name, start, length } = found.part;
        let mut before: Option<Bytes> = None;
        for _ in 0..2 {
            let read = self.alone.object_part(bundles_of(workspace), found.bundle, start.into(), length.into()).await?;
            let Some(read) = read else { return Ok(Health::Missing) };
            if pack::unpack(&name, &read.bytes).is_ok() {
                return Ok(Health::Good);
            }
            if before.is_some_and(|before| before != read.bytes) {
                let reason = format!("{}: chunk {name} is read differently each time", self.alone.name());
                return Err(StoreError::Unavailable(reason));
            }
            before = Some(read.bytes);
        }
        Ok(Health::Damaged)
    }

    /// Which of these chunks are whole in some bundle: every bundle is read once.
    ///
    /// # Errors
    /// The storage's, or the index's.
    pub async fn sound(&self, workspace: WorkspaceId, wanted: &HashSet<ChunkName>) -> Result<HashSet<ChunkName>, StoreError> {
        let live: HashSet<ChunkName> = self.live(workspace).await?.keys().copied().collect();
        let mut parts: HashMap<ChunkName, Vec<Part>> = HashMap::new();
        for (bundle, part) in self.index.parts(workspace).await? {
            if live.contains(&bundle) && wanted.contains(&part.name) {
                parts.entry(bundle).or_default().push(part);
            }
        }
        let mut sound = HashSet::new();
        for (bundle, parts) in parts {
            let read = self.read_parts(workspace, HashMap::from([(bundle, parts)])).await?;
            sound.extend(whole_of(read).await?.into_iter().map(|(name, _)| name));
        }
        Ok(sound)
    }

    /// Names and lengths of the live bundles.
    pub(super) async fn live(&self, workspace: WorkspaceId) -> Result<HashMap<ChunkName, u64>, StoreError> {
        let known = self.index.bundles(workspace).await?;
        Ok(known.into_iter().filter(|known| known.retired.is_none()).map(|known| (known.name, known.bytes)).collect())
    }

    /// Copies all bundles that are known to another storage as they are, so that the same index holds for both. Each chunk is checked on
    /// its way.
    ///
    /// # Errors
    /// A storage's, or the index's.
    pub async fn copy_to(&self, target: &Self, workspace: WorkspaceId) -> Result<Copied, StoreError> {
        let place = bundles_of(workspace);
        let mut copied = Copied::default();
        for Known { name, bytes, .. } in self.index.bundles(workspace).await? {
            if target.alone.object_length(place, name).await? == Some(bytes) {
                copied.there += 1;
                continue;
            }
            let Some(read) = self.alone.object_part(place, name, 0, bytes).await? else { continue };
            let Ok(table) = bundle::read_table(name, &read.bytes) else { continue };
            let span = Span { start: 0, length: bytes, parts: table.parts.clone() };
            let parts = table.parts.iter().filter_map(|part| Some((part.name, span.part(part, &read.bytes)?))).collect();
            let whole: HashSet<ChunkName> = whole_of(parts).await?.into_iter().map(|(name, _)| name).collect();
            copied.damaged.extend(table.parts.iter().map(|part| part.name).filter(|name| !whole.contains(name)));
            if target.alone.put_object(place, name, read.bytes).await? == Put::Stored {
                copied.bundles += 1;
                copied.bytes += bytes;
            }
        }
        Ok(copied)
    }
}

/// Those that are what their names promise.
pub(super) async fn whole_of(read: Vec<(ChunkName, Bytes)>) -> Result<Vec<(ChunkName, Bytes)>, StoreError> {
    let look = move || read.into_iter().filter(|(name, packed)| pack::unpack(name, packed).is_ok()).collect();
    tokio::task::spawn_blocking(look).await.map_err(|error| StoreError::Unavailable(error.to_string()))
}
