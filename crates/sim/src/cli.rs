//! The program `sim`: what its arguments mean.

use crate::hunt::{self, Hunt, Progress};
use crate::report::{Found, Report};
use crate::shrink::{Bound, shrink};
use crate::{Scenario, planner, run, seeds};
use clap::Parser;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Exit codes: everything held, something failed, the arguments make no sense.
const OK: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;

/// Runs StackSync's real engine, planner, service and store in a simulated world of laptops, people, networks and disks that
/// fail, and checks that nothing is ever lost.
///
/// A world comes out of one number, its seed: the same seed gives the same world, byte for byte. Without a mode it runs the
/// worlds 0, 1, 2, ... for one minute.
#[derive(Debug, Parser)]
#[command(name = "sim", max_term_width = 120, after_help = EXAMPLES)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line")]
struct Arguments {
    #[command(flatten)]
    one: OneWorld,
    #[command(flatten)]
    many: ManyWorlds,
    /// Only the planner: so many cases, random triples of trees whose plan is carried out to its end. `10m` is ten million.
    #[arg(long, value_name = "CASES", value_parser = count, help_heading = "Other modes")]
    planner: Option<u64>,
    /// One case of the planner, step by step.
    #[arg(long, value_name = "N", help_heading = "Other modes")]
    planner_seed: Option<u64>,
    /// Runs the worlds of a file (see crates/sim/seeds.txt), each twice. `fixed` means the file that is built in.
    #[arg(long, value_name = "FILE", help_heading = "Other modes")]
    seeds: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  sim --seed 4711                  one world: its verdict, and why it failed if it did
  sim --seed 4711 --trace          the same, with everything that happened in it
  sim --seed 4711 --skip 3,5 --faults Cut=50
                                   the arguments that a failing run prints run the shrunk world again
  sim --minutes 30 --jobs 2 --report report.md
                                   many worlds; failures are shrunk and go to report.failures.txt as they come
  sim --planner 10m --jobs 2       ten million planner cases
  sim --planted                    switches deliberate bugs on, one by one: each must be found
                                   (as ./scripts/simulate --planted does: the bugs are only in a program with
                                   --features planted-bugs)

Exit code: 0 everything held, 1 something failed, 2 the arguments make no sense.";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "One world")]
struct OneWorld {
    /// Runs this world.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Prints what happened in it, step by step.
    #[arg(long)]
    trace: bool,
    /// Makes it smaller if it fails.
    #[arg(long)]
    shrink: bool,
    /// The user of each laptop: 0,0,1.
    #[arg(long, value_name = "LIST", requires = "seed")]
    users: Option<String>,
    /// The file system of each laptop.
    #[arg(long, value_name = "LIST", requires = "seed")]
    flavours: Option<String>,
    /// The laptops that follow each workspace: 0,1,2/0,2.
    #[arg(long, value_name = "LISTS", requires = "seed")]
    workspaces: Option<String>,
    /// Steps of people.
    #[arg(long, value_name = "N", requires = "seed")]
    steps: Option<String>,
    /// Steps of people that are left out.
    #[arg(long, value_name = "LIST", requires = "seed")]
    skip: Option<String>,
    /// Items that are there at the beginning.
    #[arg(long, value_name = "N", requires = "seed")]
    start: Option<String>,
    /// Steps of the world between two steps of people, at most.
    #[arg(long, value_name = "N", requires = "seed")]
    pause: Option<String>,
    /// What goes wrong, and how often in 10,000: Cut=50,DiskFull=20, or none.
    #[arg(long, value_name = "RATES", requires = "seed")]
    faults: Option<String>,
    /// With --seed: plants this bug in the world. Else: plants all bugs, or this one, one after the other; each must be found.
    #[arg(long, value_name = "BUG", num_args = 0..=1, default_missing_value = "all")]
    planted: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Many worlds")]
struct ManyWorlds {
    /// How long, in minutes; 0.5 is half a minute.
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// How many worlds at most.
    #[arg(long, value_name = "N", value_parser = count)]
    worlds: Option<u64>,
    /// Threads.
    #[arg(long, value_name = "J", default_value_t = 1)]
    jobs: usize,
    /// The first seed; `random` draws one and says which.
    #[arg(long, value_name = "SEED", default_value = "0")]
    from: String,
    /// Ends after so many failures.
    #[arg(long, value_name = "N", default_value_t = 20)]
    failures_max: usize,
    /// Writes the report there, every minute and at the end: .md, .json or text. Beside it go the failures as they come
    /// (.failures.txt) and the seeds that run now (.running).
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
    /// Shrinks each failure for so many seconds at most.
    #[arg(long, value_name = "S", default_value_t = 60)]
    shrink_seconds: u64,
    /// With --planted: how many worlds a bug may take, instead of the number that is stated for it.
    #[arg(long, value_name = "N")]
    seeds_each: Option<u64>,
}

/// `10m`, `300k`, `77`.
fn count(text: &str) -> Result<u64, String> {
    let (digits, times) = match text.as_bytes().last() {
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text} is not a number"))?;
    number.checked_mul(times).ok_or_else(|| format!("{text} is too much"))
}

/// Runs the program with the arguments of the process; returns its exit code.
pub fn main() -> i32 {
    match start(&Arguments::parse()) {
        Ok(code) => code,
        Err(text) => {
            eprintln!("sim: {text}");
            USAGE
        }
    }
}

fn start(arguments: &Arguments) -> Result<i32, String> {
    if let Some(seed) = arguments.planner_seed {
        return Ok(one_planner_case(seed));
    }
    if let Some(seed) = arguments.one.seed {
        return one_world(&arguments.one, seed);
    }
    if let Some(bug) = &arguments.one.planted {
        return planted(arguments, bug);
    }
    if let Some(file) = &arguments.seeds {
        return fixed_worlds(arguments, file);
    }
    let hunt = hunt_of(arguments)?;
    let stop = stop_on_signals();
    let report = match arguments.planner {
        Some(count) => hunt::planner_cases(&Hunt { count, time: time(arguments, None)?, ..hunt }, &stop),
        None => hunt::worlds(&hunt, &stop),
    };
    Ok(tell(arguments, &report))
}

fn one_planner_case(seed: u64) -> i32 {
    println!("{}", planner::trace(seed).join("\n"));
    match planner::run(seed) {
        Ok(_) => OK,
        Err(broken) => {
            println!("{broken}\n  sim --planner-seed {seed}");
            FAILED
        }
    }
}

impl OneWorld {
    fn scenario(&self, seed: u64) -> Result<Scenario, String> {
        let mut text = format!("--seed {seed}");
        let parts = [
            ("users", &self.users),
            ("flavours", &self.flavours),
            ("workspaces", &self.workspaces),
            ("steps", &self.steps),
            ("start", &self.start),
            ("pause", &self.pause),
            ("skip", &self.skip),
            ("faults", &self.faults),
            ("planted", &self.planted),
        ];
        for (word, value) in parts {
            text += &value.as_ref().map_or_else(String::new, |value| format!(" --{word} {value}"));
        }
        Scenario::parse(&text)
    }
}

fn one_world(one: &OneWorld, seed: u64) -> Result<i32, String> {
    let scenario = one.scenario(seed)?;
    let outcome = run(&scenario);
    if one.trace || outcome.failure.is_some() {
        println!("{}", outcome.trace.join("\n"));
    }
    let again = run(&scenario);
    if again.digest != outcome.digest {
        println!("SameAgain: two runs differ ({} and {} steps)\n  sim {scenario}", outcome.steps, again.steps);
        return Ok(FAILED);
    }
    let Some(failure) = outcome.failure else {
        println!("held: {} steps, run twice and equal ({})", outcome.steps, hex(&outcome.digest));
        return Ok(OK);
    };
    let smaller = if one.shrink { shrink(&scenario, failure.check, Bound::default()) } else { scenario.clone() };
    println!("{}", Found::new(&scenario, &smaller, failure.check, &failure.to_string()));
    Ok(FAILED)
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn fixed_worlds(arguments: &Arguments, file: &std::path::Path) -> Result<i32, String> {
    let text = match file.to_str() {
        Some("fixed") => seeds::FIXED.to_owned(),
        _ => std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?,
    };
    let scenarios: Vec<Scenario> = seeds::read(&text)?.into_iter().map(|fixed| fixed.scenario).collect();
    Ok(tell(arguments, &hunt::fixed(&scenarios)))
}

fn time(arguments: &Arguments, usual: Option<f64>) -> Result<Duration, String> {
    let Some(minutes) = arguments.many.minutes.or(usual) else { return Ok(Duration::MAX) };
    Duration::try_from_secs_f64(minutes * 60.0).map_err(|_| format!("--minutes {minutes} makes no sense"))
}

fn hunt_of(arguments: &Arguments) -> Result<Hunt, String> {
    let many = &arguments.many;
    let from = match many.from.as_str() {
        "random" => {
            let seed = random_seed()?;
            eprintln!("the first seed is {seed}");
            seed
        }
        text => count(text)?,
    };
    Ok(Hunt {
        from,
        count: many.worlds.unwrap_or(u64::MAX),
        time: time(arguments, many.worlds.is_none().then_some(1.0))?,
        jobs: many.jobs.max(1),
        failures_max: many.failures_max.max(1),
        failures: many.report.as_ref().map(|file| file.with_extension("failures.txt")),
        report: many.report.clone(),
        shrink: Bound { time: Duration::from_secs(many.shrink_seconds), ..Bound::default() },
        planted: None,
        progress: Progress::Shown,
    })
}

/// The one thing here that is not the same every time: where to begin.
fn random_seed() -> Result<u64, String> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(u64::from(u32::from_le_bytes(bytes)))
}

fn tell(arguments: &Arguments, report: &Report) -> i32 {
    if arguments.many.json {
        print!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    if report.failures.is_empty() { OK } else { FAILED }
}

#[cfg(feature = "planted-bugs")]
fn planted(arguments: &Arguments, bug: &str) -> Result<i32, String> {
    let stop = stop_on_signals();
    crate::planted::table(bug, arguments.many.seeds_each, &hunt_of(arguments)?, &stop)
}

#[cfg(not(feature = "planted-bugs"))]
fn planted(_: &Arguments, _: &str) -> Result<i32, String> {
    Err("this program has no planted bugs in it: cargo run --release -p stacksync-sim --features planted-bugs -- --planted".into())
}

/// Raised by SIGINT and SIGTERM; the second one ends the program at once.
fn stop_on_signals() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if raised.swap(true, Ordering::Relaxed) {
                    std::process::exit(FAILED);
                }
            }
        });
    });
    stop
}
