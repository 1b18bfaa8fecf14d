//! Tables of configurations and what they mean.

use super::*;
use objectmq::amqp::{AmqpConfig, QueueFlags};
use objectmq::envelope::Encoding;
use stacksync_core::values::WorkspaceId;

fn from_file(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.properties");
    std::fs::write(&file, text).unwrap();
    load(&Sources { file: Some(file), ..Sources::default() })
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = variables.iter().map(|(name, text)| (name.into(), text.into())).collect();
    load(&Sources { environment, ..Sources::default() })
}

#[test]
fn nothing_set_is_the_embedded_default() {
    let config = load(&Sources::default()).unwrap();
    assert_eq!(config.listen, "127.0.0.1:8181".parse().unwrap());
    assert_eq!(config.tls, Tls::Off);
    assert!(config.data.ends_with("stacksync-server"));
}

#[test]
fn the_dump_is_a_configuration_that_changes_nothing() {
    let dump = table::dump();
    let config = from_file(&dump).unwrap();
    assert_eq!(format!("{config:?}"), format!("{:?}", load(&Sources::default()).unwrap()));
    for key in KEYS {
        assert!(dump.contains(&format!("{}={}", key.name, key.default)), "{}", key.name);
        assert!(dump.contains(key.doc), "{}", key.name);
    }
}

#[test]
fn later_sources_win() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p");
    std::fs::write(&file, "http.listen: 127.0.0.1:1\n# a comment\nlog.level = debug\ndata=/from/file\nlog.format=json").unwrap();
    let config = load(&Sources {
        file: Some(file),
        environment: vec![
            ("STACKSYNC_HTTP_LISTEN".into(), "127.0.0.1:2".into()),
            ("STACKSYNC_DATA".into(), "/from/environment".into()),
        ],
        options: vec![("data", "/from/option".into())],
    })
    .unwrap();
    assert_eq!((config.listen.port(), &*config.data), (2, Path::new("/from/option")));
    assert_eq!((config.log_level, config.log_format), (tracing::Level::DEBUG, LogFormat::Json));
}

#[test]
fn what_is_wrong_says_what_to_do() {
    for (text, expected) in [
        ("http.listn=127.0.0.1:1", "unknown key 'http.listn'; did you mean 'http.listen'?"),
        ("rainbow=1", "unknown key 'rainbow'; --dump-config shows all keys"),
        ("http.listen=8181", "http.listen: '8181' is not an address and port"),
        ("datasource=oracle", "datasource: 'oracle' is not known; use sqlite, postgresql"),
        ("omq.transport=pigeon", "'pigeon' is not known; use builtin, amqp"),
        (
            "omq.serializer=java",
            "omq.serializer=java has no effect with omq.transport=builtin; set omq.transport=amqp or remove it",
        ),
        ("omq.serializer=kryo", "'kryo' is not in this version; use gson, java"),
        ("omq.transport=amqp\nomq.host=a:b", "omq.host: 'a:b' is no host"),
        ("omq.transport=amqp\nomq.delivery_mode=3", "omq.delivery_mode: '3' is not known; use 1, 2"),
        ("omq.transport=amqp\nomq.message_ttl_queue=soon", "omq.message_ttl_queue: 'soon' is not a number of milliseconds"),
        ("omq.transport=amqp\nomq.ssl_ca=/ca", "omq.ssl_ca has no effect without omq.enable_ssl=true"),
        ("omq.transport=amqp\nomq.queue_type=quorum\nomq.auto_delete=true", "such queues are neither exclusive nor deleted"),
        ("omq.transport=amqp\nlegacy.users=anna", "legacy.users has no effect without legacy.clients=on"),
        ("omq.transport=amqp\nlegacy.clients=on", "say whose with legacy.users"),
        ("omq.transport=amqp\nlegacy.clients=on\nlegacy.users=*\nlegacy.workspaces=x", "'x' is not the id of a workspace"),
        ("legacy.clients=on", "'legacy.clients' has no effect with omq.transport=builtin; set omq.transport=amqp or remove it"),
        ("storage=tape", "'tape' is not known; use filesystem, s3, swift, ftp, sftp"),
        ("postgresql.host=db", "'postgresql.host' has no effect with datasource=sqlite; set datasource=postgresql or remove it"),
        ("omq.host=mq", "'omq.host' has no effect with omq.transport=builtin; set omq.transport=amqp or remove it"),
        ("swift.host=s", "'swift.host' has no effect with storage=filesystem; set storage=swift or remove it"),
        ("datasource=postgresql\npostgresql.port=0", "postgresql.port: '0' is not a number from 1 to 65535"),
        ("datasource=postgresql\npostgresql.tls.ca=/ca", "postgresql.tls.ca has no effect without postgresql.tls=verify"),
        (
            "datasource=postgresql\npostgresql.url=db.example.org",
            "postgresql.url: the address of a database begins with postgres://",
        ),
        (
            "datasource=postgresql\npostgresql.url=postgres://a:b@c/d\npostgresql.host=e",
            "postgresql.url says everything that postgresql.host does",
        ),
        ("omq.num_threads=0", "omq.num_threads: '0' is not a number from 1 to 65536"),
        ("ticket.lifetime=soon", "ticket.lifetime: 'soon' is not a time"),
        ("quota.default=much", "quota.default: 'much' is not a size"),
        ("log.level=loud", "log.level: 'loud' is not known; use error, warn, info, debug, trace"),
        ("http.public_url=sync.example.org", "'sync.example.org' is not an address; write e.g. https://sync.example.org"),
        ("http.tls=off\nhttp.tls.key=/k", "have no effect with http.tls=off"),
        ("http.tls.certificate=/c", "go together"),
        ("data=\\u12", "cannot read the configuration"),
    ] {
        let error = from_file(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn everything_wrong_is_told_at_once_and_secrets_are_not_shown() {
    let error = from_file("omq.host=mq\nomq.pass=hunter2\npostgresql.password=hunter2\nhttp.tsl=on").unwrap_err().to_string();
    assert_eq!(error.lines().count(), 4, "{error}");
    assert!(!error.contains("hunter2"));
}

#[test]
fn a_database_is_described_by_the_keys_of_the_original_or_by_its_address() {
    let place = |text: &str| match from_file(&format!("datasource=postgresql\n{text}")).unwrap().datasource {
        Datasource::Postgresql(place) => place,
        Datasource::Sqlite => panic!("{text}"),
    };
    assert_eq!(place("").to_string(), "postgres://stacksync@localhost:5432/stacksync");
    let named = place(
        "postgresql.host=db\npostgresql.port=6000\npostgresql.database=sync\npostgresql.user=ann\npostgresql.password=hunter2\n\
         postgresql.max_cons=7\npostgresql.initial_cons=0\npostgresql.statements=whole\npostgresql.tls=require",
    );
    assert_eq!(named.to_string(), "postgres://ann@db:6000/sync");
    assert_eq!((named.connections_max, named.connections_first, named.statements), (7, 0, Statements::Whole));
    let address = place("postgresql.url=postgres://ann:hunter2@a:1,b:2/sync?sslmode=verify-full");
    assert_eq!(address.to_string(), "postgres://ann@a:1,b:2/sync");
    assert!(!format!("{named:?} {address:?}").contains("hunter2"));
}

#[test]
fn the_environment_is_checked_too() {
    assert!(from_environment(&[("STACKSYNC_HOME", "/home"), ("PATH", "/bin")]).is_ok());
    let error = from_environment(&[("STACKSYNC_HTTP_LISTN", "x")]).unwrap_err().to_string();
    assert!(error.contains("did you mean 'STACKSYNC_HTTP_LISTEN'?"), "{error}");
    let error = from_environment(&[("STACKSYNC_OMQ_HOST", "x")]).unwrap_err().to_string();
    assert!(error.starts_with("environment variable STACKSYNC_OMQ_HOST: 'omq.host' has no effect"), "{error}");
}

#[test]
fn tls_follows_the_address() {
    let tls = |text: &str| from_file(text).unwrap().tls;
    assert_eq!(tls("http.listen=0.0.0.0:8181"), Tls::SelfMade);
    assert_eq!(tls("http.listen=192.0.2.1:8181"), Tls::SelfMade);
    assert_eq!(tls("http.listen=[::1]:8181"), Tls::Off);
    assert_eq!(tls("http.listen=0.0.0.0:8181\nhttp.tls=off"), Tls::Off);
    assert_eq!(tls("http.tls=on"), Tls::SelfMade);
    let files = Tls::Files { certificate: "/c".into(), key: "/k".into() };
    assert_eq!(tls("http.tls.certificate=/c\nhttp.tls.key=/k"), files);
}

#[test]
fn files_of_java_are_read() {
    let config =
        from_file("http.public_url = https\\://sync.example.org/\nlog.level : \\u0064ebug\nshutdown.wait = 1\\\n  0s\n").unwrap();
    assert_eq!(config.public_url.as_deref(), Some("https://sync.example.org"));
    assert_eq!((config.log_level, config.shutdown_wait), (tracing::Level::DEBUG, Duration::from_secs(10)));
    assert_eq!(from_file("data=/srv/Größe").unwrap().data, Path::new("/srv/Größe"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p");
    std::fs::write(&file, b"data=/srv/Gr\xf6\xdfe").unwrap();
    assert_eq!(load(&Sources { file: Some(file), ..Sources::default() }).unwrap().data, Path::new("/srv/Größe"));
}

#[test]
fn a_missing_file_is_named() {
    let error = load(&Sources { file: Some("/no/such/file".into()), ..Sources::default() }).unwrap_err();
    assert_eq!(error.to_string(), "'/no/such/file' file not found");
}

#[test]
fn the_message_broker_has_the_defaults_of_the_original() {
    let MessageTransport::Amqp(amqp) = from_file("omq.transport=amqp").unwrap().messages else { panic!() };
    let original = AmqpConfig {
        rpc_exchange: "rpc_global_exchange".to_owned(),
        message_bytes_max: 96 << 20,
        connection_name: "stacksync-server".to_owned(),
        ..AmqpConfig::default()
    };
    assert_eq!(format!("{:?}", amqp.broker), format!("{original:?}"));
    assert_eq!(amqp.encoding, Encoding::JAVA);
    assert!(amqp.original.is_none());
}

#[test]
fn one_key_means_two_queues() {
    let flags = |text: &str| {
        let MessageTransport::Amqp(amqp) = from_file(&format!("omq.transport=amqp\n{text}")).unwrap().messages else { panic!() };
        let of = |flags: QueueFlags| [flags.durable, flags.exclusive, flags.auto_delete];
        [of(amqp.broker.object_queues), of(amqp.broker.reply_queues), of(amqp.broker.multi_queues)]
    };
    assert_eq!(flags(""), [[false; 3], [false, true, true], [false, true, true]]);
    assert_eq!(flags("omq.durable_queue=true"), [[true, false, false], [true, true, true], [false, true, true]]);
    assert_eq!(flags("omq.exclusive_queue=true\nomq.auto_delete=false")[..2], [[false, true, false], [false, true, false]]);
    assert_eq!(flags("omq.exclusive_mqueue=false\nomq.auto_mdelete=false\nomq.durable_mqueue=true")[2], [true, false, false]);
}

#[test]
fn the_door_for_clients_of_the_original_is_as_wide_as_is_said() {
    let door = |text: &str| {
        let MessageTransport::Amqp(amqp) = from_file(&format!("omq.transport=amqp\nlegacy.clients=on\n{text}")).unwrap().messages
        else {
            panic!()
        };
        amqp.original.unwrap()
    };
    let workspace: WorkspaceId = "fedcba98-7654-4321-8123-0123456789ab".parse().unwrap();
    let all = door("legacy.users=*");
    assert!(all.names("id", "anna", "anna@example.org") && all.includes(workspace));
    assert!(all.meaning().contains("every user"));
    let some = door("legacy.users=Anna, ben@example.org\nlegacy.workspaces=fedcba98-7654-4321-8123-0123456789ab");
    assert!(
        some.names("id", "ANNA", "a@b") && some.names("id", "b", "Ben@example.org") && !some.names("id", "carl", "c@example.org")
    );
    assert!(some.includes(workspace) && !some.includes("00000000-0000-4000-8000-000000000001".parse().unwrap()));
    assert!(some.meaning().contains("the users anna, ben@example.org"));
}
