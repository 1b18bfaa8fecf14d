//! The log: structured events on standard error, as text or JSON. Never carries tokens, codes, tickets or passwords.

use crate::config::LogFormat;
use tracing::Level;
use tracing_subscriber::EnvFilter;

/// Starts the log of this process; a second call changes nothing.
pub fn start(format: LogFormat, level: Level) {
    // Libraries speak up only when something is wrong, whatever our own level. lapin would show whole messages that were not taken, and
    // says once more, in several lines, what is said of the broker anyway.
    let ours = ["stacksync_server", "stacksync_chunks", "objectmq"].map(|name| format!("{name}={level}")).join(",");
    let filter = EnvFilter::new(format!("warn,lapin=off,{ours}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
}
