//! The configuration: Java properties, then the environment, then the command line; checked against one table.
//!
//! Nothing is ignored: an unknown key, a value that is none, and a key that cannot take effect with the chosen back-ends are
//! errors that say what to do. Secrets are never part of a message.

#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
pub mod omq;
pub mod storage;
pub mod table;
pub mod value;

use crate::db::{PostgresPlace, PostgresTls, Statements};
pub use omq::{AmqpTransport, MessageTransport, OriginalClients};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use storage::{StorageChoice, StoragePlace};
use table::{KEYS, Key, Kind};

/// Everything that can be configured, read and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of everything the service keeps.
    pub data: PathBuf,
    /// Where the metadata is kept.
    pub datasource: Datasource,
    /// Directory of the chunks, if it is not in that of `data`.
    pub chunks: Option<PathBuf>,
    /// Where the chunks are kept, and how devices get there.
    pub storage: StorageChoice,
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Address that devices use, if it is not that of `listen`.
    pub public_url: Option<String>,
    /// Whether and with what certificate.
    pub tls: Tls,
    /// Limits of the HTTP door.
    pub http: HttpLimits,
    /// How messages travel.
    pub messages: MessageTransport,
    /// Requests to the service that are worked on at the same time.
    pub workers: usize,
    /// Life of a join code.
    pub join_lifetime: Duration,
    /// Life of a chunk ticket.
    pub ticket_lifetime: Duration,
    /// What a new user may keep, in bytes.
    pub quota_default: u64,
    /// How long a stopping service finishes what it has begun.
    pub shutdown_wait: Duration,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Least important level that is logged.
    pub log_level: tracing::Level,
}

impl Config {
    /// Whether clients of the original are let in.
    pub fn lets_originals_in(&self) -> bool {
        matches!(&self.messages, MessageTransport::Amqp(amqp) if amqp.original.is_some())
    }
}

/// Where the metadata is kept.
#[derive(Clone, Debug)]
pub enum Datasource {
    /// In a file of the data directory.
    Sqlite,
    /// In a database that other instances may use, too.
    Postgresql(Box<PostgresPlace>),
}

/// TLS on the HTTP door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Plain HTTP.
    Off,
    /// With a certificate that the service makes for itself and keeps in its data directory.
    SelfMade,
    /// With these PEM files.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// Limits of the HTTP door.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Open connections.
    pub connections_max: usize,
    /// Time for a handshake, and for the head of a request.
    pub header_timeout: Duration,
    /// Longest silence within a body.
    pub body_timeout: Duration,
    /// Memory for bodies that are being received, in bytes.
    pub upload_memory: u64,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file does not exist.
    #[error("'{}' file not found", .0.display())]
    NoFile(PathBuf),
    /// The file cannot be read.
    #[error("cannot read the configuration '{}': {problem}", .file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system or the parser says.
        problem: String,
    },
    /// A key is unknown, a value is none, or a key cannot take effect; one line for each.
    #[error("{}", .0.join("\n"))]
    Wrong(Vec<String>),
    /// The chosen metadata store is none, or not part of this version.
    #[error("{0}")]
    Datasource(String),
}

/// Where the values come from, besides the defaults.
#[derive(Debug, Default)]
pub struct Sources {
    /// A file of Java properties.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Options of the command line: key and value.
    pub options: Vec<(&'static str, String)>,
}

/// Variables that begin like ours but belong to the client, and to the project's tests.
const FOREIGN_VARIABLES: &[&str] = &["STACKSYNC_HOME", "STACKSYNC_BLESS"];

/// Where a value was set, for messages.
#[derive(Clone, Debug)]
enum Origin {
    File(PathBuf),
    Variable(String),
    Option(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Option(key) => write!(f, "option --{}", key.replace('.', "-")),
        }
    }
}

struct Value {
    text: String,
    origin: Origin,
}

type Values = BTreeMap<&'static str, Value>;

/// Reads and checks the configuration.
///
/// # Errors
/// See [`ConfigError`]; everything that is wrong is reported at once.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let mut values = Values::new();
    let mut wrong = Vec::new();
    if let Some(file) = &sources.file {
        read_file(file, &mut values, &mut wrong)?;
    }
    read_environment(&sources.environment, &mut values, &mut wrong);
    for (name, text) in &sources.options {
        values.insert(name, Value { text: text.clone(), origin: Origin::Option(name) });
    }
    checked(values, wrong)
}

/// The configuration that these values make, if nothing is wrong with any of them.
fn checked(mut values: Values, mut wrong: Vec<String>) -> Result<Config, ConfigError> {
    values.retain(|_, value| !value.text.is_empty());
    check_datasource(&values)?;
    for (name, value) in &values {
        if let Some(problem) = table::find(name).and_then(|key| problem_with(key, value, &values)) {
            wrong.push(format!("{}: {problem}", value.origin));
        }
    }
    if wrong.is_empty() {
        build(&values).map_err(|problem| ConfigError::Wrong(vec![problem]))
    } else {
        Err(ConfigError::Wrong(wrong))
    }
}

fn read_file(file: &Path, values: &mut Values, wrong: &mut Vec<String>) -> Result<(), ConfigError> {
    let unreadable = |problem: String| ConfigError::Unreadable { file: file.to_owned(), problem };
    let bytes = std::fs::read(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ConfigError::NoFile(file.to_owned()),
        _ => unreadable(error.to_string()),
    })?;
    read_properties(file, &bytes, values, wrong)
}

fn read_properties(file: &Path, bytes: &[u8], values: &mut Values, wrong: &mut Vec<String>) -> Result<(), ConfigError> {
    // Java reads Latin-1; what is valid UTF-8 was meant as such. The parser would take two of Latin-1's letters at the start for the mark
    // of UTF-16, so it gets text that is decoded already, without any mark.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
    };
    let text = text.trim_start_matches('\u{feff}').as_bytes();
    let mut unknown = Vec::new();
    java_properties::PropertiesIter::new_with_encoding(text, encoding_rs::UTF_8)
        .read_into(|name, text| match table::find(&name) {
            Some(key) => {
                values.insert(key.name, Value { text: text.trim().to_owned(), origin: Origin::File(file.to_owned()) });
            }
            None => unknown.push(name),
        })
        .map_err(|error| ConfigError::Unreadable { file: file.to_owned(), problem: error.to_string() })?;
    for name in unknown {
        wrong.push(unknown_name(&file.display().to_string(), "key", &name, KEYS.iter().map(|key| key.name)));
    }
    Ok(())
}

fn read_environment(environment: &[(OsString, OsString)], values: &mut Values, wrong: &mut Vec<String>) {
    let variables: BTreeMap<String, &'static Key> = KEYS.iter().map(|key| (table::variable(key), key)).collect();
    for (name, text) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with(table::ENVIRONMENT_PREFIX)) else { continue };
        if FOREIGN_VARIABLES.contains(&name) {
            continue;
        }
        match (variables.get(name), text.to_str()) {
            (Some(key), Some(text)) => {
                values.insert(key.name, Value { text: text.trim().to_owned(), origin: Origin::Variable(name.to_owned()) });
            }
            (Some(_), None) => wrong.push(format!("environment variable {name}: its value is not UTF-8")),
            (None, _) => wrong.push(unknown_name("environment", "variable", name, variables.keys().map(String::as_str))),
        }
    }
}

fn unknown_name<'a>(place: &str, what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let advice = match table::nearest(name, known) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "--dump-config shows all keys".to_owned(),
    };
    format!("{place}: unknown {what} '{name}'; {advice}")
}

/// A wrong store has an exit code of its own, as in the original.
fn check_datasource(values: &Values) -> Result<(), ConfigError> {
    let problem = values.get("datasource").and_then(|value| {
        let problem = problem_with(table::find("datasource")?, value, values)?;
        Some(format!("{}: {problem}", value.origin))
    });
    problem.map_or(Ok(()), |problem| Err(ConfigError::Datasource(problem)))
}

fn problem_with(key: &Key, value: &Value, values: &Values) -> Option<String> {
    if let Some((chooser, wanted)) = key.needs.chooser() {
        let chosen = text_of(chooser, values);
        let advice = match key.needs.is_here() {
            true => format!("; set {} or remove it", key.needs.choice()),
            false => format!(", and {} is not in this version; remove it", key.needs.choice()),
        };
        if chosen != wanted {
            return Some(format!("'{}' has no effect with {}={chosen}{advice}", key.name, chooser.name));
        }
    }
    let problem = match key.kind {
        Kind::Text | Kind::Secret | Kind::Path => None,
        Kind::Number(min, max) => {
            let fits = value.text.parse::<u64>().is_ok_and(|number| (min..=max).contains(&number));
            (!fits).then(|| format!("'{}' is not a number from {min} to {max}", value.text))
        }
        Kind::Boolean => (!matches!(&*value.text, "true" | "false")).then(|| format!("'{}' is neither true nor false", value.text)),
        Kind::Size => value::size(&value.text).err(),
        Kind::Time => value::time(&value.text).err(),
        Kind::Listen => value::listen(&value.text).err(),
        Kind::Url => url_problem(&value.text),
        Kind::Choice { here, later } => choice_problem(&value.text, here, later),
    };
    problem.map(|problem| format!("{}: {problem}", key.name))
}

fn choice_problem(text: &str, here: &[&str], later: &[&str]) -> Option<String> {
    let offer = here.join(", ");
    if here.contains(&text) {
        None
    } else if later.contains(&text) {
        Some(format!("'{text}' is not in this version; use {offer}"))
    } else {
        Some(format!("'{text}' is not known; use {offer}"))
    }
}

fn url_problem(text: &str) -> Option<String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let good = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/') && !text.contains([' ', '?', '#', '@']));
    (!good).then(|| format!("'{text}' is not an address; write e.g. https://sync.example.org"))
}

fn text_of<'a>(key: &'static Key, values: &'a Values) -> &'a str {
    values.get(key.name).map_or(key.default, |value| &value.text)
}

/// Makes the typed configuration of values that were checked one by one.
fn build(values: &Values) -> Result<Config, String> {
    let text = |name: &str| table::find(name).map_or("", |key| text_of(key, values));
    let number = |name: &str| text(name).parse::<usize>().map_err(|error| format!("{name}: {error}"));
    let time = |name: &str| value::time(text(name));
    let listen = value::listen(text("http.listen"))?;
    Ok(Config {
        data: data_directory(text("data"))?,
        datasource: datasource(values)?,
        chunks: Some(text("storage.path")).filter(|path| !path.is_empty()).map(PathBuf::from),
        storage: storage::choice(values)?,
        listen,
        public_url: Some(text("http.public_url").trim_end_matches('/')).filter(|url| !url.is_empty()).map(str::to_owned),
        tls: tls(text("http.tls"), text("http.tls.certificate"), text("http.tls.key"), listen)?,
        http: HttpLimits {
            connections_max: number("http.connections_max")?,
            header_timeout: time("http.header_timeout")?,
            body_timeout: time("http.body_timeout")?,
            upload_memory: value::size(text("http.upload_memory"))?,
        },
        messages: omq::transport(values)?,
        workers: number("omq.num_threads")?,
        join_lifetime: time("join.lifetime")?,
        ticket_lifetime: time("ticket.lifetime")?,
        quota_default: value::size(text("quota.default"))?,
        shutdown_wait: time("shutdown.wait")?,
        log_format: if text("log.format") == "json" { LogFormat::Json } else { LogFormat::Text },
        log_level: text("log.level").parse().map_err(|_| "log.level: not a level".to_owned())?,
    })
}

fn datasource(values: &Values) -> Result<Datasource, String> {
    let text = |name: &str| table::find(name).map_or("", |key| text_of(key, values));
    let number = |name: &str| text(name).parse::<usize>().map_err(|error| format!("{name}: {error}"));
    if text("datasource") != "postgresql" {
        return Ok(Datasource::Sqlite);
    }
    let mut place = if text("postgresql.url").is_empty() {
        let port = text("postgresql.port").parse().map_err(|error| format!("postgresql.port: {error}"))?;
        let [host, database, user, password] =
            ["host", "database", "user", "password"].map(|part| text(&format!("postgresql.{part}")).to_owned());
        let mut place = PostgresPlace::new(&host, port, &database, &user, &password);
        place.set_tls(postgres_tls(text("postgresql.tls"), text("postgresql.tls.ca"))?);
        place
    } else {
        let parts = ["host", "port", "database", "user", "password", "tls", "tls.ca"].map(|part| format!("postgresql.{part}"));
        if let Some(part) = parts.iter().find(|part| values.contains_key(part.as_str())) {
            return Err(format!("postgresql.url says everything that {part} does; remove one of them"));
        }
        PostgresPlace::parse(text("postgresql.url")).map_err(|error| format!("postgresql.url: {error}"))?
    };
    place.connections_first = number("postgresql.initial_cons")?;
    place.connections_max = number("postgresql.max_cons")?;
    place.statements = if text("postgresql.statements") == "whole" { Statements::Whole } else { Statements::Kept };
    Ok(Datasource::Postgresql(Box::new(place)))
}

fn postgres_tls(mode: &str, authorities: &str) -> Result<PostgresTls, String> {
    match (mode, authorities.is_empty()) {
        ("off", true) => Ok(PostgresTls::Off),
        ("require", true) => Ok(PostgresTls::Unverified),
        ("verify", empty) => Ok(PostgresTls::Verified { authorities: (!empty).then(|| authorities.into()) }),
        _ => Err("postgresql.tls.ca has no effect without postgresql.tls=verify; set that or remove it".into()),
    }
}

fn data_directory(text: &str) -> Result<PathBuf, String> {
    if !text.is_empty() {
        return std::path::absolute(text).map_err(|error| format!("data: '{text}': {error}"));
    }
    directories::ProjectDirs::from("", "", "stacksync-server")
        .map(|places| places.data_dir().to_owned())
        .ok_or_else(|| "data: this user has no home directory; choose a directory with --data DIR".to_owned())
}

fn tls(mode: &str, certificate: &str, key: &str, listen: SocketAddr) -> Result<Tls, String> {
    let wanted = match mode {
        "on" => true,
        "off" => false,
        _ => !listen.ip().is_loopback() || !certificate.is_empty(),
    };
    match (wanted, certificate.is_empty(), key.is_empty()) {
        (false, true, true) => Ok(Tls::Off),
        (true, true, true) => Ok(Tls::SelfMade),
        (true, false, false) => Ok(Tls::Files { certificate: certificate.into(), key: key.into() }),
        (false, _, _) => {
            Err("http.tls.certificate and http.tls.key have no effect with http.tls=off; remove them or set http.tls=on".into())
        }
        (true, _, _) => Err("http.tls.certificate and http.tls.key go together; set both or none".into()),
    }
}

#[cfg(test)]
mod tests;
