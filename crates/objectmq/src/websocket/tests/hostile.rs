//! What a session does with input that nobody should send: it is answered, counted, and hurts nobody else.

use super::*;
use crate::conformance::{Object, echo, eventually, patient, soon};
use crate::{BindOptions, Incoming, encode_result};
use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio_tungstenite::tungstenite::Message as WsMessage;

fn net() -> Net {
    Net::new(HubLimits::default(), DoorOptions::default())
}

fn mallory() -> Caller {
    Caller::new("mallory", ())
}

/// A call as a frame.
fn call(to: &str, id: &str, body: &str) -> String {
    format!(r#"{{"op":"publish","to":"{to}","id":"{id}","app":"{to}","type":"gson","reply":true,"body":{body}}}"#)
}

async fn bind_echo(net: &Net) -> (Broker, crate::Binding) {
    let server = Broker::new(Arc::new(net.hub.clone()));
    let bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    (server, bound)
}

/// The session still answers an ordinary call.
async fn assert_alive(raw: &mut Raw) {
    raw.say(&call("obj", "alive", r#"{"method":"name","id":"alive"}"#)).await;
    let answer = raw.hear().await;
    assert_eq!(answer["op"], "answer", "{answer}");
    assert_eq!((&answer["id"], &answer["body"]["result"]), (&json!("alive"), &json!("one")));
}

#[tokio::test]
async fn garbage_is_answered_and_the_session_lives_on() {
    let net = net();
    let _bound = bind_echo(&net).await;
    let mut raw = net.raw(mallory()).await;
    let long = "x".repeat(300);
    let table = [
        "",
        "null",
        "[]",
        "{}",
        "{\"op\":",
        "\u{0}",
        r#"{"op":"launch"}"#,
        r#"{"op":7}"#,
        r#"{"op":"publish"}"#,
        r#"{"op":"publish","to":"obj","id":"1","app":"obj","type":"gson"}"#,
        r#"{"op":"publish","to":"","id":"1","app":"obj","type":"gson","body":{}}"#,
        r#"{"op":"publish","to":"obj","id":"","app":"obj","type":"gson","body":{}}"#,
        r#"{"op":"publish","to":"obj","id":1,"app":"obj","type":"gson","body":{}}"#,
        r#"{"op":"publish","to":"obj","id":"1","app":"obj","type":"gson","reply":"yes","body":{}}"#,
        r#"{"op":"follow","to":"x"}"#,
        r#"{"op":"follow","n":-1,"to":"x"}"#,
        r#"{"op":"follow","n":1.5,"to":"x"}"#,
        r#"{"op":"consume","n":1,"to":"x"}"#,
        r#"{"op":"leave"}"#,
        r#"{"op":"settle"}"#,
        r#"{"op":"settle","tag":99}"#,
        r#"{"op":"ok","n":1}"#,
        r#"{"op":"deliver","n":1,"tag":1}"#,
        r#"{"op":"notice","n":1}"#,
        r#"{"op":"error"}"#,
        &call(&long, "1", "{}"),
        &call("obj", &long, "{}"),
    ];
    for (number, frame) in table.into_iter().enumerate() {
        raw.say(frame).await;
        let answer = raw.hear().await;
        assert_eq!((&answer["op"], &answer["code"]), (&json!("error"), &json!("malformed")), "{frame:.100} {answer}");
        assert_eq!(net.hub.stats().malformed.get(), number as u64 + 1);
    }
    raw.say(&call("obj", "waiting", "null")).await;
    assert_eq!(raw.hear().await["id"], "waiting", "whoever waits is told");
    raw.socket.send(WsMessage::binary(vec![0xac, 0xed, 0, 5])).await.unwrap();
    assert_eq!(raw.hear().await["code"], "malformed");
    assert_alive(&mut raw).await;
}

#[tokio::test]
async fn bodies_that_are_no_calls_are_answered_by_the_object() {
    let net = net();
    let _bound = bind_echo(&net).await;
    let mut raw = net.raw(mallory()).await;
    for (number, body) in
        ["{}", "false", "[]", r#""x""#, r#"{"method":7}"#, r#"{"method":"m","params":{}}"#].into_iter().enumerate()
    {
        raw.say(&call("obj", &number.to_string(), body)).await;
        let answer = raw.hear().await;
        assert_eq!(answer["body"]["error"]["type"], "omq.exception.SerializerException", "{body} {answer}");
    }
    raw.say(r#"{"op":"publish","to":"obj","id":"j","app":"obj","type":"java","reply":true,"body":{"method":"name"}}"#).await;
    assert!(raw.hear().await["body"]["error"]["message"].as_str().unwrap().contains("java"));
    // Nobody waits for these: they are counted only.
    let before = net.hub.stats().malformed.get();
    raw.say(r#"{"op":"publish","to":"obj","id":"c","app":"obj","type":"gson","body":7}"#).await;
    eventually("it is counted", || net.hub.stats().malformed.get() == before + 1).await;
    assert_alive(&mut raw).await;
}

#[tokio::test]
async fn an_unknown_reference_or_method_is_told() {
    let net = net();
    let _bound = bind_echo(&net).await;
    let mut raw = net.raw(mallory()).await;
    raw.say(&call("nobody", "1", r#"{"method":"x"}"#)).await;
    let answer = raw.hear().await;
    assert_eq!((&answer["op"], &answer["code"], &answer["id"]), (&json!("error"), &json!("not_bound"), &json!("1")));
    raw.say(&call("obj", "2", r#"{"method":"launch"}"#)).await;
    assert_eq!(raw.hear().await["body"]["error"]["type"], "omq.exception.RemoteException");
    assert_alive(&mut raw).await;
}

#[tokio::test]
async fn an_oversized_frame_ends_the_session_with_its_code() {
    let limits = HubLimits { message_bytes_max: 1_000, ..HubLimits::default() };
    let net = Net::new(limits, DoorOptions::default());
    let mut raw = net.raw(mallory()).await;
    raw.say(&call("obj", "1", &format!("\"{}\"", "x".repeat(2_000)))).await;
    assert_eq!(raw.hear().await["code"], "too_large", "longer than a body may be, not longer than a frame");
    raw.say(&"x".repeat(net.door.frame_bytes_max() + 1)).await;
    match soon(raw.socket.next()).await.unwrap().unwrap() {
        WsMessage::Close(Some(reason)) => assert_eq!(u16::from(reason.code), 1009),
        other => panic!("{other:?}"),
    }
    drop(raw.socket);
    assert_eq!(soon(raw.session).await.unwrap(), SessionEnd::Broken(SocketError::TooLarge));
}

#[tokio::test]
async fn duplicate_ids_are_carried_out_once_and_only_answered_to_their_caller() {
    let net = net();
    let server = Broker::new(Arc::new(net.hub.clone()));
    let executed = Arc::new(AtomicUsize::new(0));
    let counting = executed.clone();
    let object = Object(move |_: Incoming| {
        let number = counting.fetch_add(1, SeqCst);
        async move { encode_result(&number) }
    });
    let _bound = server.bind("obj", Arc::new(object), BindOptions::default()).await.unwrap();
    let mut mallory_raw = net.raw(mallory()).await;
    let same = call("obj", "same", r#"{"method":"count"}"#);
    for _ in 0..5 {
        mallory_raw.say(&same).await;
        assert_eq!(mallory_raw.hear().await["body"]["result"], 0);
    }
    mallory_raw.say(&call("obj", "same", r#"{"method":"other"}"#)).await;
    assert_eq!(mallory_raw.hear().await["body"]["error"]["type"], "omq.exception.RemoteException");
    // Another device with the same id has its own call.
    let mut alice = net.raw(Caller::new("alice", ())).await;
    alice.say(&same).await;
    assert_eq!(alice.hear().await["body"]["result"], 1);
    // The same device in another session is answered with its first answer.
    let mut again = net.raw(mallory()).await;
    again.say(&same).await;
    assert_eq!(again.hear().await["body"]["result"], 0);
    assert_eq!(executed.load(SeqCst), 2);
}

#[tokio::test]
async fn answers_to_nobody_and_out_of_order_frames_harm_nobody() {
    let net = net();
    let _bound = bind_echo(&net).await;
    let mut raw = net.raw(mallory()).await;
    for to in ["reply.unknown", "session", "obj"] {
        raw.say(&format!(r#"{{"op":"answer","to":"{to}","id":"x","app":"a","type":"normalResponse","body":{{"id":"x"}}}}"#)).await;
    }
    raw.say(r#"{"op":"leave","n":5}"#).await;
    assert_eq!(raw.hear().await, json!({"op": "ok", "n": 5}));
    raw.say(r#"{"op":"follow","n":5,"to":"news"}"#).await;
    assert_eq!(raw.hear().await["op"], "ok");
    raw.say(r#"{"op":"follow","n":5,"to":"news"}"#).await;
    let twice = raw.hear().await;
    assert_eq!((&twice["op"], &twice["n"]), (&json!("error"), &json!(5)));
    assert_eq!(net.hub.stats().answers_lost.get(), 3);
    assert_alive(&mut raw).await;
}

#[tokio::test]
async fn a_flood_is_refused_as_busy_and_others_are_served() {
    let options = DoorOptions { in_flight_max: 8, inboxes_max: 4, ..DoorOptions::default() };
    let net = Net::new(HubLimits { queue_messages_max: 16, ..HubLimits::default() }, options);
    let (server, _bound) = bind_echo(&net).await;
    let stuck = Object(|_: Incoming| std::future::pending());
    let one = BindOptions { workers: 1, ..BindOptions::default() };
    let _stuck = server.bind("stuck", Arc::new(stuck), one).await.unwrap();
    let mut raw = net.raw(mallory()).await;
    for number in 0..20 {
        raw.say(&call("stuck", &number.to_string(), r#"{"method":"x"}"#)).await;
    }
    for number in 8..20 {
        let refused = raw.hear().await;
        assert_eq!((&refused["code"], &refused["id"]), (&json!("busy"), &json!(number.to_string())));
    }
    for n in 0..6 {
        raw.say(&format!(r#"{{"op":"follow","n":{n},"to":"news"}}"#)).await;
        assert_eq!(raw.hear().await["op"] == "ok", n < 4);
    }
    // The queue itself is bounded too, for all together.
    let mut others = Vec::new();
    for number in 0..3 {
        let mut other = net.raw(Caller::new(&format!("other {number}"), ())).await;
        for id in 0..8 {
            other.say(&call("stuck", &id.to_string(), r#"{"method":"x"}"#)).await;
        }
        others.push(other);
    }
    eventually("the queue is full", || net.hub.queue_depth("stuck") == 16 && net.hub.stats().busy.get() > 12).await;
    let alice = net.client(Caller::new("alice", ()), ClientOptions::default());
    connected(&alice).await;
    let alice = Broker::new(Arc::new(alice));
    assert_eq!(alice.lookup("obj").call::<String>("name", &(), patient()).await, Ok("one".into()));
}

#[tokio::test]
async fn a_consumer_that_never_settles_gets_no_more_than_it_asked_for() {
    let net = net();
    let mut raw = net.raw(mallory()).await;
    raw.say(r#"{"op":"consume","n":1,"to":"work","max":3}"#).await;
    assert_eq!(raw.hear().await["op"], "ok");
    let caller = Broker::new(Arc::new(net.hub.clone()));
    for number in 0..10 {
        caller.lookup("work").cast("do", &number).await.unwrap();
    }
    let mut tags = Vec::new();
    for number in 0..3 {
        let delivered = raw.hear().await;
        assert_eq!((&delivered["op"], &delivered["body"]["params"]), (&json!("deliver"), &json!([number])));
        tags.push(delivered["tag"].as_u64().unwrap());
    }
    assert_eq!(net.hub.queue_depth("work"), 7);
    raw.say(&format!(r#"{{"op":"settle","tag":{}}}"#, tags[1])).await;
    let next = raw.hear().await;
    assert_eq!(next["body"]["params"], json!([3]));
    // Settling twice is an error, and gives no credit.
    raw.say(&format!(r#"{{"op":"settle","tag":{}}}"#, tags[1])).await;
    assert_eq!(raw.hear().await["code"], "malformed");
    assert_eq!(net.hub.queue_depth("work"), 6);
}

#[tokio::test]
async fn a_message_that_nobody_survives_is_given_up() {
    let net = net();
    let caller = Broker::new(Arc::new(net.hub.clone()));
    let mut raw = net.raw(mallory()).await;
    raw.say(r#"{"op":"consume","n":1,"to":"work","max":1}"#).await;
    assert_eq!(raw.hear().await["op"], "ok");
    let poison = tokio::spawn(async move { caller.lookup("work").call::<()>("die", &(), patient()).await });
    for _ in 0..crate::transport::DELIVERIES_MAX {
        let delivered = raw.hear().await;
        raw.say(&format!(r#"{{"op":"settle","tag":{},"again":true}}"#, delivered["tag"])).await;
    }
    assert!(matches!(soon(poison).await.unwrap(), Err(crate::CallError::Malformed(_))));
    assert_eq!(net.hub.stats().dead.get(), 1);
}

/// What a server may send that a client must survive.
#[tokio::test]
async fn a_client_survives_a_mad_server() {
    let frames = [
        "garbage",
        "{}",
        r#"{"op":"ok"}"#,
        r#"{"op":"ok","n":77}"#,
        r#"{"op":"error","n":77,"code":"x","text":"y"}"#,
        r#"{"op":"error","id":"nobody"}"#,
        r#"{"op":"error"}"#,
        r#"{"op":"publish","to":"x"}"#,
        r#"{"op":"notice","n":77}"#,
        r#"{"op":"notice","n":77,"id":"i","app":"a","type":"gson","body":{}}"#,
        r#"{"op":"deliver","n":77,"tag":1,"id":"i","app":"a","type":"gson","body":{}}"#,
        r#"{"op":"answer","id":"nobody","app":"a","type":"normalResponse","body":{}}"#,
    ];
    let connector = move || {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        tokio::spawn(async move {
            let mut socket = tokio_tungstenite::accept_async(ours).await.unwrap();
            for frame in frames {
                socket.send(WsMessage::text(frame)).await.unwrap();
            }
            socket.send(WsMessage::binary(vec![1, 2, 3])).await.unwrap();
            while let Some(Ok(WsMessage::Text(text))) = socket.next().await {
                let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
                if frame["op"] == "publish" {
                    let answer =
                        json!({"op": "answer", "id": frame["id"], "app": "a", "type": "normalResponse", "body": {"result": 7}});
                    socket.send(WsMessage::text(answer.to_string())).await.unwrap();
                }
            }
        });
        async { Ok::<_, Trouble>(Connection { stream: Box::new(theirs), url: "ws://x/".into(), headers: Vec::new() }) }
    };
    let client = Client::start(Arc::new(connector), ClientOptions::default());
    connected(&client).await;
    let broker = Broker::new(Arc::new(client));
    assert_eq!(broker.lookup("obj").call::<u32>("name", &(), patient()).await, Ok(7));
    assert!(broker.stats().malformed.get() >= 5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any frames at all, then an ordinary call.
    #[test]
    fn whatever_is_said_the_session_still_answers(frames in prop::collection::vec(frame(), 0..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let net = net();
            let _bound = bind_echo(&net).await;
            let mut raw = net.raw(mallory()).await;
            for frame in &frames {
                raw.say(frame).await;
            }
            raw.say(&call("obj", "alive", r#"{"method":"name","id":"alive"}"#)).await;
            while raw.hear().await["id"] != "alive" {}
        });
    }
}

fn frame() -> impl Strategy<Value = String> {
    let op = prop_oneof![
        Just("publish"),
        Just("consume"),
        Just("follow"),
        Just("leave"),
        Just("settle"),
        Just("answer"),
        Just("ok"),
        Just("deliver"),
    ];
    let word = prop_oneof![Just("obj".to_owned()), Just("news".to_owned()), Just("forbidden".to_owned()), "\\PC{0,6}"];
    let known = (op, word.clone(), word, 0_u64..4, any::<bool>(), any::<bool>()).prop_map(|(op, to, id, n, yes, multi)| {
        json!({"op": op, "to": to, "id": id, "app": to, "type": "gson", "n": n, "tag": n, "max": n, "again": yes, "reply": yes,
               "multi": multi, "body": {"method": "echo", "params": [n], "async": multi}})
        .to_string()
    });
    prop_oneof![4 => known, 1 => "\\PC*"]
}
