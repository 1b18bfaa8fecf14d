//! Tickets: proof that the service let this device do this one thing with the chunks of this container, until then.
//!
//! A ticket travels as a parameter of an address. It carries only what the address does not say itself: who, until when, and a
//! keyed BLAKE3 hash over all of it together with the operation, the container and the chunk. It must never be valid for another of
//! these. Whoever holds the key can make any ticket: it stays in the service's own folder and is wiped from memory.

use crate::crash_point;
use stacksync_core::values::{ChunkName, DeviceId, WorkspaceId};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

/// Longest ticket as text, in bytes.
pub const TICKET_TEXT_BYTES_MAX: usize = 16 + 1 + 32 + 1 + 64;

const KEY_BYTES: usize = 32;
/// Separates these hashes from any other use of the key.
const DOMAIN: &[u8; 16] = b"stacksync-tick-1";

/// What a ticket lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Read one chunk.
    Get,
    /// Store one chunk.
    Put,
    /// Read any chunks of the container.
    GetBatch,
    /// Store any chunks in the container.
    PutBatch,
}

/// What a request is about, and what a ticket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The operation.
    pub op: Op,
    /// The container of this workspace.
    pub container: WorkspaceId,
    /// The chunk of a single operation, `None` for a batch.
    pub chunk: Option<ChunkName>,
}

/// Who may, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The device that asked for the ticket.
    pub device: DeviceId,
    /// Valid until, in seconds since 1970 by the service's clock.
    pub expires: u64,
}

/// Why a ticket does not open anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It is no ticket at all.
    #[error("not a ticket")]
    Malformed,
    /// Not made with this key, or made for something else.
    #[error("the ticket is not valid for this request")]
    Invalid,
    /// It was good; ask for another.
    #[error("the ticket has expired")]
    Expired,
}

/// The key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or made.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// The verb.
        what: &'static str,
        /// The key file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not 32 bytes long.
    #[error("{path} is not a ticket key; remove it and a new one is made (tickets given out before stop working)")]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(String),
}

/// Signs and verifies tickets.
pub struct TicketKey([u8; KEY_BYTES]);

impl Drop for TicketKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey")
    }
}

impl TicketKey {
    /// A key from these bytes.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A new random key.
    pub fn random() -> Result<Self, KeyError> {
        let mut key = Self([0; KEY_BYTES]);
        getrandom::fill(&mut key.0).map_err(|error| KeyError::NoRandomness(error.to_string()))?;
        Ok(key)
    }

    /// The key in this file. If there is none, makes one that only the owner may read.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        match Self::read(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Self::random()?.save(path),
            read => read,
        }
    }

    fn read(path: &Path) -> Result<Self, KeyError> {
        let mut key = Self([0; KEY_BYTES]);
        let mut file = File::open(path).map_err(failed("open", path))?;
        if file.metadata().map_err(failed("read", path))?.len() != KEY_BYTES as u64 {
            return Err(KeyError::Damaged { path: path.to_owned() });
        }
        file.read_exact(&mut key.0).map_err(failed("read", path))?;
        Ok(key)
    }

    /// Complete under its name or not there at all.
    fn save(self, path: &Path) -> Result<Self, KeyError> {
        let temporary = path.with_extension("key-tmp");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary).map_err(failed("create", &temporary))?;
        file.write_all(&self.0).map_err(failed("write", &temporary))?;
        crash_point!("ticket-key.before-sync");
        file.sync_all().map_err(failed("write", &temporary))?;
        crash_point!("ticket-key.before-rename");
        fs::rename(&temporary, path).map_err(failed("create", path))?;
        crash_point!("ticket-key.after-rename");
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("save", folder))?;
        crash_point!("ticket-key.after-sync");
        Ok(self)
    }

    /// A ticket as text: lower-case hexadecimal digits and dots, at most [`TICKET_TEXT_BYTES_MAX`] of them.
    pub fn sign(&self, subject: &Subject, grant: &Grant) -> String {
        format!("{:x}.{}.{}", grant.expires, grant.device.0.as_simple(), self.hash(subject, grant).to_hex())
    }

    /// What the ticket grants its holder, if it is for exactly this subject and `now` (seconds since 1970) is not after its end.
    pub fn verify(&self, ticket: &str, subject: &Subject, now: u64) -> Result<Grant, TicketError> {
        let (grant, hash) = parse(ticket).ok_or(TicketError::Malformed)?;
        // Comparing two `blake3::Hash` takes the same time wherever they differ.
        if self.hash(subject, &grant) != hash {
            return Err(TicketError::Invalid);
        }
        if now > grant.expires {
            return Err(TicketError::Expired);
        }
        Ok(grant)
    }

    /// Over fields of fixed length, so that no two requests give the same bytes.
    fn hash(&self, subject: &Subject, grant: &Grant) -> blake3::Hash {
        let op = match subject.op {
            Op::Get => 1,
            Op::Put => 2,
            Op::GetBatch => 3,
            Op::PutBatch => 4,
        };
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(DOMAIN).update(&[op]).update(subject.container.0.as_bytes());
        match &subject.chunk {
            Some(chunk) => hasher.update(&[1]).update(chunk.as_bytes()),
            None => hasher.update(&[0]).update(&[0; 32]),
        };
        hasher.update(grant.device.0.as_bytes()).update(&grant.expires.to_be_bytes());
        hasher.finalize()
    }
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> KeyError + 'a {
    move |source| KeyError::Io { what, path: path.to_owned(), source }
}

fn parse(ticket: &str) -> Option<(Grant, blake3::Hash)> {
    if ticket.len() > TICKET_TEXT_BYTES_MAX {
        return None;
    }
    let mut parts = ticket.split('.');
    let (expires, device, hash) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || expires.starts_with('+') {
        return None;
    }
    let grant = Grant { device: DeviceId(uuid::Uuid::try_parse(device).ok()?), expires: u64::from_str_radix(expires, 16).ok()? };
    Some((grant, blake3::Hash::from_hex(hash).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;
    use uuid::Uuid;

    const KEY: TicketKey = TicketKey::from_bytes([7; 32]);
    const GRANT: Grant = Grant { device: DeviceId(Uuid::from_u128(5)), expires: 1000 };

    fn subject(op: Op, container: u128, chunk: Option<&[u8]>) -> Subject {
        Subject { op, container: WorkspaceId(Uuid::from_u128(container)), chunk: chunk.map(ChunkName::of) }
    }

    #[test]
    fn a_ticket_is_good_for_its_subject_until_it_expires() {
        let subject = subject(Op::Get, 1, Some(b"a"));
        let ticket = KEY.sign(&subject, &GRANT);
        assert!(ticket.len() <= TICKET_TEXT_BYTES_MAX);
        assert_eq!(KEY.verify(&ticket, &subject, 1000), Ok(GRANT));
        assert_eq!(KEY.verify(&ticket, &subject, 1001), Err(TicketError::Expired));
    }

    #[test]
    fn a_ticket_is_good_for_nothing_else() {
        let ticket = KEY.sign(&subject(Op::Get, 1, Some(b"a")), &GRANT);
        for other in [
            subject(Op::Put, 1, Some(b"a")),
            subject(Op::Get, 2, Some(b"a")),
            subject(Op::Get, 1, Some(b"b")),
            subject(Op::Get, 1, None),
            subject(Op::GetBatch, 1, None),
            subject(Op::PutBatch, 1, None),
        ] {
            assert_eq!(KEY.verify(&ticket, &other, 0), Err(TicketError::Invalid), "{other:?}");
        }
    }

    #[test]
    fn neither_end_nor_holder_can_be_changed() {
        let subject = subject(Op::PutBatch, 1, None);
        let ticket = KEY.sign(&subject, &GRANT);
        let (_, rest) = ticket.split_once('.').unwrap();
        assert_eq!(KEY.verify(&format!("ffffffff.{rest}"), &subject, 0), Err(TicketError::Invalid));
        let other = ticket.replacen(".00000000000000000000000000000005.", ".00000000000000000000000000000006.", 1);
        assert_ne!(other, ticket);
        assert_eq!(KEY.verify(&other, &subject, 0), Err(TicketError::Invalid));
        assert_eq!(TicketKey::from_bytes([8; 32]).verify(&ticket, &subject, 0), Err(TicketError::Invalid));
    }

    #[test]
    fn a_key_is_made_once_and_only_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ticket.key");
        let first = TicketKey::open(&path).unwrap();
        let again = TicketKey::open(&path).unwrap();
        assert_eq!(first.0, again.0);
        assert_ne!(first.0, TicketKey::random().unwrap().0);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(&path, b"short").unwrap();
        assert!(matches!(TicketKey::open(&path), Err(KeyError::Damaged { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn garbage_is_no_ticket(text in ".{0,130}") {
            prop_assert!(KEY.verify(&text, &subject(Op::Put, 1, Some(b"a")), 0).is_err());
        }

        #[test]
        fn a_changed_byte_is_no_ticket(at in 0_usize..101, byte in 0x21_u8..0x7f) {
            let subject = subject(Op::Put, 1, Some(b"a"));
            let ticket = KEY.sign(&subject, &GRANT);
            let mut changed = ticket.clone().into_bytes();
            let at = at % changed.len();
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            // Another spelling of the same ticket (upper-case digits) is the same ticket.
            prop_assume!(changed.to_lowercase() != ticket);
            prop_assert!(KEY.verify(&changed, &subject, 0).is_err());
        }
    }
}
