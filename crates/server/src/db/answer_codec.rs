//! The bytes of a stored answer.
//!
//! An item that was saved just as it was sent is not repeated: the retry brings it again (its fingerprint proves that). All numbers
//! are big-endian; the first byte is the format, so that another one can follow.

use super::columns::{kind_number, pack_body, parent_number, status_number, status_of, unpack_body};
use super::{Commit, CommitOutcome, Made};
use stacksync_core::commit::{CommitAnswer, ItemCommit, Refusal, Verdict};
use stacksync_core::values::{Body, ChunkName, DeviceId, ItemId, ModifiedAt, Name, Place, RemoteItem, Revision, Status, Version};
use uuid::Uuid;

const FORMAT: u8 = 1;

/// What follows in the bytes for one item of the commit.
mod tag {
    /// Saved as sent: status.
    pub const AS_SENT: u8 = 0;
    /// Saved otherwise: status, item.
    pub const SAVED: u8 = 1;
    /// There before: made, item.
    pub const EXISTING: u8 = 2;
    /// Refused, nothing to show: reason.
    pub const REFUSED: u8 = 3;
    /// Refused: reason, made, item.
    pub const REFUSED_SHOWING: u8 = 4;
}

/// The bytes of an outcome of this commit.
pub(super) fn encode(outcome: &CommitOutcome, commit: &Commit) -> Vec<u8> {
    let CommitOutcome { answer, made, quota_limit, quota_used, replay: _ } = outcome;
    let mut bytes = Vec::with_capacity(64 + 2 * answer.verdicts.len());
    bytes.push(FORMAT);
    for number in [answer.from.0, answer.to.0, *quota_limit, *quota_used] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    for ((verdict, made), sent) in answer.verdicts.iter().zip(made).zip(&commit.items) {
        encode_verdict(&mut bytes, verdict, *made, sent);
    }
    bytes
}

fn encode_verdict(bytes: &mut Vec<u8>, verdict: &Verdict, made: Option<Made>, sent: &ItemCommit) {
    let status = made.map_or(Status::New, |made| made.status);
    let device = made.map_or(Uuid::nil(), |made| made.device.0);
    let show = |bytes: &mut Vec<u8>, item: &RemoteItem| {
        bytes.extend_from_slice(device.as_bytes());
        encode_remote(bytes, item, status);
    };
    match verdict {
        Verdict::Accepted(item) if item.place == sent.place && item.body == sent.body && item.modified == sent.modified => {
            bytes.extend_from_slice(&[tag::AS_SENT, status_number(status)]);
        }
        Verdict::Accepted(item) => {
            bytes.push(tag::SAVED);
            show(bytes, item);
        }
        Verdict::Existing(item) => {
            bytes.push(tag::EXISTING);
            show(bytes, item);
        }
        Verdict::Refused { reason, current: None } => {
            bytes.push(tag::REFUSED);
            encode_refusal(bytes, reason);
        }
        Verdict::Refused { reason, current: Some(item) } => {
            bytes.push(tag::REFUSED_SHOWING);
            encode_refusal(bytes, reason);
            show(bytes, item);
        }
    }
}

/// What [`encode`] made of the outcome of this very commit; `None` if the bytes are something else.
pub(super) fn decode(bytes: &[u8], commit: &Commit) -> Option<CommitOutcome> {
    let mut bytes = Bytes(bytes);
    if bytes.u8()? != FORMAT {
        return None;
    }
    let (from, to) = (Revision(bytes.u64()?), Revision(bytes.u64()?));
    let (quota_limit, quota_used) = (bytes.u64()?, bytes.u64()?);
    let mut saved = from;
    let mut verdicts = Vec::with_capacity(commit.items.len());
    let mut made = Vec::with_capacity(commit.items.len());
    for sent in &commit.items {
        let (verdict, by) = decode_verdict(&mut bytes, sent, commit.device, &mut saved)?;
        verdicts.push(verdict);
        made.push(by);
    }
    let answer = CommitAnswer { verdicts, from, to };
    (bytes.0.is_empty() && saved == to).then_some(CommitOutcome { answer, made, quota_limit, quota_used, replay: true })
}

fn decode_verdict(
    bytes: &mut Bytes<'_>,
    sent: &ItemCommit,
    device: DeviceId,
    saved: &mut Revision,
) -> Option<(Verdict, Option<Made>)> {
    let tag = bytes.u8()?;
    if matches!(tag, tag::AS_SENT | tag::SAVED) {
        saved.0 = saved.0.checked_add(1)?;
    }
    Some(match tag {
        tag::AS_SENT => {
            let status = status_of(bytes.u8()?)?;
            (Verdict::Accepted(as_sent(sent, status, *saved)), Some(Made { status, device }))
        }
        tag::SAVED => {
            let (item, made) = decode_shown(bytes)?;
            let this = (item.id, item.version, item.revision, made.device) == (sent.id, sent.version, *saved, device);
            if !this {
                return None;
            }
            (Verdict::Accepted(item), Some(made))
        }
        tag::EXISTING => {
            let (item, made) = decode_shown(bytes)?;
            (Verdict::Existing(item), Some(made))
        }
        tag::REFUSED => (Verdict::Refused { reason: decode_refusal(bytes)?, current: None }, None),
        tag::REFUSED_SHOWING => {
            let reason = decode_refusal(bytes)?;
            let (item, made) = decode_shown(bytes)?;
            (Verdict::Refused { reason, current: Some(item) }, Some(made))
        }
        _ => return None,
    })
}

fn as_sent(sent: &ItemCommit, status: Status, revision: Revision) -> RemoteItem {
    RemoteItem {
        id: sent.id,
        version: sent.version,
        revision,
        deleted: status == Status::Deleted,
        place: sent.place.clone(),
        body: sent.body.clone(),
        modified: sent.modified,
    }
}

/// The bytes of a proposed version, all of it.
pub(super) fn encode_item(bytes: &mut Vec<u8>, item: &ItemCommit) {
    encode_parts(bytes, (item.id, item.version, item.status), &item.place, &item.body, item.modified);
}

fn encode_remote(bytes: &mut Vec<u8>, item: &RemoteItem, status: Status) {
    bytes.extend_from_slice(&item.revision.0.to_be_bytes());
    encode_parts(bytes, (item.id, item.version, status), &item.place, &item.body, item.modified);
}

fn encode_parts(
    bytes: &mut Vec<u8>,
    (id, version, status): (ItemId, Version, Status),
    place: &Place,
    body: &Body,
    modified: ModifiedAt,
) {
    let (adler32, executable) = match body {
        Body::File(file) => (file.adler32, file.executable),
        Body::Folder | Body::Link(_) => (0, false),
    };
    bytes.extend_from_slice(&id.get().to_be_bytes());
    bytes.extend_from_slice(&version.get().to_be_bytes());
    bytes.push(status_number(status));
    bytes.extend_from_slice(&parent_number(place.parent).to_be_bytes());
    encode_block(bytes, place.name.as_str().as_bytes());
    bytes.extend_from_slice(&modified.0.to_be_bytes());
    bytes.push(kind_number(body.kind()));
    bytes.extend_from_slice(&adler32.to_be_bytes());
    bytes.push(u8::from(executable));
    encode_block(bytes, &pack_body(body));
}

fn decode_shown(bytes: &mut Bytes<'_>) -> Option<(RemoteItem, Made)> {
    let device = DeviceId(Uuid::from_bytes(bytes.array()?));
    let revision = Revision(bytes.u64()?);
    let id = ItemId::new(bytes.i64()?)?;
    let version = Version::new(bytes.u64()?)?;
    let status = status_of(bytes.u8()?)?;
    let parent = ItemId::new(bytes.i64()?);
    let name = Name::new(bytes.text()?).ok()?;
    let modified = ModifiedAt(bytes.i64()?);
    let (kind, adler32, executable) = (bytes.u8()?, bytes.u32()?, bytes.u8()? == 1);
    let body = unpack_body(kind, adler32, executable, bytes.block()?)?;
    let deleted = status == Status::Deleted;
    Some((RemoteItem { id, version, revision, deleted, place: Place { parent, name }, body, modified }, Made { status, device }))
}

fn encode_refusal(bytes: &mut Vec<u8>, refusal: &Refusal) {
    bytes.push(match refusal {
        Refusal::WrongVersion => 0,
        Refusal::UnknownItem => 1,
        Refusal::Foreign => 2,
        Refusal::KindChanged => 3,
        Refusal::ParentUnknown => 4,
        Refusal::ParentDeleted => 5,
        Refusal::ParentNotFolder => 6,
        Refusal::Cycle => 7,
        Refusal::TooDeep => 8,
        Refusal::NotEmpty => 9,
        Refusal::NameTaken { .. } => 10,
        Refusal::ChunksMissing(_) => 11,
        Refusal::QuotaExceeded { .. } => 12,
        Refusal::Invalid(_) => 13,
    });
    match refusal {
        Refusal::NameTaken { by } => bytes.extend_from_slice(&by.get().to_be_bytes()),
        Refusal::ChunksMissing(chunks) => {
            encode_block(bytes, &chunks.iter().flat_map(|chunk| *chunk.as_bytes()).collect::<Vec<_>>())
        }
        Refusal::QuotaExceeded { limit, used, needed } => {
            for number in [limit, used, needed] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        Refusal::Invalid(text) => encode_block(bytes, text.as_bytes()),
        Refusal::WrongVersion
        | Refusal::UnknownItem
        | Refusal::Foreign
        | Refusal::KindChanged
        | Refusal::ParentUnknown
        | Refusal::ParentDeleted
        | Refusal::ParentNotFolder
        | Refusal::Cycle
        | Refusal::TooDeep
        | Refusal::NotEmpty => {}
    }
}

fn decode_refusal(bytes: &mut Bytes<'_>) -> Option<Refusal> {
    Some(match bytes.u8()? {
        0 => Refusal::WrongVersion,
        1 => Refusal::UnknownItem,
        2 => Refusal::Foreign,
        3 => Refusal::KindChanged,
        4 => Refusal::ParentUnknown,
        5 => Refusal::ParentDeleted,
        6 => Refusal::ParentNotFolder,
        7 => Refusal::Cycle,
        8 => Refusal::TooDeep,
        9 => Refusal::NotEmpty,
        10 => Refusal::NameTaken { by: ItemId::new(bytes.i64()?)? },
        11 => {
            let (names, rest) = bytes.block()?.as_chunks::<32>();
            if !rest.is_empty() {
                return None;
            }
            Refusal::ChunksMissing(names.iter().map(|name| ChunkName::from_bytes(*name)).collect())
        }
        12 => Refusal::QuotaExceeded { limit: bytes.u64()?, used: bytes.u64()?, needed: bytes.u64()? },
        13 => Refusal::Invalid(bytes.text()?.to_owned()),
        _ => return None,
    })
}

/// Its length in 4 bytes, then the block.
fn encode_block(bytes: &mut Vec<u8>, block: &[u8]) {
    bytes.extend_from_slice(&(block.len() as u32).to_be_bytes());
    bytes.extend_from_slice(block);
}

/// Bytes that are being read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn block(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        let (block, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(block)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.block()?).ok()
    }
}
