//! `sync`: runs the device, shows what it does, says how it ended.

use super::args::Sync;
use super::exit::{Exit, Failure};
use super::out::Out;
use super::progress;
use crate::driver::{Begun, End, Ending, GivenLimits, Overview, Stay, begin};
use crate::home::Home;
use crate::state::Opened;
use serde::Serialize;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long the state may take to be written at the end.
const FLUSH_MAX: Duration = Duration::from_secs(10);
/// How long saying goodbye to the service may take.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// Threads for everything that waits; what blocks has threads of its own.
const WORKERS: usize = 2;
/// Problems that are told one by one at the end.
const PROBLEMS_MAX: usize = 20;

/// Keeps the folder in sync.
pub fn sync(home: &Home, wanted: Sync, out: Out) -> Result<Exit, Failure> {
    home.config()?;
    let _lock = home.lock()?;
    allow_many_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Other, format!("cannot start: {error}"), ""))?;
    let exit = runtime.block_on(run(home, wanted, out));
    // What blocks (a scan, a read) is not waited for: it changes nothing.
    runtime.shutdown_timeout(Duration::from_secs(1));
    exit
}

async fn run(home: &Home, wanted: Sync, out: Out) -> Result<Exit, Failure> {
    let stay = if wanted.once { Stay::Once } else { Stay::ForGood };
    let given = GivenLimits { up: wanted.limit_up, down: wanted.limit_down };
    let Begun { device, state, link, opened, overview } = begin(home, stay, given)?;
    if let Opened::PutAside(aside) = &opened {
        tracing::warn!("the state was damaged and is now {}; files are compared by content, none is lost", aside.display());
    }
    let watching = progress::watch(home, overview.clone(), stay, out);
    let end = tokio::select! {
        end = device.run() => Some(end),
        () = stopped() => None,
    };
    watching.finish().await;
    if tokio::time::timeout(FLUSH_MAX, state.flush()).await.is_err() {
        tracing::warn!("the state could not be written in time; the next run looks at everything again");
    }
    // A line that is cut instead of closed costs the service a guess, nothing else.
    let _ = tokio::time::timeout(CLOSE_MAX, link.service().broker().close()).await;
    let last = overview.borrow().clone();
    match end {
        None => Ok(Exit::Done),
        Some(End::Once(ending)) => once_ended(ending, &last, out),
        Some(End::Refused(said)) => Err(refused(&said)),
        Some(End::StateDamaged(said)) => Err(Failure::new(
            Exit::Other,
            format!("the state is damaged: {said}"),
            "Start again: it is put aside, no file is lost.",
        )),
    }
}

/// SIGINT or SIGTERM.
async fn stopped() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Many small files travel at once, each of them open; the usual limit of 1024 is a default, not a wish.
fn allow_many_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!("the limit of open files stays: {error}");
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    in_sync: bool,
    items: usize,
    sent_bytes: u64,
    received_bytes: u64,
    held_deletions: usize,
    problems: Vec<super::status::Problem<'a>>,
}

fn once_ended(ending: Ending, last: &Overview, out: Out) -> Result<Exit, Failure> {
    let trouble = if last.trouble.is_empty() { "the service does not answer" } else { last.trouble.as_str() };
    match ending {
        Ending::Paused => {
            return Err(Failure::new(Exit::NotInSync, "this device is paused", "`stacksync resume` lets it go on."));
        }
        Ending::Unreachable => {
            let advice = "Is the server running? What was changed here is kept and goes up with the next sync.";
            return Err(Failure::new(Exit::Unreachable, trouble, advice));
        }
        Ending::Untrusted => {
            let advice =
                "Someone else may answer there, or the server has a new certificate: then leave and join again with a new code.";
            return Err(Failure::new(Exit::Refused, trouble, advice));
        }
        Ending::Silent => {
            return Err(Failure::new(Exit::Unreachable, trouble, "Try again later; the server's log may tell more."));
        }
        Ending::InSync | Ending::NotInSync => {}
    }
    let problems: Vec<_> = super::status::problems(last.workspaces.iter().map(|(_, snapshot)| snapshot)).collect();
    let held: usize = last.workspaces.iter().map(|(_, snapshot)| snapshot.held).sum();
    let answer = Answer {
        in_sync: ending == Ending::InSync,
        items: last.items(),
        sent_bytes: last.sent_bytes,
        received_bytes: last.received_bytes,
        held_deletions: held,
        problems,
    };
    if ending == Ending::InSync {
        out.answer(&answer, || format!("In sync: {} items.", answer.items));
        return Ok(Exit::Done);
    }
    if out == Out::Json {
        out.answer(&answer, String::new);
    }
    Err(not_in_sync(&answer, last))
}

fn not_in_sync(answer: &Answer<'_>, last: &Overview) -> Failure {
    let mut lines: Vec<String> = answer.problems.iter().take(PROBLEMS_MAX).map(ToString::to_string).collect();
    if answer.problems.len() > PROBLEMS_MAX {
        lines.push(format!("... and {} more: `stacksync status` lists them", answer.problems.len() - PROBLEMS_MAX));
    }
    if answer.held_deletions > 0 {
        lines.push(format!("{} deletions are held, because so much vanished from this folder at once", answer.held_deletions));
    }
    if lines.is_empty() && !last.trouble.is_empty() {
        lines.push(last.trouble.clone());
    }
    let waiting: usize = last.workspaces.iter().map(|(_, snapshot)| snapshot.waiting).sum();
    if lines.is_empty() && waiting > 0 {
        lines.push(format!("{waiting} items wait for others: `stacksync plan` tells which"));
    }
    let advice = if answer.held_deletions > 0 {
        "`stacksync approve` lets the deletions pass, `stacksync restore` brings the files back; then sync again."
    } else {
        "Everything else is in sync. These are tried again with every sync; `stacksync why PATH` tells more."
    };
    Failure::new(Exit::NotInSync, format!("not everything is in sync:\n  {}", lines.join("\n  ")), advice)
}

fn refused(said: &str) -> Failure {
    let message = format!("the service does not accept this device any more: it was revoked, or its user disabled ({said})");
    let advice = "Your files stay as they are. To go on: `stacksync leave`, then join again with a new code.";
    Failure::new(Exit::Refused, message, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{ShownProblem, Snapshot};

    fn ended(ending: Ending, snapshot: Snapshot) -> Result<Exit, Failure> {
        let last = Overview { connected: true, workspaces: vec![("default".into(), snapshot)], ..Overview::default() };
        once_ended(ending, &last, Out::Text)
    }

    #[test]
    fn the_end_of_once_is_told_with_reason_and_advice() {
        assert_eq!(ended(Ending::InSync, Snapshot::default()), Ok(Exit::Done));
        let problem = ShownProblem { path: "a/doc".into(), text: "over quota".into() };
        let failure = ended(Ending::NotInSync, Snapshot { problems: vec![problem; 30], ..Snapshot::default() }).unwrap_err();
        assert_eq!(failure.exit, Exit::NotInSync);
        assert!(failure.message.contains("a/doc: over quota") && failure.message.contains("and 10 more"), "{failure:?}");
        let failure = ended(Ending::NotInSync, Snapshot { held: 7, ..Snapshot::default() }).unwrap_err();
        assert!(failure.message.contains("7 deletions") && failure.advice.contains("approve"), "{failure:?}");
        for (ending, exit) in [
            (Ending::Paused, Exit::NotInSync),
            (Ending::Unreachable, Exit::Unreachable),
            (Ending::Untrusted, Exit::Refused),
            (Ending::Silent, Exit::Unreachable),
        ] {
            assert_eq!(ended(ending, Snapshot::default()).unwrap_err().exit, exit);
        }
        assert!(refused("text").message.contains("revoked"));
    }
}
