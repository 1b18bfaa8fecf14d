//! The command line: what a person types, and what they read.
//!
//! A command asks the other modules and prints; it decides nothing about files.

mod args;
mod exit;
mod flags;
mod join;
mod limit;
mod log;
mod out;
mod place;
mod plan;
mod progress;
mod status;
mod sync;

use args::{Args, Command};
use clap::{CommandFactory, Parser};
use exit::{Exit, Failure};
use out::Out;
use std::process::ExitCode;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Other.into() } else { Exit::Done.into() };
        }
    };
    out::start_logging(args.verbose);
    let out = Out::new(args.json);
    match run(args, out) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            out.failure(&failure);
            failure.exit.into()
        }
    }
}

fn run(args: Args, out: Out) -> Result<Exit, Failure> {
    let home = crate::home::Home::locate(args.home)?;
    match args.command {
        Command::Join(join) => join::join(&home, &join, out),
        Command::Leave => join::leave(&home, out),
        Command::Log { path, lines } => log::log(&home, path.as_deref(), lines, out),
        Command::Pause => flags::pause(&home, out),
        Command::Resume => flags::resume(&home, out),
        Command::Sync(wanted) => sync::sync(&home, wanted, out),
        Command::Limit(wanted) => limit::limit(&home, wanted, out),
        Command::Status => status::status(&home, out),
        Command::Plan => plan::plan(&home, out),
        Command::Why { path } => plan::why(&home, &path, out),
        Command::CheckIgnore { path } => plan::check_ignore(&home, &path, out),
        Command::Approve => flags::approve(&home, out),
        Command::Restore => flags::restore(&home, out),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "stacksync", &mut std::io::stdout());
            Ok(Exit::Done)
        }
    }
}

/// One thread is enough to ask and wait.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Other, format!("cannot start: {error}"), ""))
}
