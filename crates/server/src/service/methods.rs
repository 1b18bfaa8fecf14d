//! The methods of the remote objects, listed once: calls are dispatched by them, devices may call no other object, metrics count them, and
//! the test of who may do what has a row for each.

use stacksync_protocol::{CHUNK_SERVICE, SYNC_SERVICE};

macro_rules! methods {
    ($(#[$doc:meta])* $list:ident { $($method:ident $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $list {
            $(#[doc = concat!("`", $name, "`.")] $method,)+
        }

        impl $list {
            /// The names of all of them.
            pub const NAMES: &[&str] = &[$($name),+];

            /// The method of this name, `None` if there is none.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$method),)+
                    _ => None,
                }
            }
        }
    };
}

methods! {
    /// Methods of `ISyncService`.
    SyncMethod {
        GetChanges "getChanges",
        GetWorkspaces "getWorkspaces",
        Commit "commit",
        UpdateDevice "updateDevice",
        UpdateWorkspace "updateWorkspace",
        GetAccountInfo "getAccountInfo",
        CreateShareProposal "createShareProposal",
    }
}

methods! {
    /// Methods of `IChunkService`.
    ChunkMethod {
        PutTickets "putTickets",
        GetTickets "getTickets",
        BundleTickets "bundleTickets",
        AddBundles "addBundles",
    }
}

/// The remote objects that devices may call, by reference, with the names of their methods.
pub const OBJECTS: [(&str, &[&str]); 2] = [(SYNC_SERVICE, SyncMethod::NAMES), (CHUNK_SERVICE, ChunkMethod::NAMES)];
