//! Where text goes: answers to the standard output, failures and explanations to the error output.

use super::exit::Failure;
use serde::Serialize;
use std::io::Write;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// For people.
    Text,
    /// For programs: one JSON value.
    Json,
}

impl Out {
    /// As the option `--json` says.
    pub const fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// Prints the answer. Who reads it may have gone away: that is no failure of the command.
    pub fn answer(self, value: &impl Serialize, text: impl FnOnce() -> String) {
        let text = match self {
            Self::Text => text(),
            Self::Json => serde_json::to_string_pretty(value).unwrap_or_default(),
        };
        let text = text.trim_end_matches('\n');
        if !text.is_empty() {
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }

    /// Says what went wrong.
    pub fn failure(self, failure: &Failure) {
        #[derive(Serialize)]
        struct Wire<'a> {
            error: &'a str,
            advice: &'a str,
            exit: u8,
        }
        let mut err = std::io::stderr();
        let _ = match self {
            Self::Text if failure.advice.is_empty() => writeln!(err, "stacksync: {}", failure.message),
            Self::Text => writeln!(err, "stacksync: {}\n{}", failure.message, failure.advice),
            Self::Json => {
                let wire = Wire { error: &failure.message, advice: &failure.advice, exit: failure.exit as u8 };
                writeln!(err, "{}", serde_json::to_string(&wire).unwrap_or_default())
            }
        };
    }
}

/// With `--verbose` everything that this program's parts say, else only their warnings.
pub fn start_logging(verbose: bool) {
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::WARN };
    let ours = Targets::new().with_target("stacksync", level).with_target("objectmq", level).with_default(LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(verbose);
    let _ = tracing_subscriber::registry().with(lines).with(ours).try_init();
}
