//! What every transport must do, checked through the broker. A transport is what passes all of it: see the `conformance_tests!` at
//! the end, and its use by each transport's tests.

use crate::{BindOptions, BoxFuture, Broker, CallError, CallOptions, Incoming, RawValue, RemoteError, RemoteObject, encode_result};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};

/// Long enough that only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Something that takes part in one network of queues and exchanges.
pub trait World: Send + Sync {
    /// Another participant, connected. Participants are kept alive by the world.
    fn broker(&self) -> BoxFuture<'_, Broker>;
}

/// An object made of a closure.
pub struct Object<F>(pub F);

impl<F, A> RemoteObject for Object<F>
where
    F: Fn(Incoming) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Box<RawValue>, RemoteError>> + Send + 'static,
{
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        Box::pin(self.0(incoming))
    }
}

/// Answers `echo` with its parameter, `name` with `name`, `fail` with an error, `panic` never, `nothing` with nothing.
pub fn echo(name: &'static str) -> Arc<dyn RemoteObject> {
    Arc::new(Object(move |incoming: Incoming| async move {
        match incoming.method.as_str() {
            "echo" => incoming.param::<serde_json::Value>().and_then(|value| encode_result(&value)),
            "name" => encode_result(&name),
            "fail" => Err(RemoteError::new("com.example.Failed", "as asked")),
            "panic" => panic!("as asked"),
            "nothing" => encode_result(&()),
            other => Err(RemoteError::unknown_method(other)),
        }
    }))
}

/// Passes every call on, and answers with nothing.
pub fn recorder() -> (Arc<dyn RemoteObject>, mpsc::UnboundedReceiver<Incoming>) {
    let (calls, recorded) = mpsc::unbounded_channel();
    let object = Object(move |incoming: Incoming| {
        let _ = calls.send(incoming);
        async { encode_result(&()) }
    });
    (Arc::new(object), recorded)
}

pub fn patient() -> CallOptions {
    CallOptions::new(PATIENCE, 1)
}

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("did not happen")
}

/// Asks again and again until it is so. For what happens without telling anybody.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < patience, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub async fn a_call_is_answered(world: impl World) {
    let (server, client) = (world.broker().await, world.broker().await);
    let _bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let proxy = client.lookup("obj");
    for value in [serde_json::json!({"a": [1, "zwei", null, "<&'=>\u{2028}\"\\"]}), serde_json::json!(-1.5e300), "".into()] {
        assert_eq!(proxy.call::<serde_json::Value>("echo", &value, patient()).await, Ok(value));
    }
    assert_eq!(proxy.call::<()>("nothing", &(), patient()).await, Ok(()));
    assert_eq!(proxy.call::<Option<u32>>("nothing", &7, patient()).await, Ok(None));
}

pub async fn an_error_of_the_object_reaches_the_caller(world: impl World) {
    let (server, client) = (world.broker().await, world.broker().await);
    let _bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let proxy = client.lookup("obj");
    let failed = proxy.call::<()>("fail", &(), patient()).await;
    assert_eq!(failed, Err(CallError::Remote(RemoteError::new("com.example.Failed", "as asked"))));
    let unknown = proxy.call::<()>("no such method", &(), patient()).await;
    assert_eq!(unknown, Err(CallError::Remote(RemoteError::unknown_method("no such method"))));
    let wrong = proxy.call::<u32>("name", &(), patient()).await;
    assert!(matches!(wrong, Err(CallError::Malformed(_))), "{wrong:?}");
}

pub async fn a_panic_is_an_error_and_the_object_lives_on(world: impl World) {
    let (server, client) = (world.broker().await, world.broker().await);
    let options = BindOptions { workers: 1, ..BindOptions::default() };
    let _bound = server.bind("obj", echo("one"), options).await.unwrap();
    let proxy = client.lookup("obj");
    for _ in 0..3 {
        let panicked = proxy.call::<()>("panic", &(), patient()).await;
        assert!(matches!(panicked, Err(CallError::Remote(_))), "{panicked:?}");
    }
    assert_eq!(proxy.call::<String>("name", &(), patient()).await, Ok("one".into()));
}

pub async fn nobody_bound_is_told_at_once(world: impl World) {
    let client = world.broker().await;
    let call = client.lookup("nobody").call::<()>("x", &(), patient()).await;
    assert_eq!(call, Err(CallError::NotBound("nobody".into())));
}

pub async fn a_cast_arrives_once_and_is_not_answered(world: impl World) {
    let (server, client) = (world.broker().await, world.broker().await);
    let (object, mut calls) = recorder();
    let _bound = server.bind("obj", object, BindOptions::default()).await.unwrap();
    client.lookup("obj").cast("done", &"it").await.unwrap();
    let call = soon(calls.recv()).await.unwrap();
    assert_eq!((call.method.as_str(), call.param::<String>().unwrap().as_str(), call.asynchronous), ("done", "it", true));
    client.lookup("obj").call::<()>("last", &(), patient()).await.unwrap();
    assert_eq!(soon(calls.recv()).await.unwrap().method, "last");
}

pub async fn notifications_reach_every_follower_in_order(world: impl World) {
    const NOTICES: usize = 200;
    let sender = world.broker().await;
    let mut following = Vec::new();
    for _ in 0..3 {
        let follower = world.broker().await;
        let (object, calls) = recorder();
        following.push((follower.listen("news", object).await.unwrap(), follower, calls));
    }
    let (elsewhere, mut other_news) = recorder();
    let other = world.broker().await;
    let _other = other.listen("other", elsewhere).await.unwrap();
    for number in 0..NOTICES {
        sender.lookup("news").multi_cast("news", &number).await.unwrap();
    }
    for (_, _, calls) in &mut following {
        for number in 0..NOTICES {
            assert_eq!(soon(calls.recv()).await.unwrap().param::<usize>().unwrap(), number);
        }
    }
    sender.lookup("other").multi_cast("end", &()).await.unwrap();
    assert_eq!(soon(other_news.recv()).await.unwrap().method, "end");
}

pub async fn a_notification_that_nobody_follows_is_no_error(world: impl World) {
    let sender = world.broker().await;
    assert_eq!(sender.lookup("nobody").multi_cast("news", &()).await, Ok(()));
}

pub async fn a_bound_object_gets_notifications_and_a_listener_no_calls(world: impl World) {
    let (server, listener, client) = (world.broker().await, world.broker().await, world.broker().await);
    let (bound_object, mut bound_calls) = recorder();
    let (listening_object, mut listened) = recorder();
    let _bound = server.bind("obj", bound_object, BindOptions::default()).await.unwrap();
    let _listening = listener.listen("obj", listening_object).await.unwrap();
    for _ in 0..8 {
        client.lookup("obj").call::<()>("unicast", &(), patient()).await.unwrap();
        assert_eq!(soon(bound_calls.recv()).await.unwrap().method, "unicast");
    }
    client.lookup("obj").multi_cast("multi", &()).await.unwrap();
    assert_eq!(soon(bound_calls.recv()).await.unwrap().method, "multi");
    assert_eq!(soon(listened.recv()).await.unwrap().method, "multi");
}

pub async fn a_multi_call_collects_all_answers(world: impl World) {
    let (first, second, third) = (world.broker().await, world.broker().await, world.broker().await);
    let _one = first.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let _two = second.bind("obj", echo("two"), BindOptions::default()).await.unwrap();
    let timeout = Duration::from_millis(300);
    let mut names: Vec<String> = third.lookup("obj").multi_call("name", &(), timeout).await.unwrap();
    names.sort();
    assert_eq!(names, ["one", "two"]);
    let failed = third.lookup("obj").multi_call::<String>("fail", &(), timeout).await.unwrap();
    assert_eq!(failed, Vec::<String>::new());
    let nobody = third.lookup("nobody").multi_call::<String>("name", &(), Duration::from_millis(5)).await;
    assert!(matches!(nobody, Err(CallError::Timeout { .. })));
}

pub async fn instances_share_the_calls(world: impl World) {
    const CALLS: usize = 40;
    let client = world.broker().await;
    let busy = Arc::new(Semaphore::new(0));
    let mut bound = Vec::new();
    let started: [Arc<AtomicUsize>; 2] = Default::default();
    for started in &started {
        let server = world.broker().await;
        let (busy, started) = (busy.clone(), started.clone());
        let object = Object(move |_: Incoming| {
            started.fetch_add(1, SeqCst);
            let busy = busy.clone();
            async move {
                busy.acquire().await.unwrap().forget();
                encode_result(&())
            }
        });
        let options = BindOptions { workers: 4, ..BindOptions::default() };
        bound.push((server.bind("obj", Arc::new(object), options).await.unwrap(), server));
    }
    let proxy = client.lookup("obj");
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let proxy = proxy.clone();
            tokio::spawn(async move { proxy.call::<()>("work", &(), patient()).await })
        })
        .collect();
    // Every worker of both takes one, and no more than one, before any is done.
    eventually("all workers are busy", || started.iter().all(|started| started.load(SeqCst) == 4)).await;
    busy.add_permits(CALLS);
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
    assert_eq!(started.iter().map(|started| started.load(SeqCst)).sum::<usize>(), CALLS);
}

pub async fn a_retry_is_answered_with_the_first_answer(world: impl World) {
    let (server, client) = (world.broker().await, world.broker().await);
    let executed = Arc::new(AtomicUsize::new(0));
    let release = Arc::new(Notify::new());
    let (counting, waiting) = (executed.clone(), release.clone());
    let object = Object(move |_: Incoming| {
        let (number, waiting) = (counting.fetch_add(1, SeqCst), waiting.clone());
        async move {
            waiting.notified().await;
            encode_result(&number)
        }
    });
    let _bound = server.bind("obj", Arc::new(object), BindOptions::default()).await.unwrap();
    let proxy = client.lookup("obj");
    let retried =
        tokio::spawn(async move { proxy.call::<usize>("slow", &(), CallOptions::new(Duration::from_millis(40), 200)).await });
    let stats = server.stats().clone();
    eventually("a retry was recognised", || stats.duplicates.get() >= 2).await;
    release.notify_one();
    assert_eq!(soon(retried).await.unwrap(), Ok(0));
    assert_eq!(executed.load(SeqCst), 1);
    // A retry after the answer, by an id that the caller kept.
    let options = CallOptions { id: Some("kept".into()), ..patient() };
    release.notify_one();
    let proxy = client.lookup("obj");
    assert_eq!(proxy.call::<usize>("slow", &(), options.clone()).await, Ok(1));
    assert_eq!(proxy.call::<usize>("slow", &(), options.clone()).await, Ok(1));
    let other = proxy.call::<usize>("slow", &"another", options).await;
    assert!(matches!(other, Err(CallError::Remote(_))), "{other:?}");
    assert_eq!(executed.load(SeqCst), 2);
}

pub async fn unbinding_finishes_what_was_taken_and_gives_the_rest_to_others(world: impl World) {
    let (first, second, client) = (world.broker().await, world.broker().await, world.broker().await);
    let release = Arc::new(Notify::new());
    let (waiting, (started, mut taken)) = (release.clone(), mpsc::unbounded_channel());
    let object = Object(move |_: Incoming| {
        let waiting = waiting.clone();
        let _ = started.send(());
        async move {
            waiting.notified().await;
            encode_result(&"first")
        }
    });
    let options = BindOptions { workers: 1, ..BindOptions::default() };
    let leaving = first.bind("obj", Arc::new(object), options.clone()).await.unwrap();
    let call = || {
        let proxy = client.lookup("obj");
        tokio::spawn(async move { proxy.call::<String>("name", &(), patient()).await })
    };
    let taken_call = call();
    soon(taken.recv()).await;
    let waiting_call = call();
    let _staying = second.bind("obj", echo("second"), options).await.unwrap();
    assert_eq!(soon(waiting_call).await.unwrap(), Ok("second".into()));
    let unbound = tokio::spawn(leaving.unbind());
    release.notify_one();
    assert_eq!(soon(taken_call).await.unwrap(), Ok("first".into()));
    soon(unbound).await.unwrap();
    assert_eq!(soon(call()).await.unwrap(), Ok("second".into()));
}

pub async fn a_reference_is_bound_once_per_broker_and_may_be_bound_again(world: impl World) {
    let (server, client) = (world.broker().await, world.broker().await);
    let bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let again = server.bind("obj", echo("two"), BindOptions::default()).await;
    assert!(matches!(again, Err(crate::BindError::AlreadyBound(_))));
    assert!(matches!(server.listen("", echo("x")).await, Err(crate::BindError::BadReference(_))));
    assert!(matches!(server.listen(&"x".repeat(256), echo("x")).await, Err(crate::BindError::BadReference(_))));
    bound.unbind().await;
    let _bound = server.bind("obj", echo("three"), BindOptions::default()).await.unwrap();
    let proxy = client.lookup("obj");
    assert_eq!(proxy.call::<String>("name", &(), patient()).await, Ok("three".into()));
}

pub async fn an_oversized_call_is_refused_before_it_is_sent(world: impl World) {
    let (server, client) = (world.broker().await, world.broker().await);
    let _bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let proxy = client.lookup("obj");
    let huge = "x".repeat(crate::transport::MESSAGE_BYTES_MAX);
    let call = proxy.call::<String>("echo", &huge, patient()).await;
    assert!(matches!(call, Err(CallError::TooLarge { .. })));
    let large = "x".repeat(3 << 20);
    assert_eq!(proxy.call::<String>("echo", &large, patient()).await, Ok(large));
}

pub async fn closing_fails_what_waits(world: impl World) {
    let (server, client) = (world.broker().await, world.broker().await);
    let (started, mut taken) = mpsc::unbounded_channel();
    let object = Object(move |_: Incoming| {
        let _ = started.send(());
        std::future::pending()
    });
    let _bound = server.bind("obj", Arc::new(object), BindOptions::default()).await.unwrap();
    let proxy = client.lookup("obj");
    let call = tokio::spawn(async move { proxy.call::<()>("never", &(), patient()).await });
    soon(taken.recv()).await;
    soon(client.close()).await;
    assert_eq!(soon(call).await.unwrap(), Err(CallError::Closed));
    assert_eq!(client.lookup("obj").cast("never", &()).await, Err(CallError::Closed));
}

/// Makes one test of every check, for the world that the expression builds.
macro_rules! conformance_tests {
    ($world:expr) => {
        $crate::conformance::conformance_tests! { $world;
            a_call_is_answered
            an_error_of_the_object_reaches_the_caller
            a_panic_is_an_error_and_the_object_lives_on
            nobody_bound_is_told_at_once
            a_cast_arrives_once_and_is_not_answered
            notifications_reach_every_follower_in_order
            a_notification_that_nobody_follows_is_no_error
            a_bound_object_gets_notifications_and_a_listener_no_calls
            a_multi_call_collects_all_answers
            instances_share_the_calls
            a_retry_is_answered_with_the_first_answer
            unbinding_finishes_what_was_taken_and_gives_the_rest_to_others
            a_reference_is_bound_once_per_broker_and_may_be_bound_again
            an_oversized_call_is_refused_before_it_is_sent
            closing_fails_what_waits
        }
    };
    ($world:expr; $($check:ident)*) => {
        $(
            #[tokio::test]
            async fn $check() {
                $crate::conformance::$check($world).await;
            }
        )*
    };
}
pub(crate) use conformance_tests;
