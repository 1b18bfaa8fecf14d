//! The loop with a disk and a service that exist only as answers.

use super::*;
use stacksync_core::engine::{ChangesPage, Cursor, Listing, Notice, Setup};
use stacksync_core::values::Revision;
use std::sync::{Arc, Mutex};

/// An empty folder and an empty workspace; notes what it was asked for.
struct Empty {
    inputs: Inputs,
    begun: Arc<Mutex<Vec<&'static str>>>,
}

impl Executor for Empty {
    fn begin(&self, effect: Effect) {
        let (word, outcome) = match effect {
            Effect::Scan { folder, names, .. } => ("scan", Input::Scanned { folder, names, result: Ok(Listing::default()) }),
            Effect::AskChanges { since } => {
                let page = ChangesPage { epoch: 1, since, to: Revision(3), head: Revision(3), items: Vec::new() };
                ("ask", Input::Changes(Ok(page)))
            }
            other => panic!("nothing else is to be done: {other:?}"),
        };
        self.begun.lock().unwrap().push(word);
        let inputs = self.inputs.clone();
        tokio::spawn(async move { inputs.send(outcome).await });
    }

    async fn remember(&self, delta: StateDelta) {
        assert_eq!(delta.cursor.map(|cursor| cursor.revision), Some(Revision(3)));
        self.begun.lock().unwrap().push("remember");
    }

    async fn log(&self, _: i64, _: LogEntry) {}
}

fn start() -> (Inputs, watch::Receiver<Status>, Arc<Mutex<Vec<&'static str>>>) {
    let clock = Clock::start();
    let setup = Setup { device: "laptop".into(), seed: [7; 32], rows: Vec::new(), cursor: Cursor::default() };
    let (inputs, waiting) = channel();
    let begun = Arc::new(Mutex::new(Vec::new()));
    let executor = Empty { inputs: inputs.clone(), begun: begun.clone() };
    let (workspace, status) = Workspace::new(Engine::new(setup, clock.now()), executor, clock, waiting);
    tokio::spawn(workspace.run());
    (inputs, status, begun)
}

#[tokio::test(start_paused = true)]
async fn effects_are_carried_out_until_the_engine_settles() {
    let (inputs, mut status, begun) = start();
    assert!(!status.borrow().settled);
    inputs.send(Input::TouchedAll).await;
    inputs.send(Input::Online).await;
    status.wait_for(|status| status.settled).await.unwrap();
    let mut begun = begun.lock().unwrap().clone();
    begun.sort_unstable();
    assert_eq!(begun, ["ask", "remember", "scan"]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_workspace_begins_nothing_until_it_resumes() {
    let (inputs, mut status, begun) = start();
    inputs.pause().await;
    inputs.ask(Input::TouchedAll).await;
    inputs.ask(Input::Online).await;
    assert!(begun.lock().unwrap().is_empty());
    assert!(status.borrow().online && !status.borrow().settled);
    inputs.resume().await;
    status.wait_for(|status| status.settled).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_engine_is_woken_when_it_wants_to_be() {
    let (inputs, mut status, begun) = start();
    inputs.send(Input::TouchedAll).await;
    inputs.send(Input::Online).await;
    status.wait_for(|status| status.settled).await.unwrap();
    begun.lock().unwrap().clear();
    // The engine asks for changes by itself from time to time; the clock of this test jumps there.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(begun.lock().unwrap().contains(&"ask"));
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_shows_in_the_status_when_the_asker_goes_on() {
    let (inputs, status, _) = start();
    inputs.ask(Input::Online).await;
    assert!(status.borrow().online);
    inputs.ask(Input::Offline).await;
    assert!(!status.borrow().online);
    inputs.send(Input::Noticed(Notice { from: Revision(0), to: Revision(3), items: None })).await;
}
