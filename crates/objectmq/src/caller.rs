//! Who calls: what the transport's gate found out about the sender. An object must decide by this, never by what a body claims.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Who sent a message. Cheap to clone.
#[derive(Clone, Default)]
pub struct Caller(Option<Arc<Known>>);

struct Known {
    identity: Arc<str>,
    principal: Arc<dyn Any + Send + Sync>,
}

impl Caller {
    /// A caller that the transport authenticated. `identity` names it over reconnections (for example its device id): a retry of a
    /// call is recognised by (identity, call id). `principal` is for the objects, see [`Caller::get`].
    pub fn new(identity: &str, principal: impl Any + Send + Sync) -> Caller {
        Caller(Some(Arc::new(Known { identity: identity.into(), principal: Arc::new(principal) })))
    }

    /// A caller that nobody vouches for: code of the same process, or a transport without a gate.
    pub fn anonymous() -> Caller {
        Caller(None)
    }

    /// The principal that the gate attached, if it is a `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.as_ref()?.principal.downcast_ref()
    }

    /// The name of the caller, the same in all its connections.
    pub fn identity(&self) -> Option<&Arc<str>> {
        self.0.as_ref().map(|known| &known.identity)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(known) => write!(f, "Caller({})", known.identity),
            None => f.write_str("Caller(anonymous)"),
        }
    }
}
