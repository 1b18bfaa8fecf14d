//! Plays random histories against StackSync, or against another tool, for as long as one likes, and lets the executable specification
//! judge them. What fails is shrunk and printed with the arguments that repeat it.
//!
//! ```text
//! histories --minutes 5                                 # new seeds for five minutes
//! histories --seed 17 [--only 0,1,4]                    # one history, or a part of it
//! histories --minutes 1 --shell 'my-sync "$@"' [--copied]  # another tool: the command gets the folders and brings them together;
//!                                                       # --copied: it takes a move as a copy and a deletion
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use stacksync_e2e::spec::cell::Moves;
use stacksync_e2e::spec::check::{Failure, play, shrink};
use stacksync_e2e::spec::history::History;
use stacksync_e2e::spec::subject::{Shell, StackSync, Subject};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Longest search for a shorter history.
const SHRINK_MAX: Duration = Duration::from_secs(240);

#[derive(Default)]
struct Arguments {
    seed: Option<u64>,
    only: Option<BTreeSet<u32>>,
    minutes: f64,
    shell: Option<String>,
    copied: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seed" => found.seed = Some(number(&value()?)?),
            "--only" => found.only = Some(value()?.split(',').map(number).collect::<Result<_, _>>()?),
            "--minutes" => found.minutes = number(&value()?)?,
            "--shell" => found.shell = Some(value()?),
            "--copied" => found.copied = true,
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    Ok(found)
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn main() -> ExitCode {
    match arguments() {
        Ok(arguments) => run(&arguments),
        Err(text) => {
            println!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> ExitCode {
    let make = |devices: usize| -> Box<dyn Subject> {
        match &arguments.shell {
            Some(command) => {
                let moves = if arguments.copied { Moves::Copied } else { Moves::Followed };
                Box::new(Shell::new(devices, command, moves))
            }
            None => Box::new(StackSync::new(devices)),
        }
    };
    let start = Instant::now();
    let first =
        arguments.seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() % 1_000_000_000));
    let mut played = 0;
    loop {
        let history = History::of(first + played);
        let history = arguments.only.as_ref().map_or(history.clone(), |only| history.only(only));
        played += 1;
        if let Err(failure) = play(&history, &make) {
            println!("{failure}\n\nshrinking ...");
            let short: Failure = shrink(failure, &make, SHRINK_MAX);
            println!("{short}");
            return ExitCode::FAILURE;
        }
        if start.elapsed().as_secs_f64() >= arguments.minutes * 60.0 {
            println!("{played} histories from seed {first} on are explained, in {:.0} s", start.elapsed().as_secs_f64());
            return ExitCode::SUCCESS;
        }
    }
}
