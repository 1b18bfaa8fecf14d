//! The driver: carries the engine's effects out on the real disk and the real network, and tells the engine what came of them.
//!
//! One small loop per workspace (`workspace`), one around them that knows the connection, the person's wishes and the end
//! ([`Device`]). Nothing here decides about a file.

mod applier;
mod begin;
mod carrier;
mod clock;
mod device;
mod ending;
mod limits;
mod member;
mod onlooker;
mod overview;
mod snapshot;
mod tickets;
mod wishes;
mod workspace;

pub use begin::{BeginError, Begun, begin, connector};
pub use clock::Clock;
pub use device::{Device, End, Stay};
pub use ending::Ending;
pub use limits::GivenLimits;
pub use member::open as open_folder;
pub use onlooker::{LookError, Onlooker};
pub use overview::Overview;
pub use snapshot::{ShownProblem, Snapshot};
