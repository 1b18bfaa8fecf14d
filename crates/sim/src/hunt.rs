//! Runs many worlds, or many planner cases, on a few threads until the time is up, somebody stops it or enough has failed.
//!
//! Failures are written down as they come and the run goes on; a report is written every minute and at the end, also when the
//! program is asked to stop.

use crate::outcome::Check;
use crate::report::{Ended, Found, Report};
use crate::shrink::{Bound, shrink};
use crate::{Scenario, failing, planner, run, run_once};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Of so many new worlds one is run twice.
const TWICE_EVERY: u64 = 32;
/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// Between two reports on the way.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// A world that takes longer is named in the progress.
const SLOW: Duration = Duration::from_secs(30);
/// Seeds that a planner thread takes at once.
const PLANNER_SHARE: u64 = 4_096;

/// What to do.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The first seed.
    pub from: u64,
    /// How many worlds or cases at most.
    pub count: u64,
    /// How long at most.
    pub time: Duration,
    /// Threads.
    pub jobs: usize,
    /// Failures after which it ends.
    pub failures_max: usize,
    /// Where each failure is appended.
    pub failures: Option<PathBuf>,
    /// Where the report goes.
    pub report: Option<PathBuf>,
    /// How long a failing world is shrunk.
    pub shrink: Bound,
    /// The bug that is planted in every world.
    pub planted: Option<String>,
    /// Whether lines of progress are shown.
    pub progress: Progress,
}

/// Whether people watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A line every few seconds, to standard error.
    Shown,
    /// Nothing until the end.
    Silent,
}

impl Default for Hunt {
    fn default() -> Self {
        Self {
            from: 0,
            count: u64::MAX,
            time: Duration::MAX,
            jobs: 1,
            failures_max: 20,
            failures: None,
            report: None,
            shrink: Bound::default(),
            planted: None,
            progress: Progress::Silent,
        }
    }
}

/// What the threads share.
struct Shared<'a> {
    hunt: &'a Hunt,
    next: AtomicU64,
    stop: AtomicBool,
    started: Instant,
    report: Mutex<Report>,
    /// What each thread runs now, and since when.
    busy: Vec<Mutex<Option<(u64, Instant)>>>,
    running: AtomicU64,
    /// Beside the report: what each thread runs, for the case that a world takes the whole program down (a stack that overflows).
    diary: Option<std::fs::File>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs whole worlds.
pub fn worlds(hunt: &Hunt, asked_to_stop: &AtomicBool) -> Report {
    go(hunt, asked_to_stop, "worlds", |shared, thread| shared.world(thread))
}

/// Runs planner cases.
pub fn planner_cases(hunt: &Hunt, asked_to_stop: &AtomicBool) -> Report {
    go(hunt, asked_to_stop, "planner cases", |shared, thread| shared.cases(thread))
}

fn go(hunt: &Hunt, asked_to_stop: &AtomicBool, what: &'static str, work: fn(&Shared<'_>, usize) -> bool) -> Report {
    let shared = Shared {
        hunt,
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        started: Instant::now(),
        report: Mutex::new(Report { what, from: hunt.from, jobs: hunt.jobs, ..Report::default() }),
        busy: (0..hunt.jobs).map(|_| Mutex::default()).collect(),
        running: AtomicU64::new(hunt.jobs as u64),
        diary: hunt.report.as_ref().and_then(|file| std::fs::File::create(file.with_extension("running")).ok()),
    };
    std::thread::scope(|scope| {
        for thread in 0..hunt.jobs {
            let shared = &shared;
            scope.spawn(move || {
                let mut more = true;
                while more && !shared.stop.load(Ordering::Relaxed) {
                    more = work(shared, thread);
                }
                shared.running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        shared.watch(asked_to_stop);
    });
    shared.write_report();
    shared.report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Shared<'_> {
    /// Shows progress and ends the run.
    fn watch(&self, asked_to_stop: &AtomicBool) {
        let (mut told, mut written) = (Instant::now(), Instant::now());
        while self.running.load(Ordering::Relaxed) > 0 {
            // The threads look at the flag between two worlds; this is how late the end may be noticed.
            std::thread::sleep(Duration::from_millis(20));
            let ended = match () {
                () if asked_to_stop.load(Ordering::Relaxed) => Some(Ended::Asked),
                () if self.started.elapsed() >= self.hunt.time => Some(Ended::Time),
                () if lock(&self.report).failures.len() >= self.hunt.failures_max => Some(Ended::Failures),
                () => None,
            };
            if let Some(ended) = ended
                && !self.stop.swap(true, Ordering::Relaxed)
            {
                lock(&self.report).ended = ended;
                self.note_time();
                self.write_report();
            }
            if told.elapsed() >= PROGRESS_EVERY && self.hunt.progress == Progress::Shown {
                told = Instant::now();
                self.note_time();
                eprintln!("{}{}", lock(&self.report).progress_line(), self.slow_ones());
            }
            if written.elapsed() >= REPORT_EVERY {
                written = Instant::now();
                self.note_time();
                self.write_report();
            }
        }
        self.note_time();
    }

    fn note_time(&self) {
        lock(&self.report).seconds = self.started.elapsed().as_secs_f64();
    }

    fn slow_ones(&self) -> String {
        let slow = |busy: &Mutex<Option<(u64, Instant)>>| {
            let (seed, since) = (*lock(busy))?;
            (since.elapsed() > SLOW).then(|| format!(", seed {seed} for {} s", since.elapsed().as_secs()))
        };
        self.busy.iter().filter_map(slow).collect()
    }

    fn write_report(&self) {
        let Some(file) = &self.hunt.report else { return };
        let text = lock(&self.report).for_file(file);
        // A reader never finds half a report.
        let new = file.with_extension("new");
        if let Err(error) = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, file)) {
            eprintln!("the report could not be written to {}: {error}", file.display());
        }
    }

    /// The next seeds; `None` when there are enough.
    fn take(&self, share: u64) -> Option<std::ops::Range<u64>> {
        let first = self.next.fetch_add(share, Ordering::Relaxed);
        let end = first.saturating_add(share).min(self.hunt.count);
        (first < end).then(|| self.hunt.from.wrapping_add(first)..self.hunt.from.wrapping_add(end))
    }

    fn world(&self, thread: usize) -> bool {
        let Some(seed) = self.take(1).map(|seeds| seeds.start) else { return false };
        self.note_seed(thread, seed);
        let scenario = Scenario { planted: self.hunt.planted.clone(), ..Scenario::of(seed) };
        let began = Instant::now();
        let twice = seed.is_multiple_of(TWICE_EVERY);
        let outcome = if twice { run(&scenario) } else { run_once(&scenario) };
        let took = began.elapsed();
        let twice = twice && outcome.failure.is_none();
        let differs = twice && run(&scenario).digest != outcome.digest;
        lock(&self.report).add(seed, &outcome, took, u64::from(twice));
        match outcome.failure {
            // A world that fails without the planted bug too says nothing about it.
            Some(_) if scenario.planted.is_some() && run_once(&Scenario::of(seed)).failure.is_some() => {}
            Some(failure) => self.failed(&scenario, failure.check, &failure.to_string()),
            None if differs => self.found(Found::new(&scenario, &scenario, Check::SameAgain, "two runs differ")),
            None => {}
        }
        *lock(&self.busy[thread]) = None;
        true
    }

    fn note_seed(&self, thread: usize, seed: u64) {
        *lock(&self.busy[thread]) = Some((seed, Instant::now()));
        if let Some(diary) = &self.diary {
            // Of no use but after a crash; then the last one that could be written is better than none.
            let _ = diary.write_all_at(format!("--seed {seed:<24}\n").as_bytes(), thread as u64 * 32);
        }
    }

    fn failed(&self, scenario: &Scenario, check: Check, text: &str) {
        let smaller = shrink(scenario, check, self.hunt.shrink);
        let shrunk = run(&smaller).failure.map_or_else(|| text.to_owned(), |failure| failure.to_string());
        self.found(Found::new(scenario, &smaller, check, &shrunk));
    }

    fn found(&self, found: Found) {
        if self.hunt.progress == Progress::Shown {
            eprintln!("{found}");
        }
        if let Some(file) = &self.hunt.failures {
            let append = std::fs::OpenOptions::new().create(true).append(true).open(file);
            if let Err(error) = append.and_then(|mut file| writeln!(file, "{found}")) {
                eprintln!("a failure could not be written to {}: {error}", file.display());
            }
        }
        lock(&self.report).failures.push(found);
    }

    fn cases(&self, _thread: usize) -> bool {
        let Some(seeds) = self.take(PLANNER_SHARE) else { return false };
        let mut tally = planner::Tally::default();
        for seed in seeds {
            match planner::run(seed) {
                Ok(one) => tally.add(&one),
                Err(broken) => {
                    tally.cases += 1;
                    self.found(Found {
                        seed,
                        replay: format!("--planner-seed {seed}"),
                        original: format!("--planner-seed {seed}"),
                        check: broken.rule.to_owned(),
                        text: broken.text,
                    });
                    if lock(&self.report).failures.len() >= self.hunt.failures_max {
                        break;
                    }
                }
            }
        }
        lock(&self.report).planner.add(&tally);
        true
    }
}

/// Runs fixed worlds, each twice. What is wrong is in the report.
pub fn fixed(scenarios: &[Scenario]) -> Report {
    let mut report = Report { what: "fixed worlds", jobs: 1, ..Report::default() };
    let started = Instant::now();
    for scenario in scenarios {
        let began = Instant::now();
        match failing::caught(|| (run(scenario), run(scenario))) {
            Ok((first, second)) => {
                report.add(scenario.seed, &first, began.elapsed() / 2, 1);
                match first.failure {
                    Some(failure) => {
                        report.failures.push(Found::new(scenario, scenario, failure.check, &failure.to_string()));
                    }
                    None if first.digest != second.digest => {
                        report.failures.push(Found::new(scenario, scenario, Check::SameAgain, "two runs differ"));
                    }
                    None => {}
                }
            }
            Err(panic) => report.failures.push(Found::new(scenario, scenario, Check::NoPanic, &panic)),
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    report
}
