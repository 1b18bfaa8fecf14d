//! Identifiers and counters.

use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// An account.
    UserId
}
uuid_id! {
    /// One installation of a client.
    DeviceId
}
uuid_id! {
    /// A tree of items: the unit of sharing, of ordering and of storage.
    WorkspaceId
}
uuid_id! {
    /// One commit. Chosen by the device, kept over retries, so that a commit takes effect once.
    CommitId
}

/// A file, folder or link for its whole life, whatever its name or place.
///
/// Positive. Minted at random by our own clients, so that a retried commit speaks of the same item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(i64);

impl ItemId {
    /// Sorts before all others: the start of a range.
    pub(crate) const SMALLEST: Self = Self(1);

    /// `None` unless positive.
    pub const fn new(id: i64) -> Option<Self> {
        if id > 0 { Some(Self(id)) } else { None }
    }

    /// An id out of 64 random bits.
    pub const fn from_random(bits: u64) -> Self {
        let id = (bits >> 1) as i64;
        Self(if id == 0 { 1 } else { id })
    }

    /// The number, positive.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The version of an item: 1, 2, 3, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// What a new item starts with.
    pub const FIRST: Self = Self(1);

    /// `None` for zero and for what a signed 64-bit column cannot hold.
    pub const fn new(version: u64) -> Option<Self> {
        if version >= 1 && version <= i64::MAX as u64 { Some(Self(version)) } else { None }
    }

    /// The only version that may follow this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number, at least 1.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many versions a workspace has accepted. Each accepted version takes the next one; a reader sees no gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// An empty workspace.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
