//! The command line: what the original's had, and commands for users, workspaces and devices.
//!
//! Parsing only; what the commands do is in [`crate::admin`] and [`crate::process`].

pub mod exit;

use crate::config::{self, LogFormat, Sources};
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// The version line, in the words of the original.
pub const VERSION_LINE: &str = concat!("StackSync SyncService v", env!("CARGO_PKG_VERSION"));

const USAGE: &str = "stacksync-server [OPTION]... [FILE]\n       stacksync-server [OPTION]... COMMAND";

const AFTER_HELP: &str = "\
Without a command the service runs until it is told to stop (SIGTERM, Ctrl-C).
Without a configuration it keeps its data in the platform's data directory and
listens on 127.0.0.1:8181. The commands work beside a running service, and
without one.

  stacksync-server                            run, for this computer
  STACKSYNC_HTTP_LISTEN=0.0.0.0:8181 \\
      stacksync-server                        run, for the network, with TLS
  stacksync-server user add anna \\
      --email anna@example.org                add a user; prints a join code
  stacksync-server device invite anna         a code for one more device";

/// The sync service of StackSync.
#[derive(Debug, Parser)]
#[command(name = "stacksync-server", override_usage = USAGE, after_help = AFTER_HELP, disable_version_flag = true)]
#[command(args_conflicts_with_subcommands = false, subcommand_negates_reqs = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Configuration file (Java properties)
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Directory of everything the service keeps
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// Form of the log, on standard error
    #[arg(long, value_name = "FORM", global = true)]
    pub log_format: Option<LogFormat>,
    /// Print every configuration key with its default and what it does
    #[arg(long)]
    pub dump_config: bool,
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::SetTrue)]
    pub version: bool,
    /// Configuration file, as with --config
    #[arg(value_name = "FILE", hide = true)]
    pub file: Option<PathBuf>,
    /// What to do instead of running the service
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Users: add, list, show, quota, passwd, disable, enable, remove
    #[command(subcommand)]
    User(UserCommand),
    /// Workspaces: add, list
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Devices: invite, list, revoke
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Instances that share a database: status
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// The chunk storage: check, gc, scrub, migrate
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Copy all metadata to an empty store: to grow from a file to a database, or to go back
    Copy {
        /// A data directory, or postgres://user:password@host/database
        #[arg(long, value_name = "DIR|URL")]
        to: String,
        #[command(flatten)]
        output: Output,
    },
    /// Take in users, devices, workspaces and items from a database of the original StackSync, which is only read
    Import {
        /// The database: postgres://user:password@host/database
        #[arg(long, value_name = "URL")]
        from: String,
        /// Time zone in which the original's service ran, e.g. Europe/Madrid
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        time_zone: String,
        /// What one unit of a quota means in that database, e.g. "1 GiB"
        #[arg(long, value_name = "SIZE", value_parser = config::value::size)]
        quota_unit: Option<u64>,
        /// Where the original's containers are: a configuration file with storage=swift, or a directory with one for each; their chunks
        /// are brought, too
        #[arg(long, value_name = "FILE|DIR")]
        chunks: Option<PathBuf>,
        /// Passwords of encrypted workspaces: lines WORKSPACE=PASSWORD
        #[arg(long, value_name = "FILE", requires = "chunks")]
        passwords: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Where a password comes from.
#[derive(Clone, Copy, Debug, Args)]
pub struct PasswordSource {
    /// Read the password from standard input (its first line)
    #[arg(long)]
    pub password_stdin: bool,
}

/// Commands on users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user and print the code that joins the first device
    Add {
        /// Name of the user
        name: String,
        /// E-mail address
        #[arg(long)]
        email: String,
        /// What the user may keep, e.g. "10 GiB", "unlimited"
        #[arg(long, value_name = "SIZE", value_parser = config::value::size)]
        quota: Option<u64>,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        output: Output,
    },
    /// List all users
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show a user with workspaces and devices
    Show {
        /// Name, e-mail address or id
        user: String,
        #[command(flatten)]
        output: Output,
    },
    /// Change what a user may keep
    Quota {
        /// Name, e-mail address or id
        user: String,
        /// E.g. "10 GiB", "unlimited"
        #[arg(value_name = "SIZE", value_parser = config::value::size)]
        quota: u64,
        #[command(flatten)]
        output: Output,
    },
    /// Set a user's password
    Passwd {
        /// Name, e-mail address or id
        user: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        output: Output,
    },
    /// Lock a user out; nothing is deleted
    Disable {
        /// Name, e-mail address or id
        user: String,
        #[command(flatten)]
        output: Output,
    },
    /// Let a disabled user in again
    Enable {
        /// Name, e-mail address or id
        user: String,
        #[command(flatten)]
        output: Output,
    },
    /// Remove a user with all workspaces, their history and their chunks
    Remove {
        /// Name, e-mail address or id
        user: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        output: Output,
    },
}

/// Commands on workspaces.
#[derive(Debug, Subcommand)]
pub enum WorkspaceCommand {
    /// Add a workspace for a user
    Add {
        /// Name, e-mail address or id of the user
        #[arg(long)]
        user: String,
        /// The folder that it becomes, at the top of the user's own
        #[arg(long, value_name = "NAME", default_value = "Workspace")]
        path: String,
        #[command(flatten)]
        output: Output,
    },
    /// List workspaces
    List {
        /// Only those of this user
        #[arg(long)]
        user: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

/// Commands on devices.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Print a code that joins one more device
    Invite {
        /// Name, e-mail address or id of the user
        user: String,
        #[command(flatten)]
        output: Output,
    },
    /// List devices
    List {
        /// Only those of this user
        user: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Lock a device out for good; what it holds stays on it
    Revoke {
        /// Id of the device, from `device list`
        device: String,
        #[command(flatten)]
        output: Output,
    },
}

/// Commands on the chunk storage.
#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// Try out what the configured storage can do; fails (8) if the service cannot use it
    Check {
        #[command(flatten)]
        output: Output,
    },
    /// Collect chunks that no version names, beside a running service: set aside now, removed by a run after the grace time
    Gc {
        /// Younger chunks are left alone; longer than any commit takes
        #[arg(long, value_name = "TIME", default_value = "1d", value_parser = config::value::time)]
        grace: std::time::Duration,
        /// Take a grace time of less than an hour
        #[arg(long)]
        no_device_is_at_work: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Copy all chunks to another storage, beside a running service; what is there already is left out
    Migrate {
        /// Configuration file with the other storage
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Read every chunk that a version names and check it; what is damaged is set aside; fails (8) if anything is wrong
    Scrub {
        #[command(flatten)]
        output: Output,
    },
}

/// Commands on instances.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show the instances, what waits in the database and the queues, and what is wrong; fails (8) if something is
    Status {
        /// How many instances should live at least
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        expect: usize,
        #[command(flatten)]
        output: Output,
    },
}

impl Cli {
    /// What the configuration is made of.
    pub fn sources(&self, environment: impl Iterator<Item = (OsString, OsString)>) -> Sources {
        let mut options = Vec::new();
        if let Some(data) = &self.data {
            options.push(("data", data.to_string_lossy().into_owned()));
        }
        if let Some(format) = self.log_format {
            let word = match format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            };
            options.push(("log.format", word.to_owned()));
        }
        Sources { file: self.config.clone().or_else(|| self.file.clone()), environment: environment.collect(), options }
    }

    /// The completions of this shell.
    pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Self::command(), "stacksync-server", &mut script);
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("stacksync-server").chain(line.split_whitespace()))
    }

    #[test]
    fn the_table_of_commands_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_original_took_is_taken() {
        for line in ["-c f", "--config f", "f", "--config=f"] {
            let file = parse(line).unwrap().sources(std::iter::empty()).file;
            assert_eq!(file, Some(PathBuf::from("f")), "{line}");
        }
        for line in ["-v", "-V", "--version"] {
            assert!(parse(line).unwrap().version, "{line}");
        }
        assert!(parse("--dump-config").unwrap().dump_config);
        for line in ["-h", "--help"] {
            let help = parse(line).unwrap_err();
            assert_eq!(help.kind(), clap::error::ErrorKind::DisplayHelp);
            assert!(help.to_string().contains("Usage: stacksync-server [OPTION]..."));
        }
        for line in ["--wrong", "-c", "a b", "user", "user add", "--log-format loud", "user quota anna much"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn data_and_config_stand_before_and_after_the_command() {
        for line in ["--data d -c f user list --json", "user --data d list -c f --json", "user list --json --data d --config f"] {
            let cli = parse(line).unwrap();
            assert_eq!((cli.data.as_deref(), cli.config.as_deref()), (Some("d".as_ref()), Some("f".as_ref())), "{line}");
            assert!(matches!(cli.command, Some(Command::User(UserCommand::List { output: Output { json: true } }))));
        }
    }

    #[test]
    fn every_command_parses() {
        for line in [
            "user add anna --email a@b --quota 5G --password-stdin --json",
            "user show anna --json",
            "user quota anna unlimited",
            "user passwd anna --password-stdin",
            "user disable anna",
            "user enable anna",
            "user remove anna --yes",
            "workspace add --user anna --path Photos --json",
            "workspace list --json",
            "device invite anna --json",
            "device list anna",
            "device revoke 6f1c",
            "cluster status --expect 3 --json",
            "storage check --json",
            "storage gc --grace 2d --dry-run --json",
            "storage gc --grace 1s --no-device-is-at-work",
            "storage scrub",
            "storage migrate --to new.properties --json",
            "copy --to postgres://a:b@c/d --json",
            "import --from postgres://a:b@c/d --chunks old.properties --passwords secret",
            "import --from postgres://a:b@c/d --time-zone Europe/Madrid --quota-unit 1GiB --json",
            "completions bash",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        assert!(String::from_utf8(Cli::completions(clap_complete::Shell::Bash)).unwrap().contains("stacksync-server"));
    }
}
