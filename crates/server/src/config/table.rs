//! Every configuration key: name, default, one line on it, kind, and what it needs to take effect.
//!
//! This table is the reference: it parses the configuration, and `--dump-config` prints it. It holds no values.

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// As written in the configuration file.
    pub name: &'static str,
    /// What holds without it, in the form of a value; empty means "not set".
    pub default: &'static str,
    /// What it does, for people.
    pub doc: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What must be chosen for it to take effect.
    pub needs: Needs,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Any text, never shown.
    Secret,
    /// A whole number between the two, both included.
    Number(u64, u64),
    /// `true` or `false`.
    Boolean,
    /// A number of bytes: `500000`, `64 MiB`, `10GB`, `unlimited`.
    Size,
    /// A time: `30s`, `15min`, `24h`, `7d`; a bare number is seconds.
    Time,
    /// A file or directory.
    Path,
    /// `address:port`.
    Listen,
    /// `http://...` or `https://...`.
    Url,
    /// One of `here`; those of `later` are known, but not part of this version.
    Choice {
        /// What this version can do.
        here: &'static [&'static str],
        /// What it knows by name only.
        later: &'static [&'static str],
    },
}

/// What must be chosen for a key to take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it takes effect.
    Nothing,
    /// `datasource=postgresql`.
    Postgresql,
    /// `omq.transport=amqp`.
    Amqp,
    /// `storage=swift`.
    Swift,
    /// `storage=s3`.
    S3,
    /// `storage=ftp`.
    Ftp,
    /// `storage=sftp`.
    Sftp,
}

impl Needs {
    /// The choice that it stands for, as a line of the configuration.
    pub const fn choice(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Postgresql => "datasource=postgresql",
            Self::Amqp => "omq.transport=amqp",
            Self::Swift => "storage=swift",
            Self::S3 => "storage=s3",
            Self::Ftp => "storage=ftp",
            Self::Sftp => "storage=sftp",
        }
    }
}

impl Needs {
    /// The key that chooses, and the value that it must have.
    pub fn chooser(self) -> Option<(&'static Key, &'static str)> {
        let (name, value) = self.choice().split_once('=')?;
        Some((find(name)?, value))
    }

    /// Whether this version can do it.
    pub fn is_here(self) -> bool {
        self.chooser().is_none_or(|(key, value)| matches!(key.kind, Kind::Choice { here, .. } if here.contains(&value)))
    }
}

const fn key(name: &'static str, default: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, default, doc, kind, needs: Needs::Nothing }
}

const fn needing(needs: Needs, name: &'static str, default: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, default, doc, kind, needs }
}

const PROTOCOL: Kind = Kind::Choice { here: &["http", "https"], later: &[] };
const PORT: Kind = Kind::Number(1, 65_535);

/// All keys, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key("data", "", Kind::Path, "Directory of everything the service keeps; empty: the platform's data directory."),
    key("datasource", "sqlite", Kind::Choice { here: &["sqlite", "postgresql"], later: &[] }, "Where the metadata is kept."),
    key(
        "storage",
        "filesystem",
        Kind::Choice { here: &["filesystem", "s3", "swift", "ftp", "sftp"], later: &[] },
        "Where the chunks are kept; filesystem: in the data directory.",
    ),
    key(
        "storage.path",
        "",
        Kind::Path,
        "Directory of the chunks with storage=filesystem, one for all instances; empty: in the data directory.",
    ),
    key(
        "storage.relay",
        "",
        Kind::Choice { here: &["on", "off", "only"], later: &[] },
        "Chunks through the service; on (where the storage takes devices): for devices that cannot reach it; only: for all.",
    ),
    key(
        "storage.bundles",
        "",
        Kind::Choice { here: &["on", "off"], later: &[] },
        "Small chunks together in few objects (s3, swift); on, where clients of the original are not let in; off: storage gc unpacks them.",
    ),
    key("storage.ca", "", Kind::Path, "Certificates to trust besides those of the system at the chunk storage (PEM)."),
    key(
        "omq.transport",
        "builtin",
        Kind::Choice { here: &["builtin", "amqp"], later: &[] },
        "How messages travel; builtin: WebSocket on http.listen; amqp: a message broker as well, for several instances.",
    ),
    key("omq.num_threads", "256", Kind::Number(1, 65_536), "Requests to the service that are worked on at the same time."),
    key(
        "omq.serializer",
        "",
        Kind::Choice { here: &["gson", "java"], later: &["kryo"] },
        "How messages are written; gson: JSON. Empty: gson, but java to clients of the original.",
    ),
    key(
        "http.listen",
        "127.0.0.1:8181",
        Kind::Listen,
        "Address and port to listen on; 0.0.0.0:8181 for all networks, port 0 for a free one.",
    ),
    key(
        "http.public_url",
        "",
        Kind::Url,
        "Address that devices use, if it is another one (a proxy, a name); empty: that of http.listen.",
    ),
    key(
        "http.tls",
        "auto",
        Kind::Choice { here: &["auto", "on", "off"], later: &[] },
        "TLS; auto: on unless http.listen is a loopback address.",
    ),
    key(
        "http.tls.certificate",
        "",
        Kind::Path,
        "Certificate chain (PEM); empty: one made by the service, whose fingerprint travels in join codes.",
    ),
    key("http.tls.key", "", Kind::Path, "Private key (PEM) of http.tls.certificate."),
    key("http.connections_max", "4096", Kind::Number(1, 1_000_000), "Open connections; more wait to be accepted."),
    key("http.header_timeout", "10s", Kind::Time, "Time for the TLS handshake, and for the head of a request."),
    key("http.body_timeout", "30s", Kind::Time, "Longest silence within the body of a request."),
    key("http.upload_memory", "64 MiB", Kind::Size, "Memory for uploads that are being received; more wait for their turn."),
    key("join.lifetime", "24h", Kind::Time, "How long a join code is valid."),
    key("ticket.lifetime", "1h", Kind::Time, "How long a chunk ticket is valid."),
    key("quota.default", "unlimited", Kind::Size, "What a new user may keep, in bytes of plain file content."),
    key("shutdown.wait", "10s", Kind::Time, "How long a stopping service finishes what it has begun."),
    key("log.format", "text", Kind::Choice { here: &["text", "json"], later: &[] }, "Form of the log, on standard error."),
    key(
        "log.level",
        "info",
        Kind::Choice { here: &["error", "warn", "info", "debug", "trace"], later: &[] },
        "Least important messages that are logged.",
    ),
    needing(Needs::Postgresql, "postgresql.host", "localhost", Kind::Text, "Host of the database."),
    needing(Needs::Postgresql, "postgresql.port", "5432", PORT, "Port of the database."),
    needing(Needs::Postgresql, "postgresql.database", "stacksync", Kind::Text, "Name of the database."),
    needing(Needs::Postgresql, "postgresql.user", "stacksync", Kind::Text, "User of the database."),
    needing(Needs::Postgresql, "postgresql.password", "stacksync", Kind::Secret, "Password of that user."),
    needing(Needs::Postgresql, "postgresql.initial_cons", "1", Kind::Number(0, 10_000), "Connections opened at start."),
    needing(
        Needs::Postgresql,
        "postgresql.max_cons",
        "100",
        Kind::Number(2, 10_000),
        "Most connections; fewer are used where more do not help.",
    ),
    needing(
        Needs::Postgresql,
        "postgresql.url",
        "",
        Kind::Secret,
        "All of that in one: postgres://user:password@host:port/database?sslmode=verify-full; several hosts with commas.",
    ),
    needing(
        Needs::Postgresql,
        "postgresql.tls",
        "off",
        Kind::Choice { here: &["off", "require", "verify"], later: &[] },
        "TLS to the database; require: encrypted, verify: its certificate is checked too.",
    ),
    needing(
        Needs::Postgresql,
        "postgresql.tls.ca",
        "",
        Kind::Path,
        "Authorities (PEM) for postgresql.tls=verify; empty: those of the system.",
    ),
    needing(
        Needs::Postgresql,
        "postgresql.statements",
        "prepared",
        Kind::Choice { here: &["prepared", "whole"], later: &[] },
        "How statements are sent; whole: what a pooler in transaction mode needs.",
    ),
    needing(
        Needs::Amqp,
        "omq.host",
        "localhost",
        Kind::Text,
        "Host of the broker; several with commas between, each with :port if it has another one.",
    ),
    needing(Needs::Amqp, "omq.port", "5672", PORT, "Port of the broker."),
    needing(Needs::Amqp, "omq.vhost", "/", Kind::Text, "Virtual host of the broker."),
    needing(Needs::Amqp, "omq.username", "guest", Kind::Text, "User of the broker."),
    needing(Needs::Amqp, "omq.pass", "guest", Kind::Secret, "Password of that user."),
    needing(Needs::Amqp, "omq.enable_ssl", "false", Kind::Boolean, "TLS to the broker, whose certificate is verified."),
    needing(Needs::Amqp, "omq.ssl_ca", "", Kind::Path, "Certificates to trust besides those of the system (PEM)."),
    needing(Needs::Amqp, "omq.retry_connection", "2000", Kind::Number(1, 3_600_000), "Milliseconds between attempts to connect."),
    needing(Needs::Amqp, "omq.rpc_exchange", "rpc_global_exchange", Kind::Text, "Exchange of the calls."),
    needing(Needs::Amqp, "omq.reply_queue_rpc", "", Kind::Text, "Name of the reply queue; empty: a generated one."),
    needing(
        Needs::Amqp,
        "omq.multi_queue_name",
        "",
        Kind::Text,
        "Name of the queue for one-to-many calls; empty: a generated one.",
    ),
    needing(Needs::Amqp, "omq.durable_queue", "false", Kind::Boolean, "Queues of objects and replies survive the broker."),
    needing(Needs::Amqp, "omq.exclusive_queue", "false", Kind::Boolean, "Queues of objects belong to one connection."),
    needing(Needs::Amqp, "omq.auto_delete", "false", Kind::Boolean, "Queues of objects go when nobody uses them."),
    needing(Needs::Amqp, "omq.durable_mqueue", "false", Kind::Boolean, "The queue for one-to-many calls survives the broker."),
    needing(Needs::Amqp, "omq.exclusive_mqueue", "true", Kind::Boolean, "That queue belongs to one connection."),
    needing(Needs::Amqp, "omq.auto_mdelete", "true", Kind::Boolean, "That queue goes when nobody uses it."),
    needing(Needs::Amqp, "omq.message_ttl_queue", "-1", Kind::Text, "Milliseconds that a reply waits in its queue; -1: for ever."),
    needing(
        Needs::Amqp,
        "omq.queue_type",
        "classic",
        Kind::Choice { here: &["classic", "quorum"], later: &[] },
        "Queues of objects; classic: as the original declares them; quorum: replicated over the broker's nodes.",
    ),
    needing(
        Needs::Amqp,
        "omq.dead_letters",
        "keep",
        Kind::Choice { here: &["keep", "reject"], later: &[] },
        "Messages that nobody can read; keep: in the queue dead.ISyncService; reject: as a policy of the broker says.",
    ),
    needing(Needs::Amqp, "omq.confirm_timeout", "10s", Kind::Time, "How long the broker may take to confirm a message."),
    needing(Needs::Amqp, "omq.compression", "false", Kind::Boolean, "Messages are compressed with GZIP."),
    needing(
        Needs::Amqp,
        "omq.delivery_mode",
        "",
        Kind::Choice { here: &["1", "2"], later: &[] },
        "1: messages are lost with the broker; 2: they are kept.",
    ),
    needing(
        Needs::Amqp,
        "legacy.clients",
        "off",
        Kind::Choice { here: &["off", "on"], later: &[] },
        "Clients of the original StackSync, which have no credentials; on: whoever reaches the broker is let in.",
    ),
    needing(
        Needs::Amqp,
        "legacy.users",
        "",
        Kind::Text,
        "In whose name they are let in: names or e-mail addresses with commas between; *: everybody's.",
    ),
    needing(
        Needs::Amqp,
        "legacy.workspaces",
        "",
        Kind::Text,
        "Ids of the workspaces they are let into; empty: all of these users.",
    ),
    needing(
        Needs::Amqp,
        "legacy.listen",
        "",
        Kind::Text,
        "Address and port of a door to the broker for clients of the original, where they are not to reach the broker itself.",
    ),
    needing(
        Needs::Amqp,
        "legacy.networks",
        "",
        Kind::Text,
        "Networks that legacy.listen is open for, with commas between, e.g. 192.0.2.0/24,2001:db8::/32.",
    ),
    needing(Needs::Ftp, "ftp.host", "localhost", Kind::Text, "Host of the FTP server; its certificate must bear this name."),
    needing(Needs::Ftp, "ftp.port", "21", PORT, "Port of the FTP server."),
    needing(Needs::Ftp, "ftp.user", "stacksync", Kind::Text, "User of the service there."),
    needing(Needs::Ftp, "ftp.password", "", Kind::Secret, "Password of that user."),
    needing(Needs::Ftp, "ftp.folder", "", Kind::Text, "Folder for all chunks; empty: where one is after logging in."),
    needing(
        Needs::Ftp,
        "ftp.tls",
        "explicit",
        Kind::Choice { here: &["explicit", "off"], later: &["implicit"] },
        "Encryption; explicit: AUTH TLS, for commands and data.",
    ),
    needing(Needs::Ftp, "ftp.connections", "8", Kind::Number(1, 1_000), "Connections at once."),
    needing(Needs::Sftp, "sftp.host", "localhost", Kind::Text, "Host of the SFTP server."),
    needing(Needs::Sftp, "sftp.port", "22", PORT, "Port of the SFTP server."),
    needing(Needs::Sftp, "sftp.user", "stacksync", Kind::Text, "User of the service there."),
    needing(Needs::Sftp, "sftp.key", "", Kind::Path, "Private key of that user, in the form of OpenSSH."),
    needing(Needs::Sftp, "sftp.passphrase", "", Kind::Secret, "What sftp.key is encrypted with."),
    needing(Needs::Sftp, "sftp.password", "", Kind::Secret, "Password of that user, instead of a key."),
    needing(Needs::Sftp, "sftp.known_hosts", "", Kind::Path, "Host keys that are known; empty: ~/.ssh/known_hosts."),
    needing(Needs::Sftp, "sftp.folder", "", Kind::Text, "Folder for all chunks; empty: where one is after logging in."),
    needing(Needs::Sftp, "sftp.requests", "16", Kind::Number(1, 1_000), "Requests at once."),
    needing(Needs::S3, "s3.endpoint", "", Kind::Url, "Address of the storage; empty: Amazon's of the region."),
    needing(Needs::S3, "s3.public_endpoint", "", Kind::Url, "The same as devices reach it, if they need another one."),
    needing(Needs::S3, "s3.region", "us-east-1", Kind::Text, "Region."),
    needing(Needs::S3, "s3.bucket", "", Kind::Text, "Bucket for all chunks; made if it is not there."),
    needing(
        Needs::S3,
        "s3.prefix",
        "",
        Kind::Text,
        "What all names in the bucket begin with, for a bucket with other things in it.",
    ),
    needing(
        Needs::S3,
        "s3.style",
        "path",
        Kind::Choice { here: &["path", "host"], later: &[] },
        "Where the bucket is in an address; host: as part of the host's name.",
    ),
    needing(
        Needs::S3,
        "s3.access_key",
        "",
        Kind::Text,
        "Access key; empty: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, then s3.profile.",
    ),
    needing(Needs::S3, "s3.secret_key", "", Kind::Secret, "Secret key."),
    needing(Needs::S3, "s3.session_token", "", Kind::Secret, "Session token, with keys for a limited time."),
    needing(Needs::S3, "s3.profile", "default", Kind::Text, "Profile in ~/.aws/credentials."),
    needing(
        Needs::Swift,
        "swift.auth",
        "v3",
        Kind::Choice { here: &["v3", "v2", "v1"], later: &[] },
        "How the service logs in; v3, v2: to Keystone; v1: to Swift itself (tempauth), with swift.user=ACCOUNT:USER.",
    ),
    needing(Needs::Swift, "swift.domain", "Default", Kind::Text, "Domain of user and tenant, with v3."),
    needing(Needs::Swift, "swift.containers", "stacksync-", Kind::Text, "What the names of containers begin with."),
    needing(
        Needs::Swift,
        "swift.public_url",
        "",
        Kind::Url,
        "Address of the object storage for devices, if they need another one than the service.",
    ),
    needing(
        Needs::Swift,
        "swift.host",
        "localhost",
        Kind::Text,
        "Host of the object storage; with Keystone only if that of its catalogue cannot be used.",
    ),
    needing(Needs::Swift, "swift.port", "8080", PORT, "Port of the object storage."),
    needing(Needs::Swift, "swift.protocol", "http", PROTOCOL, "http or https to the object storage."),
    needing(Needs::Swift, "swift.keystone_host", "localhost", Kind::Text, "Host of Keystone."),
    needing(Needs::Swift, "swift.keystone_port", "5000", PORT, "Port of Keystone."),
    needing(Needs::Swift, "swift.keystone_admin_port", "35357", PORT, "Port of Keystone for administrators."),
    needing(Needs::Swift, "swift.keystone_protocol", "http", PROTOCOL, "http or https to Keystone."),
    needing(Needs::Swift, "swift.tenant", "stacksync", Kind::Text, "Tenant (project) of all users."),
    needing(Needs::Swift, "swift.user", "stacksync_admin", Kind::Text, "Administrator of that tenant."),
    needing(Needs::Swift, "swift.password", "secrete", Kind::Secret, "Password of that administrator."),
];

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The environment variable that sets this key.
pub fn variable(key: &Key) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.name.to_ascii_uppercase().replace('.', "_"))
}

/// What the environment variables of the configuration begin with.
pub const ENVIRONMENT_PREFIX: &str = "STACKSYNC_";

/// The known name that looks most like this one, if any does.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(2);
    known
        .into_iter()
        // Comparing takes time, and a file may hold any number of long keys.
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= limit)
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|&(far, _)| far <= limit)
        .map(|(_, near)| near)
}

/// Levenshtein's distance: insertions, deletions and replacements of one character.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The whole table as a configuration file that changes nothing: every key with its default and one line on it.
pub fn dump() -> String {
    let mut text = String::from(
        "# StackSync service: every key with its default.\n\
         # A key can also be set by an environment variable: STACKSYNC_ and the key in upper case, dots as underscores\n\
         # (STACKSYNC_HTTP_LISTEN=127.0.0.1:8181).\n",
    );
    let mut section = Needs::Nothing;
    for key in KEYS {
        if key.needs != section {
            section = key.needs;
            let yet = if section.is_here() { "" } else { ", which this version does not have yet" };
            text.push_str(&format!("\n## Only with {}{yet}:\n", section.choice()));
        }
        let comment = if key.needs == Needs::Nothing { "" } else { "#" };
        let values = match key.kind {
            Kind::Choice { here, .. } if here.len() > 1 => format!(" One of: {}.", here.join(", ")),
            _ => String::new(),
        };
        text.push_str(&format!("\n# {}{values}\n{comment}{}={}\n", key.doc, key.name, key.default));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variables_are_unique() {
        let names: std::collections::BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        let variables: std::collections::BTreeSet<_> = KEYS.iter().map(variable).collect();
        assert_eq!((names.len(), variables.len()), (KEYS.len(), KEYS.len()));
        assert!(KEYS.iter().all(|key| key.doc.ends_with('.') && !key.doc.contains('\n')));
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = || KEYS.iter().map(|key| key.name);
        for (name, expected) in [
            ("http.listn", Some("http.listen")),
            ("http_listen", Some("http.listen")),
            ("omq.numthreads", Some("omq.num_threads")),
            ("postgres.host", Some("postgresql.host")),
            ("colour", None),
        ] {
            assert_eq!(nearest(name, names()), expected, "{name}");
        }
    }

    #[test]
    fn every_original_key_is_known() {
        let original = "datasource omq.host omq.port omq.username omq.pass omq.num_threads omq.rpc_exchange postgresql.host postgresql.port \
             postgresql.database postgresql.user postgresql.password postgresql.initial_cons postgresql.max_cons swift.host swift.port \
             swift.protocol swift.keystone_host swift.keystone_port swift.keystone_admin_port swift.keystone_protocol swift.tenant \
             swift.user swift.password omq.enable_ssl omq.retry_connection omq.reply_queue_rpc omq.multi_queue_name omq.durable_queue \
             omq.exclusive_queue omq.auto_delete omq.durable_mqueue omq.exclusive_mqueue omq.auto_mdelete omq.message_ttl_queue \
             omq.serializer omq.compression omq.delivery_mode";
        for name in original.split_whitespace() {
            assert!(find(name).is_some(), "{name}");
        }
    }
}
