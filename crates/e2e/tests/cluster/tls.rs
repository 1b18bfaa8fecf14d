//! TLS to the database and to the broker, with certificates of an authority of one's own; another authority is refused.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use stacksync_e2e::postgres::Postgres;
use stacksync_e2e::process::{printed, run};
use stacksync_e2e::rabbit::Rabbit;
use stacksync_e2e::server::Server;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// An authority in `ca.pem`, and what it says of 127.0.0.1 in `cert.pem` and `key.pem`.
fn certify(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "Authority of one's own");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(folder.join("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let of = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), of.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

/// A server with these settings ends by itself; what it printed.
fn refusal(dir: &Path, settings: &[(&str, &str)], code: i32) -> String {
    let server = server(dir, settings);
    let output = run(server.command(), PATIENCE);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

fn server(dir: &Path, settings: &[(&str, &str)]) -> Server {
    let mut server = Server::new(dir).with_database(None).with_broker(None);
    for (name, value) in settings {
        server.set(&format!("STACKSYNC_{name}"), value);
    }
    server
}

#[test]
fn the_database_is_reached_with_tls_and_must_show_the_right_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let [right, wrong] = ["right", "wrong"].map(|name| dir.path().join(name));
    certify(&right);
    certify(&wrong);
    let postgres = Postgres::start_with(Some(&right));
    let database = postgres.database();
    let (port, ca) = (database.port().to_string(), right.join("ca.pem").display().to_string());
    let place = [
        ("DATASOURCE", "postgresql"),
        ("POSTGRESQL_HOST", "127.0.0.1"),
        ("POSTGRESQL_PORT", &*port),
        ("POSTGRESQL_DATABASE", database.name()),
    ];
    let encrypted =
        "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE s.ssl AND a.datname = current_database()";
    for more in [&[("POSTGRESQL_TLS", "require")][..], &[("POSTGRESQL_TLS", "verify"), ("POSTGRESQL_TLS_CA", &*ca)]] {
        let mut server = server(dir.path(), &[&place[..], more].concat());
        server.start();
        server.add_user(&format!("user{}", more.len()));
        assert!(database.query(encrypted)[0].parse::<u32>().unwrap() > 0);
        server.stop();
    }
    let other = wrong.join("ca.pem").display().to_string();
    for more in [&[("POSTGRESQL_TLS", "verify"), ("POSTGRESQL_TLS_CA", &*other)][..], &[("POSTGRESQL_TLS", "verify")]] {
        let text = refusal(dir.path(), &[&place[..], more].concat(), 4);
        assert!(text.contains("invalid peer certificate"), "{text}");
    }
    // One that has no TLS at all is not waited for.
    let plain = Postgres::start();
    let (port, database) = (plain.database().port().to_string(), plain.database());
    let place = [
        ("DATASOURCE", "postgresql"),
        ("POSTGRESQL_HOST", "127.0.0.1"),
        ("POSTGRESQL_PORT", &*port),
        ("POSTGRESQL_DATABASE", database.name()),
        ("POSTGRESQL_TLS", "require"),
    ];
    let text = refusal(dir.path(), &place, 4);
    assert!(text.contains("does not support TLS"), "{text}");
}

#[test]
fn the_broker_is_reached_with_tls_and_must_show_the_right_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let [right, wrong] = ["right", "wrong"].map(|name| dir.path().join(name));
    certify(&right);
    certify(&wrong);
    let rabbit = Rabbit::start_with(1, Some(&right));
    let host = rabbit.virtual_host();
    let place = format!("127.0.0.1:{}", rabbit.tls_port());
    let (right, wrong) = (right.join("ca.pem").display().to_string(), wrong.join("ca.pem").display().to_string());
    let of = |ca: &str| {
        let settings = [("TRANSPORT", "amqp"), ("HOST", &*place), ("VHOST", host.name()), ("ENABLE_SSL", "true"), ("SSL_CA", ca)];
        settings.map(|(name, value)| (format!("OMQ_{name}"), value.to_owned()))
    };
    let good = of(&right);
    let mut server = server(dir.path(), &good.each_ref().map(|(name, value)| (&**name, &**value)));
    server.start();
    assert!(server.metrics().contains("stacksync_broker_connected 1"));
    server.stop();
    let bad = of(&wrong);
    let text = refusal(dir.path(), &bad.each_ref().map(|(name, value)| (&**name, &**value)), 5);
    assert!(text.contains("the server is not trusted") && text.contains("peer certificate"), "{text}");
}
