//! Where the database is and how it is reached.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::config::{Config, Host, SslMode, TargetSessionAttrs};

/// How long a new connection may take.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long what was sent may remain unacknowledged by the other computer.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// TLS to the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresTls {
    /// None.
    Off,
    /// Encrypted; whom one talks to is not checked.
    Unverified,
    /// Encrypted, and the database shows a certificate for its name.
    Verified {
        /// Authorities (PEM) to be trusted in place of those of the system.
        authorities: Option<PathBuf>,
    },
}

/// How statements are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statements {
    /// Prepared once per connection.
    Kept,
    /// Sent whole each time: what a pooler in transaction mode needs.
    Whole,
}

/// A database of PostgreSQL. Its `Debug` and `Display` show no password.
#[derive(Clone)]
pub struct PostgresPlace {
    pub(in crate::db) config: Config,
    pub(super) tls: PostgresTls,
    /// Connections opened at start.
    pub connections_first: usize,
    /// Most connections.
    pub connections_max: usize,
    /// How statements are sent.
    pub statements: Statements,
}

/// Why an address is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PlaceError(String);

impl PostgresPlace {
    /// A database by its parts.
    pub fn new(host: &str, port: u16, database: &str, user: &str, password: &str) -> Self {
        let mut config = Config::new();
        config.host(host).port(port).dbname(database).user(user).password(password);
        Self::of(config, PostgresTls::Off)
    }

    /// A database by its address: `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=FILE`.
    ///
    /// # Errors
    /// Says what is wrong with it; what is in it is not shown.
    pub fn parse(url: &str) -> Result<Self, PlaceError> {
        let known = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        if !known {
            return Err(PlaceError("the address of a database begins with postgres://".into()));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut authorities, mut rest) = (None, None, Vec::new());
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value.to_owned()),
                Some(("sslrootcert", value)) => authorities = Some(PathBuf::from(value.replace("%2F", "/"))),
                _ => rest.push(part),
            }
        }
        let tls = match mode.as_deref() {
            None if authorities.is_some() => PostgresTls::Verified { authorities },
            None | Some("disable") => PostgresTls::Off,
            Some("require") if authorities.is_none() => PostgresTls::Unverified,
            Some("require" | "verify-ca" | "verify-full") => PostgresTls::Verified { authorities },
            Some(other) => return Err(PlaceError(format!("sslmode={other} is none of disable, require, verify-full"))),
        };
        let joined = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let config: Config = joined.parse().map_err(|_| PlaceError("the address of the database cannot be read".into()))?;
        if config.get_hosts().is_empty() || config.get_dbname().is_none() || config.get_user().is_none() {
            return Err(PlaceError("the address of a database names a user, a host and a database".into()));
        }
        Ok(Self::of(config, tls))
    }

    fn of(mut config: Config, tls: PostgresTls) -> Self {
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_WAIT);
        }
        config.tcp_user_timeout(SILENCE_MAX).keepalives_idle(Duration::from_secs(30)).application_name("stacksync");
        // After a failover the old primary may still answer, read-only.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let mut place =
            Self { config, tls: PostgresTls::Off, connections_first: 1, connections_max: 100, statements: Statements::Kept };
        place.set_tls(tls);
        place
    }

    /// Uses TLS, or does not.
    pub fn set_tls(&mut self, tls: PostgresTls) {
        self.config.ssl_mode(if tls == PostgresTls::Off { SslMode::Disable } else { SslMode::Require });
        self.tls = tls;
    }

    /// The same place, where nothing is to be written: a standby will do.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.config.target_session_attrs(TargetSessionAttrs::Any);
        self
    }

    pub(super) fn authorities(&self) -> Option<&Path> {
        match &self.tls {
            PostgresTls::Verified { authorities } => authorities.as_deref(),
            PostgresTls::Off | PostgresTls::Unverified => None,
        }
    }
}

impl fmt::Display for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.config.get_ports();
        write!(f, "postgres://{}@", self.config.get_user().unwrap_or_default())?;
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let port = ports.get(at).or_else(|| ports.first()).copied().unwrap_or(5432);
            let comma = if at == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                Host::Unix(folder) => write!(f, "{comma}{}:{port}", folder.display())?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:?}, {} connections, {:?})", self.tls, self.connections_max, self.statements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_password() {
        let place =
            PostgresPlace::parse("postgres://ann:secret@db.example.org:6000/sync?sslmode=verify-full&sslrootcert=/ca.pem").unwrap();
        assert_eq!(place.to_string(), "postgres://ann@db.example.org:6000/sync");
        assert_eq!(place.tls, PostgresTls::Verified { authorities: Some("/ca.pem".into()) });
        let place = PostgresPlace::parse("postgresql://ann:secret@a:1,b:2/sync?sslmode=require").unwrap();
        assert_eq!((place.to_string(), place.tls.clone()), ("postgres://ann@a:1,b:2/sync".into(), PostgresTls::Unverified));
        assert!(!format!("{place:?}").contains("secret"));
        for text in [
            "mysql://a@b/c",
            "postgres://",
            "postgres://a:secret@b",
            "postgres://a:secret@b/c?sslmode=maybe",
            "postgres://a:secret@b/c?x=y",
        ] {
            let error = PostgresPlace::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
