//! Several instances of the service on one PostgreSQL and one RabbitMQ, which are theirs alone, behind one address.

use crate::postgres::Postgres;
use crate::proxy::Proxy;
use crate::rabbit::{Rabbit, VirtualHost};
use crate::server::{Invitation, Server};
use crate::world::USER;
use crate::{process, wait};
use std::net::SocketAddr;
use std::path::Path;

/// A cluster, running.
#[derive(Debug)]
pub struct Cluster {
    /// The instances.
    pub instances: Vec<Server>,
    /// What stands in front of them: each connection goes to the next one that takes it.
    pub balancer: Proxy,
    dir: Option<tempfile::TempDir>,
}

/// What the instances of a cluster share, and may lose.
#[derive(Debug)]
pub struct Backends {
    /// The database.
    pub postgres: Postgres,
    /// The broker.
    pub rabbit: Rabbit,
}

impl Backends {
    /// Starts them, the broker with so many nodes.
    ///
    /// # Panics
    /// If they do not start.
    pub fn start(nodes: u16) -> Self {
        std::thread::scope(|scope| {
            let rabbit = scope.spawn(|| Rabbit::start(nodes));
            let postgres = Postgres::start();
            Self { postgres, rabbit: rabbit.join().expect("RabbitMQ starts") }
        })
    }
}

impl Cluster {
    /// So many instances, with further settings (environment variables); the account [`USER`] is there.
    ///
    /// # Panics
    /// If they do not start.
    pub fn start(backends: &Backends, instances: usize, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("stacksync-cluster-").tempdir().expect("a temporary directory");
        let (database, host) = (backends.postgres.database(), backends.rabbit.virtual_host());
        let servers: Vec<Server> = (0..instances)
            .map(|number| {
                let folder = dir.path().join(format!("instance-{number}"));
                std::fs::create_dir_all(&folder).expect("a folder can be made");
                Server::new(&folder).with_database(Some(database.clone())).with_broker(Some(host.clone()))
            })
            .collect();
        let balancer = Proxy::to_any(servers.iter().map(Server::address).collect());
        let common = [
            ("STACKSYNC_HTTP_PUBLIC_URL", format!("http://{}", balancer.address())),
            ("STACKSYNC_STORAGE_PATH", dir.path().join("chunks").display().to_string()),
            ("STACKSYNC_SHUTDOWN_WAIT", "10s".to_owned()),
        ];
        let mut cluster = Self { instances: servers, balancer, dir: Some(dir) };
        for server in &mut cluster.instances {
            for (name, value) in &common {
                server.set(name, value);
            }
            for (name, value) in settings {
                server.set(name, value);
            }
        }
        // All at once: one of them makes the tables, the others wait for it.
        cluster.instances.iter_mut().for_each(|server| server.spawn(server.command()));
        cluster.instances.iter_mut().for_each(Server::wait_until_ready);
        cluster.instances[0].add_user(USER);
        cluster
    }

    /// Where everything is.
    ///
    /// # Panics
    /// Never while it lives.
    pub fn dir(&self) -> &Path {
        self.dir.as_ref().expect("it lives").path()
    }

    /// Where devices connect.
    pub fn address(&self) -> SocketAddr {
        self.balancer.address()
    }

    /// The virtual host that its instances use.
    ///
    /// # Panics
    /// Never: all have one.
    pub fn virtual_host(&self) -> &VirtualHost {
        self.instances[0].broker().expect("it has a broker")
    }

    /// A join code of [`USER`]; some instance must run.
    pub fn invite(&self) -> Invitation {
        self.instances[0].invite(USER)
    }

    /// Kills one instance and starts it again.
    pub fn kill_and_start(&mut self, number: usize) {
        self.instances[number].kill();
        self.instances[number].start();
    }

    /// Stops one instance properly and starts it again.
    pub fn restart(&mut self, number: usize) {
        self.instances[number].stop();
        self.instances[number].start();
    }

    /// Waits until `cluster status` finds nothing wrong any more.
    ///
    /// # Panics
    /// If it always does.
    #[track_caller]
    pub fn wait_until_well(&self, instances: usize) {
        wait::until("nothing is wrong with the cluster", || {
            let output = self.instances[0].admin_output(&["cluster", "status", "--expect", &instances.to_string()]);
            if output.status.success() { Ok(()) } else { Err(process::printed(&output)) }
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.instances.iter_mut().for_each(Server::kill);
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            println!("the story failed; its files are kept in {}", dir.keep().display());
        }
    }
}
