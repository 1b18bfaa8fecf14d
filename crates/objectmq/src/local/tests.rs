use super::*;
use crate::Broker;
use crate::conformance::{World, conformance_tests};

struct OneHub(Hub);

impl World for OneHub {
    fn broker(&self) -> BoxFuture<'_, Broker> {
        let broker = Broker::new(Arc::new(self.0.clone()));
        Box::pin(std::future::ready(broker))
    }
}

conformance_tests!(OneHub(Hub::new(HubLimits::default())));
