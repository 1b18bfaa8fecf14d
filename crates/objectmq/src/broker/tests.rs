//! What the broker itself promises, over the hub.

use super::answers::{Answers, Begin};
use super::*;
use crate::conformance::{Object, echo, eventually, patient, soon};
use crate::local::{Hub, HubLimits};
use crate::{Incoming, Message, MessageType, encode_result};
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

fn broker() -> Broker {
    Broker::new(Arc::new(Hub::new(HubLimits::default())))
}

/// An object that never answers.
fn silence() -> Arc<dyn RemoteObject> {
    Arc::new(Object(|_: Incoming| std::future::pending()))
}

#[tokio::test(start_paused = true)]
async fn a_call_gives_up_after_all_its_tries() {
    let broker = broker();
    let _bound = broker.bind("obj", silence(), BindOptions::default()).await.unwrap();
    let started = tokio::time::Instant::now();
    let call = broker.lookup("obj").call::<()>("x", &(), CallOptions::new(Duration::from_secs(7), 3)).await;
    assert_eq!(call, Err(CallError::Timeout { method: "x".into(), tries: 3, timeout: Duration::from_secs(7) }));
    assert_eq!(started.elapsed().as_secs(), 21);
    let zero = broker.lookup("obj").call::<()>("x", &(), CallOptions::new(Duration::from_secs(7), 0)).await;
    assert!(matches!(zero, Err(CallError::Timeout { tries: 1, .. })));
}

#[tokio::test]
async fn calls_that_ended_leave_nothing_behind() {
    let broker = broker();
    let _bound = broker.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let _silent = broker.bind("silent", silence(), BindOptions::default()).await.unwrap();
    broker.lookup("obj").call::<String>("name", &(), patient()).await.unwrap();
    broker.lookup("nobody").call::<String>("name", &(), patient()).await.unwrap_err();
    let short = CallOptions::new(Duration::from_millis(1), 1);
    broker.lookup("silent").call::<String>("name", &(), short).await.unwrap_err();
    broker.lookup("obj").multi_call::<String>("name", &(), Duration::from_millis(1)).await.ok();
    let proxy = broker.lookup("silent");
    let abandoned = tokio::spawn(async move { proxy.call::<()>("x", &(), patient()).await });
    eventually("the call waits", || broker.0.pending.len() == 1).await;
    abandoned.abort();
    abandoned.await.unwrap_err();
    assert_eq!(broker.0.pending.len(), 0);
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_for_their_turn() {
    let broker = broker();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let object = {
        let (running, most) = (running.clone(), most.clone());
        Object(move |_: Incoming| {
            let (running, most) = (running.clone(), most.clone());
            async move {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, SeqCst);
                encode_result(&())
            }
        })
    };
    let options = BindOptions { workers: 5, ..BindOptions::default() };
    let _bound = broker.bind("obj", Arc::new(object), options).await.unwrap();
    let calls: Vec<_> = (0..3 * CALLS_IN_FLIGHT_MAX)
        .map(|_| {
            let proxy = broker.lookup("obj");
            tokio::spawn(async move { proxy.call::<()>("x", &(), patient()).await })
        })
        .collect();
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
    assert_eq!(most.load(SeqCst), 5, "as many at once as there are workers");
    assert_eq!(broker.stats().queued.get(), 0);
}

#[tokio::test]
async fn a_result_that_is_too_long_is_an_error() {
    let hub = Hub::new(HubLimits { message_bytes_max: 1_000, ..HubLimits::default() });
    let broker = Broker::new(Arc::new(hub));
    let object = Object(|_: Incoming| async { encode_result(&"x".repeat(2_000)) });
    let _bound = broker.bind("obj", Arc::new(object), BindOptions::default()).await.unwrap();
    let call = broker.lookup("obj").call::<String>("x", &(), patient()).await;
    let Err(CallError::Remote(error)) = call else { panic!("{call:?}") };
    assert!(error.message.contains("more than the 1000"), "{error}");
}

#[tokio::test]
async fn ids_have_a_limit() {
    let broker = broker();
    for id in ["".to_owned(), "x".repeat(129)] {
        let options = CallOptions { id: Some(id.into()), ..patient() };
        assert!(matches!(broker.lookup("obj").call::<()>("x", &(), options).await, Err(CallError::Malformed(_))));
    }
}

#[tokio::test]
async fn closing_waits_for_what_was_taken() {
    let hub = Hub::new(HubLimits::default());
    let (server, client) = (Broker::new(Arc::new(hub.clone())), Broker::new(Arc::new(hub)));
    let (release, finished) = (Arc::new(tokio::sync::Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (taken, mut started) = tokio::sync::mpsc::unbounded_channel();
    let object = {
        let (release, finished) = (release.clone(), finished.clone());
        Object(move |_: Incoming| {
            let _ = taken.send(());
            let (release, finished) = (release.clone(), finished.clone());
            async move {
                release.notified().await;
                finished.fetch_add(1, SeqCst);
                encode_result(&())
            }
        })
    };
    let bound = server.bind("obj", Arc::new(object), BindOptions::default()).await.unwrap();
    let call = tokio::spawn(async move { client.lookup("obj").call::<()>("x", &(), patient()).await });
    soon(started.recv()).await;
    // Also what a binding took that is no longer held.
    drop(bound);
    let closing = tokio::spawn(async move { server.close().await });
    release.notify_one();
    soon(closing).await.unwrap();
    assert_eq!(finished.load(SeqCst), 1);
    assert_eq!(soon(call).await.unwrap(), Ok(()));
}

fn message(id: &str, body: &'static str) -> Message {
    Message {
        app_id: "obj".into(),
        correlation_id: id.into(),
        reply_to: None,
        kind: MessageType::Gson,
        body: Bytes::from_static(body.as_bytes()),
    }
}

fn remember(answers: &Answers, caller: &str, id: &str, answer: &'static [u8]) {
    match answers.begin(&caller.into(), &message(id, "call"), &"queue".into()) {
        Begin::First(turn) => assert!(turn.finish(Bytes::from_static(answer)).is_empty()),
        _ => panic!("{caller} {id} was known"),
    }
}

fn remembers(answers: &Answers, caller: &str, id: &str) -> bool {
    matches!(answers.begin(&caller.into(), &message(id, "call"), &"queue".into()), Begin::Answered(_))
}

#[test]
fn who_calls_a_lot_forgets_only_his_own_answers() {
    let limits = AnswerLimits { answers_per_caller_max: 3, ..AnswerLimits::default() };
    let answers = Answers::new(limits);
    remember(&answers, "alice", "first", b"1");
    for id in ["a", "b", "c", "d"] {
        remember(&answers, "mallory", id, b"1");
    }
    assert!(!remembers(&answers, "mallory", "a"));
    assert!(remembers(&answers, "mallory", "b") && remembers(&answers, "mallory", "d"));
    assert!(remembers(&answers, "alice", "first"));
}

#[test]
fn the_longest_idle_are_forgotten_first_and_long_answers_at_once() {
    let limits = AnswerLimits { bytes_max: 8 * 10, answer_bytes_max: 9, ..AnswerLimits::default() };
    let answers = Answers::new(limits);
    remember(&answers, "long", "id", b"1234567890");
    assert!(!remembers(&answers, "long", "id"));
    // One caller alone may not keep more than a shard's part either.
    for id in ["a", "b", "c", "d"] {
        remember(&answers, "one", id, b"1234");
    }
    assert!(!remembers(&answers, "one", "b") && remembers(&answers, "one", "c") && remembers(&answers, "one", "d"));

    let answers = Answers::new(AnswerLimits { callers_max: 8, ..AnswerLimits::default() });
    let callers: Vec<String> = (0..100).map(|number| format!("caller {number}")).collect();
    for caller in &callers {
        remember(&answers, caller, "id", b"1");
    }
    let remembered = callers.iter().filter(|caller| remembers(&answers, caller, "id")).count();
    assert!((1..=8).contains(&remembered), "{remembered}");
}

#[test]
fn a_call_under_way_is_joined_and_an_abandoned_one_begins_again() {
    let answers = Answers::new(AnswerLimits::default());
    let caller = "alice".into();
    let Begin::First(turn) = answers.begin(&caller, &message("id", "call"), &"old".into()) else { panic!() };
    for queue in ["new", "newer", "new"] {
        assert!(matches!(answers.begin(&caller, &message("id", "call"), &queue.into()), Begin::UnderWay));
    }
    assert!(matches!(answers.begin(&caller, &message("id", "other"), &"new".into()), Begin::IdReused));
    assert_eq!(turn.finish(Bytes::from_static(b"1")), ["new".into(), "newer".into()]);

    let Begin::First(turn) = answers.begin(&caller, &message("dropped", "call"), &"q".into()) else { panic!() };
    drop(turn);
    assert!(matches!(answers.begin(&caller, &message("dropped", "call"), &"q".into()), Begin::First(_)));
}
