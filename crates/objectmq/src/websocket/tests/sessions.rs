//! Gates, lost connections, slow and silent peers, and the end of sessions.

use super::*;
use crate::conformance::{Object, PATIENCE, echo, eventually, patient, recorder, soon};
use crate::{BindOptions, CallError, CallOptions, Incoming, encode_result};
use futures_util::{SinkExt, StreamExt};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message as WsMessage;

fn net() -> Net {
    Net::new(HubLimits::default(), DoorOptions::default())
}

fn device(name: &str) -> Caller {
    Caller::new(name, name.to_owned())
}

/// Reconnects at once.
fn eager() -> ClientOptions {
    let backoff = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(2) };
    ClientOptions { backoff, ..ClientOptions::default() }
}

/// A client whose connection can be cut, and held down.
struct Fragile {
    client: Client,
    broker: Broker,
    cut: Arc<Notify>,
    down: Arc<AtomicBool>,
    attempts: Arc<AtomicUsize>,
}

impl Fragile {
    fn start(net: &Net, caller: Caller) -> Fragile {
        let (cut, down, attempts) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let connector = {
            let (net, cut, down, attempts) = (net.clone(), cut.clone(), down.clone(), attempts.clone());
            move || {
                attempts.fetch_add(1, SeqCst);
                let (net, cut, down, caller) = (net.clone(), cut.clone(), down.load(SeqCst), caller.clone());
                async move {
                    if down {
                        return Err(Trouble::Unreachable("down".into()));
                    }
                    let mut server = net.plug(caller);
                    let (stream, mut wire) = tokio::io::duplex(64 << 10);
                    tokio::spawn(async move {
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut wire, &mut server) => {}
                            () = cut.notified() => {}
                        }
                    });
                    Ok(Connection { stream: Box::new(stream), url: "ws://server.example/".into(), headers: Vec::new() })
                }
            }
        };
        let client = Client::start(Arc::new(connector), eager());
        Fragile { broker: Broker::new(Arc::new(client.clone())), client, cut, down, attempts }
    }

    async fn lose(&self) {
        let mut state = self.client.state();
        state.mark_unchanged();
        self.cut.notify_one();
        soon(state.wait_for(|state| *state != ConnectionState::Connected)).await.unwrap();
    }
}

#[tokio::test]
async fn the_gate_names_the_caller_and_refuses_what_is_not_for_him() {
    let net = net();
    let client = net.client(device("alice's laptop"), eager());
    connected(&client).await;
    let broker = Broker::new(Arc::new(client));
    let server = Broker::new(Arc::new(net.hub.clone()));
    let who = Object(|incoming: Incoming| {
        let name = (incoming.caller.identity().cloned(), incoming.caller.get::<String>().cloned());
        async move { encode_result(&(name.0.as_deref(), name.1)) }
    });
    let _bound = server.bind("who", Arc::new(who), BindOptions::default()).await.unwrap();
    let name: (String, String) = broker.lookup("who").call("who", &(), patient()).await.unwrap();
    assert_eq!(name, ("alice's laptop".to_owned(), "alice's laptop".to_owned()));

    let forbidden = broker.lookup("forbidden");
    assert!(matches!(forbidden.call::<()>("x", &(), patient()).await, Err(CallError::Refused(_))));
    let (object, _calls) = recorder();
    let listening = broker.listen("forbidden", object.clone()).await;
    assert!(matches!(listening, Err(crate::BindError::Transport { source: crate::SendError::Refused(_), .. })));
    let bound = broker.bind("forbidden", object, BindOptions::default()).await;
    assert!(matches!(bound, Err(crate::BindError::Transport { source: crate::SendError::Refused(_), .. })));
    assert!(net.hub.stats().refused.get() >= 3);
}

#[tokio::test]
async fn a_lost_connection_comes_back_with_everything_followed() {
    let net = net();
    let server = Broker::new(Arc::new(net.hub.clone()));
    let fragile = Fragile::start(&net, device("a"));
    connected(&fragile.client).await;
    let (object, mut news) = recorder();
    let _listening = fragile.broker.listen("news", object).await.unwrap();
    for round in 0..5 {
        server.lookup("news").multi_cast("news", &round).await.unwrap();
        assert_eq!(soon(news.recv()).await.unwrap().param::<i32>().unwrap(), round);
        fragile.lose().await;
        // Connected means: whatever happens from now on is told.
        connected(&fragile.client).await;
    }
    assert_eq!(fragile.attempts.load(SeqCst), 6);
}

/// Whoever asks for the state of things after a reconnection must not miss what happens after the answer.
#[tokio::test]
async fn nothing_is_sent_before_everything_is_followed_again() {
    let net = net();
    let server = Broker::new(Arc::new(net.hub.clone()));
    let _bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let fragile = Fragile::start(&net, device("a"));
    connected(&fragile.client).await;
    let (object, _news) = recorder();
    let _listening = fragile.broker.listen("news", object).await.unwrap();
    let held = net.follows.clone().acquire_owned().await.unwrap();
    fragile.lose().await;
    let proxy = fragile.broker.lookup("obj");
    let call = tokio::spawn(async move { proxy.call::<String>("name", &(), patient()).await });
    eventually("the client asked to follow again", || net.hub.stats().frames_in.get() >= 2).await;
    assert_ne!(*fragile.client.state().borrow(), ConnectionState::Connected);
    assert!(matches!(fragile.broker.lookup("obj").cast("name", &()).await, Err(CallError::Disconnected(_))));
    drop(held);
    connected(&fragile.client).await;
    assert_eq!(soon(call).await.unwrap(), Ok("one".into()));
}

#[tokio::test]
async fn a_call_over_a_lost_connection_is_carried_out_once_and_answered() {
    let net = net();
    let server = Broker::new(Arc::new(net.hub.clone()));
    let (executed, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (counting, waiting) = (executed.clone(), release.clone());
    let object = Object(move |_: Incoming| {
        let (number, waiting) = (counting.fetch_add(1, SeqCst), waiting.clone());
        async move {
            waiting.notified().await;
            encode_result(&number)
        }
    });
    let _bound = server.bind("obj", Arc::new(object), BindOptions::default()).await.unwrap();
    let fragile = Fragile::start(&net, device("a"));
    connected(&fragile.client).await;
    let call = |tries| {
        let proxy = fragile.broker.lookup("obj");
        tokio::spawn(async move { proxy.call::<usize>("slow", &(), CallOptions::new(PATIENCE, tries)).await })
    };
    let (once, twice) = (call(1), call(2));
    eventually("both are being carried out", || executed.load(SeqCst) == 2).await;
    fragile.lose().await;
    assert!(matches!(soon(once).await.unwrap(), Err(CallError::Disconnected(_))));
    eventually("the retry arrived", || net.hub.stats().duplicates.get() == 1).await;
    release.notify_waiters();
    assert!(soon(twice).await.unwrap().is_ok());
    assert_eq!(executed.load(SeqCst), 2);
}

#[tokio::test]
async fn without_a_connection_calls_wait_casts_fail_and_listening_is_noted() {
    let net = net();
    let server = Broker::new(Arc::new(net.hub.clone()));
    let _bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let fragile = Fragile::start(&net, device("a"));
    connected(&fragile.client).await;
    fragile.down.store(true, SeqCst);
    fragile.lose().await;
    let proxy = fragile.broker.lookup("obj");
    assert!(matches!(proxy.cast("name", &()).await, Err(CallError::Disconnected(_))));
    let short = proxy.call::<String>("name", &(), CallOptions::new(Duration::from_millis(5), 1)).await;
    assert!(matches!(short, Err(CallError::Timeout { .. })));
    let (object, mut news) = recorder();
    let _listening = soon(fragile.broker.listen("news", object)).await.unwrap();
    let waiting = tokio::spawn(async move { proxy.call::<String>("name", &(), patient()).await });
    let mut state = fragile.client.state();
    soon(state.wait_for(|state| matches!(state, ConnectionState::Waiting { trouble: Trouble::Unreachable(_), .. }))).await.unwrap();
    fragile.down.store(false, SeqCst);
    fragile.client.retry_now();
    assert_eq!(soon(waiting).await.unwrap(), Ok("one".into()));
    server.lookup("news").multi_cast("news", &()).await.unwrap();
    assert_eq!(soon(news.recv()).await.unwrap().method, "news");
}

#[tokio::test]
async fn what_a_lost_consumer_had_goes_to_another() {
    let net = net();
    let first = Fragile::start(&net, device("a"));
    connected(&first.client).await;
    let (object, mut taken) = {
        let (calls, taken) = tokio::sync::mpsc::unbounded_channel();
        let object = Object(move |_: Incoming| {
            let _ = calls.send(());
            std::future::pending()
        });
        (object, taken)
    };
    let options = BindOptions { workers: 1, ..BindOptions::default() };
    let _stuck = first.broker.bind("obj", Arc::new(object), options.clone()).await.unwrap();
    let caller = Broker::new(Arc::new(net.hub.clone()));
    let call = tokio::spawn(async move { caller.lookup("obj").call::<String>("name", &(), patient()).await });
    soon(taken.recv()).await;
    let second = net.client(device("b"), eager());
    connected(&second).await;
    let second = Broker::new(Arc::new(second));
    let _bound = second.bind("obj", echo("second"), options).await.unwrap();
    first.down.store(true, SeqCst);
    first.lose().await;
    assert_eq!(soon(call).await.unwrap(), Ok("second".into()));
}

#[tokio::test]
async fn a_revoked_device_is_shown_out_and_a_withdrawn_reference_is_silent() {
    let net = net();
    let server = Broker::new(Arc::new(net.hub.clone()));
    let fragile = Fragile::start(&net, device("a"));
    connected(&fragile.client).await;
    let (object, mut heard) = recorder();
    let news = fragile.broker.listen("news", object.clone()).await.unwrap();
    let _other = fragile.broker.listen("other", object).await.unwrap();
    net.door.withdraw("news", |caller| caller.identity().is_some_and(|name| &**name == "a"));
    soon(news.ended()).await;
    assert!(!news.is_active());
    server.lookup("news").multi_cast("secret", &()).await.unwrap();
    server.lookup("other").multi_cast("public", &()).await.unwrap();
    assert_eq!(soon(heard.recv()).await.unwrap().method, "public");

    fragile.down.store(true, SeqCst);
    let mut state = fragile.client.state();
    net.door.end_sessions(&CloseReason::new(CloseReason::POLICY, "revoked"), |caller| {
        caller.get::<String>().is_some_and(|name| name == "a")
    });
    let lost = soon(state.wait_for(|state| matches!(state, ConnectionState::Waiting { .. }))).await.unwrap().clone();
    let ConnectionState::Waiting { trouble, .. } = lost else { panic!("{lost:?}") };
    assert!(trouble.to_string().contains("revoked") || trouble.to_string().contains("down"), "{trouble}");
    eventually("the session is gone", || net.hub.stats().sessions.get() == 0).await;
}

#[tokio::test]
async fn closing_the_door_flushes_answers_and_lets_nobody_in() {
    let net = net();
    let server = Broker::new(Arc::new(net.hub.clone()));
    let _bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let mut raw = net.raw(device("a")).await;
    for number in 0..100 {
        raw.say(&format!(
            r#"{{"op":"publish","to":"obj","id":"{number}","app":"obj","type":"gson","reply":true,"body":{{"method":"name","id":"{number}"}}}}"#
        ))
        .await;
    }
    eventually("all are carried out", || net.hub.stats().calls.get() == 100).await;
    let closing = tokio::spawn({
        let door = net.door.clone();
        async move { door.close(&CloseReason::new(CloseReason::AWAY, "restart")).await }
    });
    let mut answers = 0;
    let reason = loop {
        match soon(raw.socket.next()).await {
            Some(Ok(WsMessage::Text(_))) => answers += 1,
            Some(Ok(WsMessage::Close(reason))) => break reason.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((answers, u16::from(reason.code), reason.reason.as_str()), (100, 1001, "restart"));
    drop(raw.socket);
    soon(closing).await.unwrap();
    let late = net.raw(device("b")).await;
    assert!(matches!(soon(late.session).await.unwrap(), SessionEnd::Ours(_)));
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_and_others_are_not_held_up() {
    let options = DoorOptions { unsent_frames_max: 50, ..DoorOptions::default() };
    let net = Net::new(HubLimits::default(), options);
    let server = Broker::new(Arc::new(net.hub.clone()));
    let quick = net.client(device("quick"), eager());
    connected(&quick).await;
    let quick = Broker::new(Arc::new(quick));
    let (object, mut news) = recorder();
    let _listening = quick.listen("news", object).await.unwrap();
    let mut slow = net.raw(device("slow")).await;
    slow.say(r#"{"op":"follow","n":1,"to":"news"}"#).await;
    assert_eq!(slow.hear().await["op"], "ok");
    let page = "x".repeat(10_000);
    for _ in 0..200 {
        server.lookup("news").multi_cast("news", &page).await.unwrap();
        soon(news.recv()).await.unwrap();
    }
    assert_eq!(soon(slow.session).await.unwrap(), SessionEnd::Slow);
    assert_eq!(net.hub.stats().sessions_slow.get(), 1);
}

/// A revoked device that did not read kept its session, since the farewell waited behind what it did not read.
#[tokio::test(start_paused = true)]
async fn who_is_shown_out_is_not_listened_to_and_goes_even_if_he_does_not_read() {
    let net = net();
    let server = Broker::new(Arc::new(net.hub.clone()));
    let (object, mut calls) = recorder();
    let _bound = server.bind("obj", object, BindOptions::default()).await.unwrap();
    let mut raw = net.raw(device("revoked")).await;
    raw.say(r#"{"op":"follow","n":1,"to":"news"}"#).await;
    assert_eq!(raw.hear().await["op"], "ok");
    for _ in 0..20 {
        server.lookup("news").multi_cast("news", &"x".repeat(10_000)).await.unwrap();
    }
    let started = tokio::time::Instant::now();
    net.door.end_sessions(&CloseReason::new(CloseReason::POLICY, "revoked"), |_| true);
    raw.say(r#"{"op":"publish","to":"obj","id":"1","app":"obj","type":"gson","body":{"method":"late"}}"#).await;
    assert_eq!(raw.session.await.unwrap(), SessionEnd::Slow);
    assert!(started.elapsed() <= Duration::from_secs(6));
    let late: Vec<_> = std::iter::from_fn(|| calls.try_recv().ok()).collect();
    assert!(late.is_empty(), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_then_given_up() {
    let net = net();
    let started = tokio::time::Instant::now();
    let raw = net.raw(device("silent")).await;
    let end = raw.session.await.unwrap();
    assert_eq!(end, SessionEnd::Silent(DEAD_AFTER));
    assert_eq!(started.elapsed().as_secs(), DEAD_AFTER.as_secs() + 1, "one second is for the farewell");
    assert_eq!(net.hub.stats().sessions_silent.get(), 1);
    assert_eq!(net.hub.stats().frames_out.get(), 2, "pings at 20 s and 40 s");
    drop(raw.socket);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_stays() {
    let net = net();
    let client = net.client(device("idle"), ClientOptions::default());
    connected(&client).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(*client.state().borrow(), ConnectionState::Connected);
    assert_eq!(net.hub.stats().sessions_total.get(), 1);
}

#[tokio::test]
async fn a_refused_handshake_tells_its_status() {
    let connector = || async {
        let (mut ours, theirs) = tokio::io::duplex(4096);
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut request = vec![0; 4096];
            let length = ours.read(&mut request).await.unwrap();
            assert!(String::from_utf8_lossy(&request[..length]).contains("authorization: Bearer secret"));
            ours.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 7\r\n\r\nrevoked").await.unwrap();
        });
        Ok::<_, Trouble>(Connection {
            stream: Box::new(theirs),
            url: "wss://server.example/v1/objectmq".into(),
            headers: vec![("Authorization".into(), "Bearer secret".into())],
        })
    };
    let client = Client::start(Arc::new(connector), ClientOptions::default());
    let mut state = client.state();
    let waiting = soon(state.wait_for(|state| matches!(state, ConnectionState::Waiting { .. }))).await.unwrap().clone();
    let ConnectionState::Waiting { trouble: Trouble::Rejected { status, .. }, retry_in } = waiting else { panic!("{waiting:?}") };
    assert_eq!(status, 401);
    assert!(retry_in <= Duration::from_millis(500));
    soon(client.close()).await;
    assert_eq!(*client.state().borrow(), ConnectionState::Closed);
}

impl Raw {
    pub async fn say(&mut self, frame: &str) {
        soon(self.socket.send(WsMessage::text(frame))).await.unwrap();
    }

    pub async fn hear(&mut self) -> serde_json::Value {
        loop {
            match soon(self.socket.next()).await.unwrap().unwrap() {
                WsMessage::Text(text) => return serde_json::from_str(&text).unwrap(),
                WsMessage::Ping(_) | WsMessage::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
