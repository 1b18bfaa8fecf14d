//! The StackSync service as a library: everything that the binary `stacksync-server` does, so that tests can start it in-process.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod db;

pub mod accounts;
mod admin;
mod cli;
pub mod config;
pub mod data_dir;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
pub mod http;
pub mod legacy;
pub mod log;
pub mod metrics;
pub mod process;
mod secrets;
pub mod service;
pub mod storage;

use clap::Parser;
use cli::exit::{Exit, Failure};
use cli::{Cli, Command};
use std::ffi::OsString;
use std::io::Write;

/// Runs the program with these arguments (the program's name first) and this environment. Returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: impl Iterator<Item = (OsString, OsString)>) -> i32 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(shown) => {
            // Help goes to standard output, the rest to standard error; nothing helps if they are closed.
            let _ = shown.print();
            return if shown.use_stderr() { Exit::Usage as i32 } else { 0 };
        }
    };
    match answer(&cli, environment) {
        Ok(text) => {
            let _ = std::io::stdout().write_all(&text);
            0
        }
        Err(failure) => {
            let _ = std::io::stdout().write_all(failure.printed.as_bytes());
            eprintln!("{failure}");
            failure.exit as i32
        }
    }
}

/// Does what was asked for; the answer is for standard output.
fn answer(cli: &Cli, environment: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<u8>, Failure> {
    if cli.version {
        return Ok(format!("{}\n", cli::VERSION_LINE).into_bytes());
    }
    if cli.dump_config {
        return Ok(config::table::dump().into_bytes());
    }
    if let Some(Command::Completions { shell }) = cli.command {
        return Ok(Cli::completions(shell));
    }
    let config = config::load(&cli.sources(environment))?;
    // What is kept here is nobody else's to read.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    log::start(config.log_format, if cli.command.is_some() { tracing::Level::WARN } else { config.log_level });
    match &cli.command {
        Some(command) => admin::run(&config, command).map(String::into_bytes),
        None => process::run(&config).map(|()| Vec::new()),
    }
}
