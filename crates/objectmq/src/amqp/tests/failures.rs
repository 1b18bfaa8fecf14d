//! What goes wrong between us and a broker.

use super::*;
use crate::conformance::{echo, eventually, patient, recorder, soon};
use crate::{BindError, BindOptions, CallError, CallOptions};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

async fn refused(change: impl FnOnce(&mut AmqpConfig)) -> Trouble {
    let mut config = config(Rabbit::shared(), "/");
    change(&mut config);
    match Amqp::connect(config).await {
        Ok(_) => panic!("connected"),
        Err(trouble) => trouble,
    }
}

#[tokio::test]
async fn wrong_credentials_a_wrong_virtual_host_and_a_wrong_address_are_told_apart() {
    let password = refused(|config| config.password = Password("secret-7".to_owned())).await;
    assert!(matches!(password, Trouble::Rejected { status: 403, .. }), "{password}");
    let said = password.to_string();
    assert!(said.contains("does not accept the user \"guest\"") && !said.contains("secret-7"), "{said}");
    let vhost = refused(|config| config.vhost = "nowhere".to_owned()).await;
    assert!(matches!(vhost, Trouble::Rejected { status: 530, .. }), "{vhost}");
    assert!(vhost.to_string().contains("virtual host \"nowhere\""), "{vhost}");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = silent.local_addr().unwrap().port();
    drop(silent);
    let port = refused(|config| config.hosts = vec![("127.0.0.1".to_owned(), free)]).await;
    assert!(matches!(port, Trouble::Unreachable(_)), "{port}");
    let name = refused(|config| config.hosts = vec![("no-such-host.invalid".to_owned(), 5672)]).await;
    assert!(matches!(name, Trouble::Unreachable(_)), "{name}");
    let none = refused(|config| config.hosts.clear()).await;
    assert!(matches!(none, Trouble::Unreachable(_)), "{none}");
    assert!(!format!("{:?}", config(Rabbit::shared(), "/")).contains("Password(\""));
}

#[tokio::test]
async fn the_next_host_of_the_list_is_tried() {
    let mut world = world(Encodings::default(), |_| {});
    world.config.hosts.insert(0, ("127.0.0.1".to_owned(), 1));
    let broker = world.broker().await;
    let _bound = broker.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    assert_eq!(broker.lookup("obj").call::<String>("name", &(), patient()).await, Ok("one".to_owned()));
}

#[tokio::test]
async fn a_queue_that_was_declared_otherwise_is_named() {
    let world = world(Encodings::default(), |_| {});
    let uri = format!("amqp://guest:guest@127.0.0.1:{}/{}", Rabbit::shared().port, world.config.vhost);
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("obj".into(), options, FieldTable::default()).await.unwrap();
    let broker = world.broker().await;
    let Err(BindError::Transport { source, .. }) = broker.bind("obj", echo("one"), BindOptions::default()).await else { panic!() };
    let crate::SendError::Refused(said) = &source else { panic!("{source}") };
    assert!(said.contains("durable") && said.contains("'obj'"), "{said}");
    // What went wrong for one object leaves the others alone.
    let _other = broker.bind("other", echo("other"), BindOptions::default()).await.unwrap();
    assert_eq!(broker.lookup("other").call::<String>("name", &(), patient()).await, Ok("other".to_owned()));
}

#[tokio::test]
async fn a_missing_exchange_is_told_and_found_later() {
    let world = world(Encodings::default(), |_| {});
    let (client, server) = (world.broker().await, world.broker().await);
    let proxy = client.lookup("obj");
    assert_eq!(proxy.call::<()>("x", &(), patient()).await, Err(CallError::NotBound("obj".into())));
    assert_eq!(proxy.cast("x", &()).await, Err(CallError::NotBound("obj".into())));
    let _bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    assert_eq!(proxy.call::<String>("name", &(), patient()).await, Ok("one".to_owned()));
    assert_eq!(client.lookup("nobody").cast("x", &()).await, Err(CallError::NotBound("nobody".into())));
    // The exchange goes while it is known to be there: the channel ends, what was under way on it does not.
    let path = format!("/api/exchanges/{}/rpc_global_exchange", world.config.vhost);
    assert_eq!(Rabbit::shared().api("DELETE", &path, "").0, 204);
    assert_eq!(soon(proxy.cast("x", &())).await, Err(CallError::NotBound("obj".into())));
    assert_eq!(client.lookup("news").multi_cast("x", &()).await, Ok(()));
}

/// Closes all connections of a virtual host, as an operator does.
fn close_connections(vhost: &str) {
    let of_vhost = || {
        let (_, body) = Rabbit::shared().api("GET", "/api/connections", "");
        let connections: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap_or_default();
        connections
            .iter()
            .filter(|one| one["vhost"] == vhost)
            .filter_map(|one| one["name"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    // The management plugin notices connections with some delay.
    let until = std::time::Instant::now() + Duration::from_secs(20);
    let mut names = of_vhost();
    while names.is_empty() && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
        names = of_vhost();
    }
    assert!(!names.is_empty());
    for name in names {
        let path = format!("/api/connections/{}", name.replace(' ', "%20").replace('>', "%3E").replace(':', "%3A"));
        Rabbit::shared().api("DELETE", &path, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_connection_everything_is_there_again() {
    let world = world(Encodings::default(), |_| {});
    let (server, client, follower) = (world.broker().await, world.broker().await, world.broker().await);
    let _bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let (object, mut notices) = recorder();
    let _listening = follower.listen("news", object).await.unwrap();
    let proxy = client.lookup("obj");
    assert_eq!(proxy.call::<String>("name", &(), patient()).await, Ok("one".to_owned()));
    for _ in 0..2 {
        let vhost = world.config.vhost.clone();
        tokio::task::spawn_blocking(move || close_connections(&vhost)).await.unwrap();
        eventually("the loss is noticed", || {
            [&server, &client, &follower].iter().all(|broker| broker.stats().connections_lost.get() > 0)
        })
        .await;
        for broker in [&server, &client, &follower] {
            let mut state = broker.state();
            soon(state.wait_for(|state| *state == ConnectionState::Connected)).await.unwrap();
        }
        // The same reply queue, the same references.
        let options = CallOptions::new(Duration::from_secs(5), 4);
        assert_eq!(proxy.call::<String>("name", &(), options).await, Ok("one".to_owned()));
        client.lookup("news").multi_cast("news", &()).await.unwrap();
        assert_eq!(soon(notices.recv()).await.unwrap().method, "news");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_survive_a_broker_that_is_killed_and_started_again() {
    let rabbit = Rabbit::alone();
    let config = config(&rabbit, "/");
    let broker = |config: AmqpConfig| async move { Broker::new(Arc::new(Amqp::connect(config).await.unwrap())) };
    let (server, client) = (broker(config.clone()).await, broker(config.clone()).await);
    let _bound = server.bind("obj", echo("one"), BindOptions::default()).await.unwrap();
    let proxy = client.lookup("obj");
    assert_eq!(proxy.call::<String>("name", &(), patient()).await, Ok("one".to_owned()));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let calling = {
        let (proxy, stop) = (proxy.clone(), stop.clone());
        tokio::spawn(async move {
            let mut answered = 0_u32;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                match proxy.call::<u32>("echo", &answered, CallOptions::new(Duration::from_secs(10), 12)).await {
                    Ok(number) => assert_eq!(number, answered),
                    // The client can be there again before the server.
                    Err(CallError::NotBound(_) | CallError::Disconnected(_)) => continue,
                    Err(error) => panic!("{error}"),
                }
                answered += 1;
            }
            answered
        })
    };
    let (rabbit, (before, after)) = tokio::task::spawn_blocking(move || {
        rabbit.kill();
        let before = std::time::Instant::now();
        rabbit.start();
        (rabbit, (before, std::time::Instant::now()))
    })
    .await
    .unwrap();
    assert!(after > before);
    let mut state = server.state();
    soon(state.wait_for(|state| *state == ConnectionState::Connected)).await.unwrap();
    assert_eq!(proxy.call::<String>("name", &(), CallOptions::new(Duration::from_secs(5), 12)).await, Ok("one".to_owned()));
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(soon(calling).await.unwrap() > 0);
    tokio::task::spawn_blocking(move || drop(rabbit)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_short_of_disk_is_told_of_and_serves_again() {
    let rabbit = Rabbit::alone();
    let config = AmqpConfig { confirm_timeout: Duration::from_secs(3), ..config(&rabbit, "/") };
    let sender = Amqp::connect(config.clone()).await.unwrap();
    let client = Broker::new(Arc::new(sender.clone()));
    let server = Broker::new(Arc::new(Amqp::connect(config).await.unwrap()));
    let (object, mut calls) = recorder();
    let _bound = server.bind("obj", object, BindOptions::default()).await.unwrap();
    client.lookup("obj").cast("before", &()).await.unwrap();
    assert_eq!(soon(calls.recv()).await.unwrap().method, "before");
    let rabbit = tokio::task::spawn_blocking(move || {
        rabbit.control(&["set_disk_free_limit", "900000GB"]);
        rabbit
    })
    .await
    .unwrap();
    // The first message finds out; nobody knows whether it arrives later.
    let mut said = None;
    for _ in 0..20 {
        match client.lookup("obj").cast("meanwhile", &()).await {
            Err(CallError::Busy(why)) => {
                said = Some(why);
                break;
            }
            Ok(()) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    let said = said.expect("the alarm was not noticed");
    assert!(said.contains("takes no messages"), "{said}");
    assert!(sender.blocked().is_some());
    let rabbit = tokio::task::spawn_blocking(move || {
        rabbit.control(&["set_disk_free_limit", "50MB"]);
        rabbit
    })
    .await
    .unwrap();
    eventually("it takes messages again", || sender.blocked().is_none()).await;
    client.lookup("obj").cast("after", &()).await.unwrap();
    let after = async { while calls.recv().await.unwrap().method != "after" {} };
    soon(after).await;
    tokio::task::spawn_blocking(move || drop(rabbit)).await.unwrap();
}
