//! A private RabbitMQ, of one node or of several, that this program starts and that ends with it. With `E2E_TRANSPORT=amqp` every server
//! under test has a virtual host of its own in one that all stories share.

use crate::programs::checkout;
use crate::{http, ports};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Environment variable that chooses how messages of the servers under test travel.
pub const TRANSPORT_ENV: &str = "E2E_TRANSPORT";

/// A broker.
#[derive(Debug)]
pub struct Rabbit {
    port: u16,
    nodes: u16,
    dir: PathBuf,
    _script: Child,
}

/// A virtual host of a broker, for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualHost {
    name: String,
    hosts: String,
}

impl Rabbit {
    /// Starts one of so many nodes.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(nodes: u16) -> Self {
        Self::start_with(nodes, None)
    }

    /// The same with TLS, too; the folder has `ca.pem`, `cert.pem`, `key.pem`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with(nodes: u16, tls: Option<&Path>) -> Self {
        let port = ports::below_ephemeral(10 * nodes);
        let dir = std::env::temp_dir().join(format!("stacksync-story-rabbitmq-{}-{port}", std::process::id()));
        let mut command = Command::new(script());
        command.args(["run".as_ref(), dir.as_os_str(), port.to_string().as_ref(), nodes.to_string().as_ref()]);
        if let Some(tls) = tls {
            command.env("TLS", tls);
        }
        let mut script =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("scripts/backends/rabbitmq can be started");
        let mut said = String::new();
        let output = script.stdout.take().expect("it is a pipe");
        BufReader::new(output).read_line(&mut said).expect("the script can be read");
        assert_eq!(said, "ready\n", "RabbitMQ did not start; install rabbitmq-server, or see what the script says above");
        Self { port, nodes, dir, _script: script }
    }

    /// The one that all stories share; none of them may disturb it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Rabbit> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(1))
    }

    /// Port of the first node for encrypted connections.
    pub fn tls_port(&self) -> u16 {
        self.port + 1
    }

    fn run(&self, arguments: &[&str], node: Option<u16>) {
        let node = node.map(|node| node.to_string());
        let mut command = Command::new(script());
        command.arg(arguments[0]).arg(&self.dir).args(&arguments[1..]).args(node.as_deref()).stdout(Stdio::null());
        let status = command.status().expect("scripts/backends/rabbitmq can be started");
        assert!(status.success(), "scripts/backends/rabbitmq {arguments:?} failed; it said above why");
    }

    /// Ends all nodes, or one, like a crash.
    ///
    /// # Panics
    /// If the script fails.
    pub fn kill(&self, node: Option<u16>) {
        self.run(&["kill"], node);
    }

    /// Ends all nodes, or one, properly.
    ///
    /// # Panics
    /// If the script fails.
    pub fn pause(&self, node: Option<u16>) {
        self.run(&["pause"], node);
    }

    /// Starts what was ended.
    ///
    /// # Panics
    /// If it does not start.
    pub fn again(&self, node: Option<u16>) {
        self.run(&["again"], node);
    }

    /// Runs `rabbitmqctl`.
    ///
    /// # Panics
    /// If it fails.
    pub fn control(&self, arguments: &[&str]) {
        self.run(&[&["ctl"], arguments].concat(), None);
    }

    /// A virtual host that nobody uses.
    ///
    /// # Panics
    /// If the broker does not make it.
    pub fn virtual_host(&self) -> VirtualHost {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("story{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.ask("PUT", &format!("vhosts/{name}"), "{}");
        self.ask("PUT", &format!("permissions/{name}/guest"), r#"{"configure":".*","write":".*","read":".*"}"#);
        let hosts: Vec<_> = (0..self.nodes).map(|node| format!("127.0.0.1:{}", self.port + 10 * node)).collect();
        VirtualHost { name, hosts: hosts.join(",") }
    }

    /// Asks the management API of the first node.
    ///
    /// # Panics
    /// If it refuses.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> String {
        self.ask_node(0, method, path, body).unwrap_or_else(|error| panic!("the management API of RabbitMQ: {error}"))
    }

    /// Asks the management API of one node.
    ///
    /// # Errors
    /// What it says if it refuses, or why it says nothing.
    pub fn ask_node(&self, node: u16, method: &str, path: &str, body: &str) -> Result<String, String> {
        let address = ([127, 0, 0, 1], self.port + 10 * node + 2).into();
        let headers = [("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")];
        let answered = http::request_with(address, method, &format!("/api/{path}"), &headers, body.as_bytes());
        let (status, answer) = answered.map_err(|error| error.to_string())?;
        if (200..300).contains(&status) { Ok(answer) } else { Err(format!("{method} {path}: {status} {answer}")) }
    }
}

impl VirtualHost {
    /// A fresh one if servers are to use a broker; `None` if not.
    ///
    /// # Panics
    /// If RabbitMQ cannot be started, or the variable says something else.
    pub fn wanted() -> Option<Self> {
        match std::env::var(TRANSPORT_ENV).unwrap_or_default().as_str() {
            "" | "builtin" => None,
            "amqp" => Some(Rabbit::shared().virtual_host()),
            other => panic!("{TRANSPORT_ENV} is '{other}'; it may be builtin or amqp"),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The nodes of its broker, as in `omq.host`.
    pub fn hosts(&self) -> &str {
        &self.hosts
    }

    /// What tells a server to use it.
    pub fn environment(&self) -> Vec<(String, String)> {
        [("TRANSPORT", "amqp"), ("HOST", &self.hosts), ("VHOST", &self.name), ("RETRY_CONNECTION", "300")]
            .map(|(name, value)| (format!("STACKSYNC_OMQ_{name}"), value.to_owned()))
            .to_vec()
    }
}

fn script() -> PathBuf {
    checkout().join("scripts/backends/rabbitmq")
}
