//! What is seen on the broker: entities, flags, properties, and how messages of others are dealt with. The other side is a bare AMQP
//! client.

use super::*;
use crate::conformance::{echo, eventually, patient, recorder, soon};
use crate::envelope::Compression;
use crate::envelope::Serializer;
use crate::{BindOptions, encode_result};
use lapin::message::Delivery;
use lapin::options::*;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};

/// A bare client in a virtual host.
struct Bare {
    channel: Channel,
    _connection: Connection,
}

impl Bare {
    async fn connect(vhost: &str) -> Bare {
        let uri = format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", Rabbit::shared().port);
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await.unwrap();
        Bare { channel: connection.create_channel().await.unwrap(), _connection: connection }
    }

    async fn queue(&self) -> String {
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        self.channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap().name().to_string()
    }

    async fn send(&self, exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) {
        let options = BasicPublishOptions::default();
        let _ = self.channel.basic_publish(exchange.into(), key.into(), options, body, properties).await.unwrap().await.unwrap();
    }

    async fn next(&self, queue: &str) -> Delivery {
        let got = async {
            loop {
                if let Some(got) = self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
                    return got.delivery;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(got).await
    }
}

fn api(path: &str) -> Value {
    let (status, body) = Rabbit::shared().api("GET", path, "");
    assert_eq!(status, 200, "{path}");
    serde_json::from_str(&body).unwrap()
}

fn picked(of: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| of[name].clone()).collect()
}

#[tokio::test]
async fn entities_have_the_names_and_flags_of_the_original() {
    let world = world(Encodings::default(), |_| {});
    let vhost = &world.config.vhost.clone();
    let (server, client) = (world.broker().await, world.broker().await);
    let _bound = server.bind("ISyncService", echo("one"), BindOptions::default()).await.unwrap();
    client.lookup("ISyncService").call::<String>("name", &(), patient()).await.unwrap();

    let flags = ["type", "durable", "auto_delete", "arguments"];
    let rpc = api(&format!("/api/exchanges/{vhost}/rpc_global_exchange"));
    assert_eq!(picked(&rpc, &flags), json!(["direct", false, false, {}]));
    let multi = api(&format!("/api/exchanges/{vhost}/multi%23ISyncService"));
    assert_eq!(picked(&multi, &flags), json!(["fanout", false, false, {}]));

    let queues = api(&format!("/api/queues/{vhost}"));
    let find = |is: &dyn Fn(&str) -> bool| {
        queues
            .as_array()
            .unwrap()
            .iter()
            .find(|queue| is(queue["name"].as_str().unwrap()))
            .unwrap_or_else(|| panic!("{queues}"))
            .clone()
    };
    let flags = ["durable", "exclusive", "auto_delete", "arguments"];
    let object = find(&|name| name == "ISyncService");
    assert_eq!(picked(&object, &flags), json!([false, false, false, {}]));
    let notices = find(&|name| name.starts_with("amq.gen"));
    assert_eq!(picked(&notices, &flags), json!([false, true, true, {}]));
    let replies = find(&|name| name.starts_with("reply."));
    assert_eq!(picked(&replies, &flags), json!([false, true, true, {}]));

    let bindings = api(&format!("/api/bindings/{vhost}"));
    let has = |source: &str, key: &str| {
        bindings.as_array().unwrap().iter().any(|binding| binding["source"] == source && binding["routing_key"] == key)
    };
    assert!(has("rpc_global_exchange", "ISyncService"), "{bindings}");
    assert!(has("multi#ISyncService", ""), "{bindings}");

    // A process of the original declares the same; other flags would close its channel.
    let bare = Bare::connect(vhost).await;
    bare.channel.queue_declare("ISyncService".into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
    let (direct, fanout, options) = (ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeDeclareOptions::default());
    bare.channel.exchange_declare("rpc_global_exchange".into(), direct, options, FieldTable::default()).await.unwrap();
    bare.channel.exchange_declare("multi#ISyncService".into(), fanout, options, FieldTable::default()).await.unwrap();
}

#[tokio::test]
async fn named_queues_have_the_configured_flags() {
    let flags = QueueFlags { durable: true, exclusive: false, auto_delete: false };
    let world = world(Encodings::default(), |config| {
        config.reply_queue = Some("replies".to_owned());
        config.multi_queue = Some("notices".to_owned());
        (config.object_queues, config.reply_queues, config.multi_queues) = (flags, flags, flags);
        config.reply_lifetime = Some(Duration::from_secs(7));
        config.delivery_mode = Some(DeliveryMode::Persistent);
    });
    let vhost = world.config.vhost.clone();
    let broker = world.broker().await;
    let _bound = broker.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    broker.lookup("obj").call::<String>("name", &(), patient()).await.unwrap();
    for (name, arguments) in [("obj", json!({})), ("notices", json!({})), ("replies", json!({"x-message-ttl": 7000}))] {
        let queue = api(&format!("/api/queues/{vhost}/{name}"));
        assert_eq!(picked(&queue, &["durable", "exclusive", "auto_delete", "arguments"]), json!([true, false, false, arguments]));
    }
}

#[tokio::test]
async fn messages_have_the_properties_of_the_original() {
    let world = world(original(Encoding::JAVA), |config| config.delivery_mode = Some(DeliveryMode::Transient));
    let broker = world.broker().await;
    let bare = Bare::connect(&world.config.vhost).await;
    // What a service of the original would see.
    let (direct, options) = (ExchangeKind::Direct, ExchangeDeclareOptions::default());
    bare.channel.exchange_declare("rpc_global_exchange".into(), direct, options, FieldTable::default()).await.unwrap();
    let queue = bare.queue().await;
    let bind = QueueBindOptions::default();
    bare.channel
        .queue_bind((&*queue).into(), "rpc_global_exchange".into(), "obj".into(), bind, FieldTable::default())
        .await
        .unwrap();
    let proxy = broker.lookup("obj");
    let calling = tokio::spawn(async move { proxy.call::<String>("m", &"p", patient()).await });
    let request = bare.next(&queue).await;
    let (kind, body) = (crate::MessageType::Java, &request.data);
    let (_, decoded) = original(Encoding::JAVA).decode_request(&kind, body).unwrap();
    let properties = &request.properties;
    let text = |property: &Option<lapin::types::ShortString>| property.as_ref().map(ToString::to_string);
    assert_eq!(text(properties.app_id()).as_deref(), Some("obj"));
    assert_eq!(text(properties.correlation_id()), decoded.id);
    assert_eq!(text(properties.kind()).as_deref(), Some("java"));
    assert_eq!(properties.delivery_mode(), &Some(1));
    let reply_to = text(properties.reply_to()).unwrap();
    assert!(properties.content_type().is_none() && properties.headers().is_none() && properties.timestamp().is_none());

    // Its answer, and before it one that nobody waits for.
    let id = decoded.id.unwrap();
    let answered = crate::envelope::Answered { method: "m", id: &id, reference: "obj" };
    let result = encode_result(&"r").unwrap();
    let body = original(Encoding::JAVA).encode_response(Encoding::JAVA, &answered, Ok(&result)).unwrap();
    let of = |id: &str| {
        BasicProperties::default().with_app_id("obj".into()).with_correlation_id(id.into()).with_type("normalResponse".into())
    };
    bare.send("", &reply_to, of("nobody's"), &body).await;
    bare.send("", &reply_to, of(&id), &body).await;
    assert_eq!(soon(calling).await.unwrap(), Ok("r".to_owned()));

    // A notification: to the fanout exchange, with the empty key, without a reply queue.
    broker.lookup("news").multi_cast("first", &()).await.unwrap();
    let bind = QueueBindOptions::default();
    bare.channel.queue_bind((&*queue).into(), "multi#news".into(), "".into(), bind, FieldTable::default()).await.unwrap();
    broker.lookup("news").multi_cast("second", &1).await.unwrap();
    let notice = bare.next(&queue).await;
    assert_eq!((notice.exchange.as_str(), notice.routing_key.as_str()), ("multi#news", ""));
    assert_eq!((text(notice.properties.app_id()).as_deref(), text(notice.properties.reply_to())), (Some("news"), None));
}

fn request(encoding: Encoding, method: &str, param: &Value) -> Vec<u8> {
    let call = crate::envelope::Call { method, id: "id", answer: crate::envelope::Answer::Wanted };
    original(encoding).encode_request(&call, param).unwrap()
}

#[tokio::test]
async fn callers_of_the_original_are_answered_in_their_own_encoding() {
    let world = world(original(Encoding::JSON), |_| {});
    let server = world.broker().await;
    let _bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let bare = Bare::connect(&world.config.vhost).await;
    let queue = bare.queue().await;
    let gzip = |encoding: Encoding| Encoding { compression: Compression::Gzip, ..encoding };
    for encoding in [Encoding::JAVA, Encoding::JSON, gzip(Encoding::JAVA), gzip(Encoding::JSON)] {
        let kind = if encoding.serializer == Serializer::Java { "java" } else { "gson" };
        for method in ["echo", "fail", "no such method"] {
            let asked = BasicProperties::default().with_app_id("obj".into()).with_type(kind.into()).with_reply_to((&*queue).into());
            let properties = asked.with_correlation_id(format!("{kind} {method} {encoding:?}").into());
            bare.send("rpc_global_exchange", "obj", properties, &request(encoding, method, &json!({"a": "😀"}))).await;
            let answer = bare.next(&queue).await;
            assert_eq!((answer.exchange.as_str(), answer.routing_key.as_str()), ("", &*queue));
            let text =
                |property: &Option<lapin::types::ShortString>| property.as_ref().map(ToString::to_string).unwrap_or_default();
            let properties = &answer.properties;
            assert_eq!(text(properties.app_id()), "obj");
            assert_eq!(text(properties.kind()), "normalResponse");
            assert!(text(properties.correlation_id()).starts_with(kind));
            assert!(properties.reply_to().is_none() && properties.delivery_mode().is_none());
            assert_eq!(
                original(encoding).guess(&crate::MessageType::NormalResponse, &answer.data).compression,
                encoding.compression
            );
            let body = original(encoding).open(&answer.data).unwrap().into_owned();
            assert_eq!(body.starts_with(&crate::java::HEADER), encoding.serializer == Serializer::Java);
            let response = original(encoding).decode_response(&body).unwrap();
            assert_eq!((response.id.as_deref(), response.reference.as_deref()), (Some("id"), Some("obj")));
            match method {
                "echo" => assert_eq!(response.outcome.unwrap().unwrap().get(), r#"{"a":"😀"}"#),
                "fail" => assert_eq!(response.outcome.unwrap_err().kind, "com.example.Failed"),
                _ => assert_eq!(response.outcome.unwrap_err().kind, "omq.exception.RemoteException"),
            }
        }
    }
}

#[tokio::test]
async fn what_nobody_can_read_is_answered_where_it_can_be_and_kept() {
    let world = world(original(Encoding::JSON), |_| {});
    let server = world.broker().await;
    let options = BindOptions { workers: 1, ..BindOptions::default() };
    let _bound = server.bind("obj", echo("one"), options).await.unwrap();
    let bare = Bare::connect(&world.config.vhost).await;
    let queue = bare.queue().await;
    let none = BasicProperties::default();
    let asking = |kind: &str| none.clone().with_type(kind.into()).with_reply_to((&*queue).into()).with_correlation_id("id".into());
    let java = request(Encoding::JAVA, "echo", &json!("x"));
    for (properties, body, answered, reason) in [
        (asking("java"), &b"\xac\xed\0\x05garbage"[..], Some(Encoding::JAVA), "not a request"),
        (asking("java"), &java[..java.len() / 2], Some(Encoding::JAVA), "too early"),
        (asking("gson"), b"{", Some(Encoding::JSON), "not a request"),
        (asking("kryo"), b"\x01\x02", Some(Encoding::JSON), "\"kryo\" are not read here"),
        (none.clone().with_reply_to((&*queue).into()), &java, Some(Encoding::JAVA), "\"\" are not read here"),
        (none.clone().with_type("java".into()), b"?", None, "not a request"),
        (none.clone(), b"", None, "\"\" are not read here"),
    ] {
        bare.send("rpc_global_exchange", "obj", properties, body).await;
        // Declared with the first of them.
        let path = format!("/api/queues/{}/dead.obj", world.config.vhost);
        eventually("there is a queue of dead letters", || Rabbit::shared().api("GET", &path, "").0 == 200).await;
        let dead = bare.next("dead.obj").await;
        assert_eq!(dead.data, body);
        let headers = dead.properties.headers().clone().unwrap();
        assert!(format!("{:?}", headers.inner().get("x-objectmq-reason").unwrap()).contains("LongString"));
        assert_eq!(dead.properties.delivery_mode(), &Some(2));
        if let Some(encoding) = answered {
            let answer = bare.next(&queue).await;
            let response = original(encoding).decode_response(&answer.data).unwrap();
            let error = response.outcome.unwrap_err();
            assert_eq!(error.kind, "omq.exception.SerializerException");
            assert!(error.message.contains(reason), "{error}");
        }
    }
    // The one worker was never stuck.
    let client = world.broker().await;
    assert_eq!(client.lookup("obj").call::<String>("name", &(), patient()).await, Ok("one".to_owned()));
    assert_eq!(server.stats().dead.get(), 7);
    eventually("everything is settled", || api(&format!("/api/queues/{}/obj", world.config.vhost))["messages_unacknowledged"] != 1)
        .await;
}

#[tokio::test]
async fn a_sample_client_of_the_original_is_understood() {
    let world = world(original(Encoding::JAVA), |_| {});
    let server = world.broker().await;
    let (object, mut calls) = recorder();
    let _bound = server.bind("obj", object, BindOptions::default()).await.unwrap();
    let bare = Bare::connect(&world.config.vhost).await;
    let properties =
        || BasicProperties::default().with_type("gson".into()).with_reply_to("".into()).with_correlation_id("1".into());
    bare.send("rpc_global_exchange", "obj", properties(), br#"{"method":"a","params":["p"],"id":"1","async":"true"}"#).await;
    assert!(soon(calls.recv()).await.unwrap().asynchronous);
    // A multi call with the reference as its key.
    bare.send("multi#obj", "obj", properties(), br#"{"method":"b","id":"2","async":"true"}"#).await;
    assert_eq!(soon(calls.recv()).await.unwrap().method, "b");
    // Calls without a correlation id are calls of their own.
    for _ in 0..2 {
        let asked = BasicProperties::default().with_type("gson".into()).with_reply_to("somewhere".into());
        bare.send("rpc_global_exchange", "obj", asked, br#"{"method":"c","id":"3"}"#).await;
        assert_eq!(soon(calls.recv()).await.unwrap().id, "3");
    }
}

#[tokio::test]
async fn a_failed_call_that_nobody_waits_for_is_kept() {
    let world = world(Encodings::default(), |_| {});
    let (server, client) = (world.broker().await, world.broker().await);
    let _bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    client.lookup("obj").cast("fail", &7).await.unwrap();
    let bare = Bare::connect(&world.config.vhost).await;
    // The queue is declared with the first of them.
    eventually("it is kept", || Rabbit::shared().api("GET", &format!("/api/queues/{}/dead.obj", world.config.vhost), "").0 == 200)
        .await;
    let dead = bare.next("dead.obj").await;
    assert!(String::from_utf8(dead.data.clone()).unwrap().contains("fail"));
}

#[tokio::test]
async fn what_is_not_dealt_with_goes_to_another_instance() {
    let world = world(Encodings::default(), |_| {});
    let (first, client) = (Amqp::connect(world.config.clone()).await.unwrap(), world.broker().await);
    let inbox = first.consume("obj", 4).await.unwrap();
    let proxy = client.lookup("obj");
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let proxy = proxy.clone();
            tokio::spawn(async move { proxy.call::<String>("name", &(), patient()).await })
        })
        .collect();
    // One is taken and given back, one is taken and its instance dies, one is never taken.
    drop(soon(inbox.next()).await.unwrap());
    let taken = soon(inbox.next()).await.unwrap();
    let second = world.broker().await;
    first.0.link.borrow().clone().unwrap().lose("as asked");
    let _bound = second.bind("obj", echo("second"), BindOptions::default()).await.unwrap();
    drop((taken, inbox));
    for call in calls {
        assert_eq!(soon(call).await.unwrap(), Ok("second".to_owned()));
    }
}

#[tokio::test]
async fn a_message_that_kills_whoever_takes_it_is_given_up() {
    let world = world(Encodings::default(), |config| config.queue_kind = QueueKind::Quorum);
    let (server, client) = (Amqp::connect(world.config.clone()).await.unwrap(), world.broker().await);
    let inbox = server.consume("obj", 1).await.unwrap();
    client.lookup("obj").cast("kill", &()).await.unwrap();
    for _ in 0..=crate::transport::DELIVERIES_MAX {
        drop(soon(inbox.next()).await.unwrap());
    }
    let bare = Bare::connect(&world.config.vhost).await;
    assert!(String::from_utf8_lossy(&bare.next("dead.obj").await.data).contains("kill"));
}

#[tokio::test]
async fn a_consumer_that_is_slow_gets_no_more_than_it_takes() {
    let world = world(Encodings::default(), |_| {});
    let (server, client) = (Amqp::connect(world.config.clone()).await.unwrap(), world.broker().await);
    let inbox = server.consume("obj", 3).await.unwrap();
    for number in 0..20 {
        client.lookup("obj").cast("n", &number).await.unwrap();
    }
    let taken = [soon(inbox.next()).await, soon(inbox.next()).await, soon(inbox.next()).await];
    assert!(tokio::time::timeout(Duration::from_millis(200), inbox.next()).await.is_err());
    for delivery in taken {
        delivery.unwrap().done();
    }
    assert!(soon(inbox.next()).await.is_some());
}
