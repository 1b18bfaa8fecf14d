//! The commands and their options.

use crate::home::Schedule;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; of `sync --once`: both sides agree
  1  wrong usage, or something failed that the message explains
  2  not in sync: problems remain, deletions are held, or the device is paused
  3  the service cannot be reached
  4  the service does not accept this device or join code, or is not the one that this device knows
  5  another stacksync is running with the same home";

const LIMITS: &str = "\
A LIMIT is
  off                                 as fast as it can
  500KiB/s, 10Mbit/s, 1.5MB/s         so many bytes per second, at least 4KiB/s
  22:00-06:00=off, 1MiB/s             by the hours of this computer's clock: the first that fit count,
                                      what has none counts for the rest of the time
  Mon-Fri 08:00-18:00=200KiB/s        also by the days of the week
It counts for all files of this device together, and at once, also if `sync` is running.";

/// Keeps a folder of this computer the same as on your other devices, on storage that you own.
#[derive(Debug, Parser)]
#[command(name = "stacksync", version, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Args {
    /// Directory with everything this device knows; another one is another device
    #[arg(long, global = true, env = "STACKSYNC_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Tell on the error output what is going on
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make this computer a device of your account, and DIR the folder that it keeps
    Join(Join),
    /// Keep the folder in sync until stopped
    Sync(Sync),
    /// Show how fast this device may send and receive, or change it
    #[command(after_help = LIMITS)]
    Limit(LimitArgs),
    /// Whether both sides agree, and what stands in the way
    Status,
    /// What would be done now, and why
    Plan,
    /// Why a file is as it is, or will change
    Why {
        /// A file or folder in the synced folder
        path: PathBuf,
    },
    /// What was done
    Log {
        /// Only about this file or folder
        path: Option<PathBuf>,
        /// Only the newest so many lines
        #[arg(short = 'n', long, default_value_t = 1000, value_name = "COUNT")]
        lines: u32,
    },
    /// Which ignore rule matches a path, if any
    CheckIgnore {
        /// A file or folder in the synced folder
        path: PathBuf,
    },
    /// Change nothing on either side until `resume`
    Pause,
    /// Go on after `pause`
    Resume,
    /// Let the deletions pass that are held because there are so many
    Approve,
    /// Undo the held deletions: what is missing comes back from the service
    Restore,
    /// Forget the service; the folder and its files stay as they are
    Leave,
    /// Print a script that completes commands in your shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Options of `sync`.
#[derive(Debug, clap::Args)]
pub struct Sync {
    /// Stop when both sides agree
    #[arg(long)]
    pub once: bool,
    /// For this run: how fast it may send, e.g. 1MiB/s, or "22:00-06:00=off, 1MiB/s"; see `limit`
    #[arg(long, value_name = "LIMIT")]
    pub limit_up: Option<Schedule>,
    /// For this run: how fast it may receive
    #[arg(long, value_name = "LIMIT")]
    pub limit_down: Option<Schedule>,
}

/// Options of `limit`.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// How fast it may send
    #[arg(long, value_name = "LIMIT")]
    pub up: Option<Schedule>,
    /// How fast it may receive
    #[arg(long, value_name = "LIMIT")]
    pub down: Option<Schedule>,
}

/// Options of `join`.
#[derive(Debug, clap::Args)]
pub struct Join {
    /// Address of the service, as `stacksync-server` printed it
    pub url: String,
    /// The one-time join code, all of it
    pub code: String,
    /// The folder to keep in sync; made if it does not exist
    pub dir: PathBuf,
    /// Name of this device, for people; the computer's name if not given
    #[arg(long)]
    pub name: Option<String>,
    /// Send everything unencrypted to another computer (only where the network in between is yours)
    #[arg(long)]
    pub allow_plain_http: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn commands_are_understood() {
        Args::command().debug_assert();
        let args = parse("stacksync join http://localhost:1 CODE dir --name laptop --home h").unwrap();
        assert_eq!(args.home, Some("h".into()));
        assert!(matches!(args.command, Command::Join(join) if join.name.as_deref() == Some("laptop") && !join.allow_plain_http));
        assert!(matches!(parse("stacksync --home h sync --once").unwrap().command, Command::Sync(Sync { once: true, .. })));
        assert!(matches!(parse("stacksync sync").unwrap().command, Command::Sync(Sync { once: false, limit_up: None, .. })));
        let limited = parse("stacksync sync --limit-up 1MiB/s --limit-down off").unwrap().command;
        assert!(matches!(limited, Command::Sync(Sync { limit_up: Some(_), limit_down: Some(_), .. })));
        assert!(matches!(parse("stacksync limit --up 22:00-06:00=off,1MiB/s").unwrap().command, Command::Limit(_)));
        assert!(parse("stacksync status --json").unwrap().json);
        assert!(matches!(parse("stacksync log -n 3 a/b").unwrap().command, Command::Log { lines: 3, path: Some(_) }));
        for line in [
            "stacksync",
            "stacksync join http://x",
            "stacksync why",
            "stacksync dance",
            "stacksync sync --twice",
            "stacksync limit --up fast",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    /// The help is part of what people rely on: a change to it is made on purpose.
    #[test]
    fn the_help_is_as_written_down() {
        let mut command = Args::command().term_width(100);
        let mut help = command.render_long_help().to_string();
        for name in ["join", "sync", "limit", "log"] {
            let sub = command.find_subcommand_mut(name).unwrap();
            help.push_str(&format!("\n--- {name}\n{}", sub.clone().term_width(100).render_help()));
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/help.txt");
        if std::env::var_os("STACKSYNC_BLESS").is_some() {
            std::fs::write(file, &help).unwrap();
        }
        assert_eq!(help, std::fs::read_to_string(file).unwrap(), "with STACKSYNC_BLESS=1 this test writes {file}");
    }
}
