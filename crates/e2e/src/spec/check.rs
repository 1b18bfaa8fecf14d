//! Plays histories against a tool and lets the oracle judge them; shrinks what fails.

use super::history::{Action, History};
use super::oracle::{Oracle, Picture};
use super::person::Person;
use super::subject::Subject;
use super::value::Value;
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

/// So often a shorter history may pass before it counts as harmless: what runs side by side does not run the same twice.
const TRIES: usize = 2;

/// Makes a tool with so many devices, fresh.
pub type Make<'a> = dyn Fn(usize) -> Box<dyn Subject> + 'a;

/// A history that cannot be explained.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The history.
    pub history: History,
    /// What is wrong with it.
    pub text: String,
    /// What was done, step by step.
    pub log: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.log.join("\n"))?;
        writeln!(f, "{}", self.text)?;
        write!(f, "again: cargo run -p stacksync-e2e --bin histories -- {}", self.history.replay())
    }
}

/// Plays a history to its end.
///
/// # Errors
/// What cannot be explained.
///
/// # Panics
/// If the tool cannot be started at all.
pub fn play(history: &History, make: &Make<'_>) -> Result<(), Failure> {
    let mut stage = Stage::new(history, make);
    let mut log = Vec::new();
    let mut all = history.actions.clone();
    if !matches!(all.last(), Some((_, Action::Settle))) {
        all.push((u32::MAX, Action::Settle));
    }
    for (number, action) in all {
        if let Err(text) = stage.play(number, action, &mut log) {
            return Err(Failure { history: history.clone(), text, log });
        }
    }
    Ok(())
}

struct Stage {
    subject: Box<dyn Subject>,
    people: Vec<Person>,
    oracle: Oracle,
}

impl Stage {
    fn new(history: &History, make: &Make<'_>) -> Self {
        let subject = make(history.devices);
        let person = |root: &std::path::PathBuf| Person::new(root, root.with_file_name("aside")).expect("a folder can be made");
        let people = subject.roots().iter().map(person).collect();
        let oracle = Oracle::new(history.devices, subject.moves());
        Self { subject, people, oracle }
    }

    fn play(&mut self, number: u32, action: Action, log: &mut Vec<String>) -> Result<(), String> {
        match action {
            Action::Do { device, verb, dice } => {
                match self.people[device].act(verb, dice, Value(number)) {
                    Ok(events) => {
                        for event in events {
                            log.push(format!("{number}: on {device}: {event:?}"));
                            self.oracle.happened(device, &event).map_err(|violation| violation.to_string())?;
                        }
                        Ok(())
                    }
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error.to_string()),
                    // The tool was faster, or there is nothing to do it with.
                    Err(error) => {
                        log.push(format!("{number}: on {device}: no {verb:?}: {error}"));
                        Ok(())
                    }
                }
            }
            Action::Stop(device) => {
                log.push(format!("{number}: {device} goes off"));
                self.subject.stop(device);
                Ok(())
            }
            Action::Start(device) => {
                log.push(format!("{number}: {device} goes on"));
                self.subject.start(device);
                Ok(())
            }
            Action::Wait(ms) => {
                std::thread::sleep(Duration::from_millis(ms));
                Ok(())
            }
            Action::Settle => self.settle(number, log),
        }
    }

    fn settle(&mut self, number: u32, log: &mut Vec<String>) -> Result<(), String> {
        let look = |people: &[Person]| -> Vec<Picture> { people.iter().map(Person::look).collect() };
        let before = look(&self.people);
        self.subject.settle()?;
        let after = look(&self.people);
        log.push(format!("{number}: all is settled: {:?}", after[0]));
        self.oracle.settled(&before, &after).map_err(|violation| violation.to_string())?;
        self.people.iter_mut().for_each(Person::rest);
        Ok(())
    }
}

/// A shorter history that fails too, as far as it can be found within this time.
pub fn shrink(failure: Failure, make: &Make<'_>, budget: Duration) -> Failure {
    let start = Instant::now();
    let mut best = failure;
    let mut part = best.history.actions.len() / 2;
    while part > 0 {
        let mut from = 0;
        while from < best.history.actions.len() {
            if start.elapsed() > budget {
                return best;
            }
            let kept: BTreeSet<u32> = numbers(&best.history, from, part);
            let shorter = best.history.only(&kept);
            match (0..TRIES).find_map(|_| play(&shorter, make).err()) {
                Some(failure) => best = failure,
                None => from += part,
            }
        }
        part /= 2;
    }
    best
}

fn numbers(history: &History, from: usize, part: usize) -> BTreeSet<u32> {
    let left_out = from..from + part;
    history.actions.iter().enumerate().filter(|(at, _)| !left_out.contains(at)).map(|(_, (number, _))| *number).collect()
}

#[cfg(test)]
mod tests {
    use super::super::cell::Moves;
    use super::super::subject::Shell;
    use super::*;

    /// Copies what is newer from each folder to each other one: a deletion comes back, and of two edits the older one is lost.
    const NAIVE: &str = include_str!("../../tests/fixtures/naive-sync.sh");

    fn naive(devices: usize) -> Box<dyn Subject> {
        Box::new(Shell::new(devices, NAIVE, Moves::Copied))
    }

    /// The seam holds another tool, and what is wrong with that one is found and made small.
    #[test]
    fn a_naive_tool_is_caught() {
        let failures: Vec<Failure> = (0..10).filter_map(|seed| play(&History::of(seed), &naive).err()).collect();
        assert!(failures.len() >= 8, "only {} of 10 histories were caught", failures.len());
        let lost = failures.iter().filter(|failure| failure.text.contains("is left, possible is")).count();
        assert!(lost > 0, "{}", failures[0]);
        let long = failures[0].history.actions.len();
        let short = shrink(failures[0].clone(), &naive, Duration::from_secs(20));
        assert!(short.history.actions.len() * 3 < long, "{short}");
        assert!(play(&short.history, &naive).is_err(), "the replay line does not fail: {short}");
    }
}
