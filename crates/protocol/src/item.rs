//! `ItemMetadata`: an item at one version, as the original's model has it, with our own fields beside.

use crate::date::Date;
use serde::{Deserialize, Serialize};
use stacksync_core::commit::ItemCommit;
use stacksync_core::values::{
    Body, ChunkName, ChunkRef, FILE_CHUNKS_MAX, FileBody, ItemId, Kind, LINK_TARGET_BYTES_MAX, ModifiedAt, Name, Place, RemoteItem,
    Revision, Status, Version,
};
use uuid::Uuid;

/// The media type of folders, as the original's API wrote it.
pub const FOLDER_MIMETYPE: &str = "inode/directory";
/// The media type of symbolic links.
pub const LINK_MIMETYPE: &str = "inode/symlink";
/// The media type of files that nobody looked into.
pub const UNKNOWN_MIMETYPE: &str = "unknown";

/// An item on the wire. Members that say nothing are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ItemMetadata {
    /// The item; absent in the first commit of an original client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// An original client's temporary id, valid within one commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_id: Option<i64>,
    /// Version, from 1.
    pub version: i64,
    /// Device that made this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<Uuid>,
    /// The workspace; ignored on commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<Uuid>,
    /// Folder; absent at the top. May be a temporary id of the same commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<i64>,
    /// Version of the folder as the client knew it; kept, never checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_version: Option<i64>,
    /// `NEW`, `CHANGED`, `RENAMED`, `MOVED`, `DELETED`.
    pub status: String,
    /// Modification time of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_at: Option<Date>,
    /// Adler-32 of the plain bytes.
    pub checksum: i64,
    /// Names of the chunks in order.
    pub chunks: Vec<String>,
    /// Plain size in bytes.
    pub size: i64,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Name in its folder.
    pub filename: String,
    /// Media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mimetype: Option<String>,
    /// Depth in a listing, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<i32>,
    /// Only for the made-up root of a listing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_root: bool,
    /// Ours: plain length of each chunk, in the order of `chunks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_sizes: Option<Vec<u32>>,
    /// Ours: the owner may execute the file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Ours: target, of symbolic links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_target: Option<String>,
    /// Ours: revision of the workspace that this version took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// Why an item of a message makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BadItem {
    /// The member's name on the wire.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

fn bad(field: &'static str, problem: impl ToString) -> BadItem {
    BadItem { field, problem: problem.to_string() }
}

/// The word for a status.
pub const fn status_text(status: Status) -> &'static str {
    match status {
        Status::New => "NEW",
        Status::Changed => "CHANGED",
        Status::Renamed => "RENAMED",
        Status::Deleted => "DELETED",
    }
}

fn parse_status(text: &str) -> Result<Status, BadItem> {
    match text {
        "NEW" => Ok(Status::New),
        "CHANGED" => Ok(Status::Changed),
        "RENAMED" | "MOVED" => Ok(Status::Renamed),
        "DELETED" => Ok(Status::Deleted),
        _ => Err(bad("status", "not one of NEW, CHANGED, RENAMED, MOVED, DELETED")),
    }
}

impl ItemMetadata {
    /// What kind of item this describes.
    pub fn kind(&self) -> Kind {
        match (self.is_folder, &self.link_target) {
            (true, _) => Kind::Folder,
            (false, Some(_)) => Kind::Link,
            (false, None) => Kind::File,
        }
    }

    /// A version proposed by one of our own clients: real ids, chunk sizes present.
    ///
    /// # Errors
    /// Names the member that is wrong.
    pub fn to_commit(&self) -> Result<ItemCommit, BadItem> {
        Ok(ItemCommit {
            id: self.item_id()?,
            version: self.item_version()?,
            status: parse_status(&self.status)?,
            place: self.place()?,
            body: self.body()?,
            modified: self.modified_at.ok_or_else(|| bad("modifiedAt", "missing"))?.0,
        })
    }

    /// An item as the service told it.
    ///
    /// # Errors
    /// Names the member that is wrong.
    pub fn to_remote(&self) -> Result<RemoteItem, BadItem> {
        Ok(RemoteItem {
            id: self.item_id()?,
            version: self.item_version()?,
            revision: Revision(self.revision.ok_or_else(|| bad("revision", "missing"))?),
            deleted: parse_status(&self.status)? == Status::Deleted,
            place: self.place()?,
            body: self.body()?,
            modified: self.modified_at.map_or(ModifiedAt(0), |date| date.0),
        })
    }

    /// The message for a proposed version.
    pub fn from_commit(item: &ItemCommit) -> Self {
        let mut metadata = Self::from_parts(item.id, item.version, &item.place, &item.body, item.modified);
        metadata.status = status_text(item.status).into();
        metadata
    }

    /// The message for an item as the service has it; `status` is what its latest version did.
    pub fn from_remote(item: &RemoteItem, status: Status) -> Self {
        let mut metadata = Self::from_parts(item.id, item.version, &item.place, &item.body, item.modified);
        metadata.status = status_text(status).into();
        metadata.revision = Some(item.revision.0);
        if item.deleted {
            metadata.size = 0;
        }
        metadata
    }

    fn from_parts(id: ItemId, version: Version, place: &Place, body: &Body, modified: ModifiedAt) -> Self {
        let mut metadata = Self {
            id: Some(id.get()),
            version: version.get() as i64,
            parent_id: place.parent.map(ItemId::get),
            modified_at: Some(Date(modified)),
            filename: place.name.as_str().to_owned(),
            ..Self::default()
        };
        match body {
            Body::Folder => {
                metadata.is_folder = true;
                metadata.mimetype = Some(FOLDER_MIMETYPE.into());
            }
            Body::Link(target) => {
                metadata.link_target = Some(target.to_string());
                metadata.mimetype = Some(LINK_MIMETYPE.into());
            }
            Body::File(file) => {
                metadata.checksum = i64::from(file.adler32);
                metadata.size = file.size as i64;
                metadata.executable = file.executable;
                metadata.chunks = file.chunks.iter().map(|chunk| chunk.name.to_string()).collect();
                metadata.chunk_sizes = Some(file.chunks.iter().map(|chunk| chunk.len).collect());
                metadata.mimetype = Some(UNKNOWN_MIMETYPE.into());
            }
        }
        metadata
    }

    fn item_id(&self) -> Result<ItemId, BadItem> {
        self.id.and_then(ItemId::new).ok_or_else(|| bad("id", "missing or not positive"))
    }

    fn item_version(&self) -> Result<Version, BadItem> {
        u64::try_from(self.version).ok().and_then(Version::new).ok_or_else(|| bad("version", "not positive"))
    }

    fn place(&self) -> Result<Place, BadItem> {
        let parent = match self.parent_id {
            None => None,
            Some(id) => Some(ItemId::new(id).ok_or_else(|| bad("parentId", "not positive"))?),
        };
        Ok(Place { parent, name: Name::new(&self.filename).map_err(|error| bad("filename", error))? })
    }

    fn body(&self) -> Result<Body, BadItem> {
        match self.kind() {
            Kind::Folder => Ok(Body::Folder),
            Kind::Link => self.link(),
            Kind::File => self.file().map(Body::File),
        }
    }

    fn link(&self) -> Result<Body, BadItem> {
        let target = self.link_target.as_deref().unwrap_or_default();
        if target.is_empty() || target.len() > LINK_TARGET_BYTES_MAX || target.contains('\0') {
            return Err(bad("linkTarget", format!("must have 1 to {LINK_TARGET_BYTES_MAX} bytes, none of them NUL")));
        }
        Ok(Body::Link(target.into()))
    }

    fn file(&self) -> Result<FileBody, BadItem> {
        if self.chunks.len() > FILE_CHUNKS_MAX {
            return Err(bad("chunks", format!("more than {FILE_CHUNKS_MAX}")));
        }
        let sizes = self.chunk_sizes.as_deref().unwrap_or_default();
        if sizes.len() != self.chunks.len() {
            return Err(bad("chunkSizes", "must be one per chunk"));
        }
        let chunks = self.chunks.iter().zip(sizes).map(|(name, &len)| chunk(name, len)).collect::<Result<Vec<_>, _>>()?;
        let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>();
        let deleted = self.status == "DELETED";
        if !deleted && u64::try_from(self.size) != Ok(size) {
            return Err(bad("size", "must be the sum of the chunks' sizes"));
        }
        let adler32 = u32::try_from(self.checksum).map_err(|_| bad("checksum", "not an unsigned 32-bit number"))?;
        Ok(FileBody { size, chunks: chunks.into(), adler32, executable: self.executable })
    }
}

fn chunk(name: &str, len: u32) -> Result<ChunkRef, BadItem> {
    if len == 0 {
        return Err(bad("chunkSizes", "a chunk has at least one byte"));
    }
    let name = name.parse::<ChunkName>().map_err(|error| bad("chunks", error))?;
    Ok(ChunkRef { name, len })
}
