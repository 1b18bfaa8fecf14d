//! The chunk storage: the real one for memory, and what goes wrong with it. What was lost or damaged is kept aside, so that the
//! world can bring it back as an operator with a second copy would.

use bytes::Bytes;
use futures_util::FutureExt;
use stacksync_chunks::pack;
use stacksync_chunks::store::{Answer, ChunkStore, Fault, Health, MemoryStore, StoreError};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub struct Storage {
    store: Arc<MemoryStore>,
    aside: BTreeMap<(WorkspaceId, ChunkName), Bytes>,
    /// Chunks as they were when they were last found unharmed: the same memory need not be verified again.
    verified: RefCell<HashMap<(WorkspaceId, ChunkName), Bytes>>,
}

/// Nothing in memory is waited for.
fn now<T>(answer: Answer<'_, T>) -> Result<T, StoreError> {
    answer.now_or_never().unwrap_or_else(|| Err(StoreError::Unavailable("it waits".to_owned())))
}

impl Storage {
    /// As the service uses it.
    pub fn store(&self) -> Arc<dyn ChunkStore> {
        self.store.clone()
    }

    /// From now on nothing is answered, or everything again.
    pub fn set_answering(&self, answering: Answering) {
        self.store.set_fault(if answering == Answering::Yes { Fault::None } else { Fault::Unavailable });
    }

    /// Stores one chunk.
    ///
    /// # Errors
    /// As the real storage.
    pub fn put(&self, workspace: WorkspaceId, name: ChunkName, packed: Bytes) -> Result<(), StoreError> {
        now(self.store.put_batch(workspace, vec![(name, packed)]))
    }

    /// Reads one chunk, not verified.
    ///
    /// # Errors
    /// As the real storage.
    pub fn get(&self, workspace: WorkspaceId, name: ChunkName) -> Result<Option<Bytes>, StoreError> {
        now(self.store.get(workspace, name))
    }

    /// Verifies one chunk and sets it aside if it is damaged, as the service does when a device says that it came damaged.
    ///
    /// # Errors
    /// As the real storage.
    pub fn check(&self, workspace: WorkspaceId, name: ChunkName) -> Result<Health, StoreError> {
        now(self.store.check(workspace, name))
    }

    /// The plain bytes of a chunk, if it is there, unharmed.
    pub fn plain(&self, workspace: WorkspaceId, name: &ChunkName) -> Option<Bytes> {
        let packed = self.get(workspace, *name).ok()??;
        pack::unpack(name, &packed).ok()
    }

    fn is_whole(&self, workspace: WorkspaceId, name: &ChunkName) -> bool {
        let Ok(Some(packed)) = self.get(workspace, *name) else { return false };
        let mut verified = self.verified.borrow_mut();
        // The bytes are kept, so nothing else can be in their place.
        if verified.get(&(workspace, *name)).is_some_and(|known| (known.as_ptr(), known.len()) == (packed.as_ptr(), packed.len())) {
            return true;
        }
        let whole = pack::unpack(name, &packed).is_ok();
        if whole {
            verified.insert((workspace, *name), packed);
        }
        whole
    }

    /// Whether the chunk is there, unharmed, or was set aside.
    pub fn has_somewhere(&self, workspace: WorkspaceId, name: &ChunkName) -> bool {
        self.aside.contains_key(&(workspace, *name)) || self.is_whole(workspace, name)
    }

    fn some_chunk(&self, workspace: WorkspaceId, pick: u64) -> Option<ChunkName> {
        let all = now(self.store.list(workspace, None, usize::MAX)).ok()?;
        if all.is_empty() { None } else { all.get((pick % all.len() as u64) as usize).map(|stored| stored.name) }
    }

    fn set_aside(&mut self, workspace: WorkspaceId, name: ChunkName) -> Option<Bytes> {
        let packed = self.get(workspace, name).ok()??;
        // What is damaged already was set aside whole.
        self.aside.entry((workspace, name)).or_insert_with(|| packed.clone());
        Some(packed)
    }

    /// Loses a chunk.
    pub fn lose(&mut self, workspace: WorkspaceId, pick: u64) -> Option<ChunkName> {
        let name = self.some_chunk(workspace, pick)?;
        self.set_aside(workspace, name)?;
        now(self.store.remove(workspace, vec![name])).ok()?;
        Some(name)
    }

    /// Flips a bit of a chunk.
    pub fn flip(&mut self, workspace: WorkspaceId, pick: u64) -> Option<ChunkName> {
        let name = self.some_chunk(workspace, pick)?;
        let mut packed = self.set_aside(workspace, name)?.to_vec();
        flip_bit(&mut packed, pick >> 20);
        self.store.plant(workspace, name, packed.into());
        Some(name)
    }

    /// Everything that was lost or damaged is there again.
    pub fn heal(&mut self) {
        self.set_answering(Answering::Yes);
        for ((workspace, name), packed) in std::mem::take(&mut self.aside) {
            // A real put: what came back meanwhile stays, what is damaged is replaced. Memory cannot refuse what it once took.
            let _ = self.put(workspace, name, packed);
        }
    }
}

/// Whether the storage answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// As usual.
    Yes,
    /// Not at all.
    No,
}

/// Flips one bit.
pub fn flip_bit(bytes: &mut [u8], pick: u64) {
    if bytes.is_empty() {
        return;
    }
    let bit = (pick % (bytes.len() as u64 * 8)) as usize;
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}
