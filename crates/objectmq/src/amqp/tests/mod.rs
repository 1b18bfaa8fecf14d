//! Against a real RabbitMQ.

use super::*;
use crate::Broker;
use crate::conformance::{World, conformance_tests};
use crate::envelope::{Encoding, Encodings};
use crate::java::Catalog;
use rabbit::Rabbit;

mod rabbit;

/// A virtual host of the shared broker.
struct OneVhost {
    config: AmqpConfig,
    encodings: Encodings,
}

fn config(rabbit: &Rabbit, vhost: &str) -> AmqpConfig {
    AmqpConfig {
        hosts: vec![("127.0.0.1".to_owned(), rabbit.port)],
        vhost: vhost.to_owned(),
        rpc_exchange: "rpc_global_exchange".to_owned(),
        retry_pause: Duration::from_millis(100),
        ..AmqpConfig::default()
    }
}

fn world(encodings: Encodings, change: impl FnOnce(&mut AmqpConfig)) -> OneVhost {
    let rabbit = Rabbit::shared();
    let mut config = config(rabbit, &rabbit.vhost());
    change(&mut config);
    OneVhost { config, encodings }
}

impl World for OneVhost {
    fn broker(&self) -> BoxFuture<'_, Broker> {
        Box::pin(async {
            let amqp = Amqp::connect(self.config.clone()).await.unwrap();
            Broker::with_encodings(Arc::new(amqp), self.encodings.clone())
        })
    }
}

fn original(encoding: Encoding) -> Encodings {
    Encodings::original(encoding, Arc::new(Catalog::default()))
}

mod json {
    use super::*;
    conformance_tests!(world(Encodings::default(), |_| {}));
}

mod java {
    use super::*;
    conformance_tests!(world(original(Encoding::JAVA), |_| {}));
}

mod default_exchange {
    use super::*;
    conformance_tests!(world(original(Encoding::JSON), |config| config.rpc_exchange = String::new()));
}

mod quorum {
    use super::*;
    conformance_tests!(world(Encodings::default(), |config| config.queue_kind = QueueKind::Quorum));
}

mod failures;
mod wire;
