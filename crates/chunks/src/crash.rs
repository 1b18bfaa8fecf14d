//! Crash points: named places, before and after everything that must be durable or in one piece, at which a test ends the process.
//!
//! Only with the feature `crash-points`, which no release and no ordinary build has; without it [`crash_point!`](crate::crash_point)
//! is nothing at all. The names are literals, each written once, so that whoever wants to visit all of them reads them in the sources.

#[cfg(feature = "crash-points")]
mod active {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Environment variable: `name` or `name:count`. The process ends itself with SIGKILL when it comes to that point for the
    /// `count`-th time (1 if not said).
    pub const VARIABLE: &str = "CRASH_AT";

    struct Chosen {
        name: String,
        /// Passes that are left, this one included.
        left: AtomicU32,
    }

    fn chosen() -> Option<&'static Chosen> {
        static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();
        let read = || {
            let text = std::env::var(VARIABLE).ok()?;
            let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
            Some(Chosen { name: name.to_owned(), left: AtomicU32::new(count.parse().unwrap_or(1)) })
        };
        CHOSEN.get_or_init(read).as_ref()
    }

    /// Passes the point, or ends the process here. Use [`crash_point!`](crate::crash_point).
    pub fn point(name: &str) {
        let Some(chosen) = chosen().filter(|chosen| chosen.name == name) else { return };
        if chosen.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal ends all threads; none may do anything more here.
        loop {
            std::thread::park();
        }
    }
}

#[cfg(feature = "crash-points")]
pub use active::{VARIABLE, point};

/// A crash point: nothing without the feature `crash-points`.
#[cfg(feature = "crash-points")]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::point($name)
    };
}

/// A crash point: nothing without the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {};
}
