//! Whatever consumes a queue: an object's calls, a follower's notices, a caller's answers.
//!
//! Each has a task and a channel of its own. The task declares what it needs and consumes; when the channel or the connection ends,
//! it does so again. What it hands out goes into a bounded queue, and is acknowledged, on the channel that it came by, when whoever
//! took it is done with it.

use super::config::QueueKind;
use super::properties::incoming;
use super::topology::{self, DeclareError};
use super::{Link, Shared, told};
use crate::queue::Queue;
use crate::queue::Waiting;
use crate::transport::{Parcel, ReplySink, Settler};
use crate::{Caller, SendError};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer, ErrorKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Notices that are handed out to one follower and not dealt with.
pub const NOTICES_UNSETTLED_MAX: usize = 512;
/// Deliveries that are settled together.
const SETTLED_TOGETHER_MAX: usize = 256;
/// How long a channel waits for what it handed out, when it is told to end.
const LAST_SETTLED_WAIT: Duration = Duration::from_secs(60);

/// What is consumed, and for whom.
pub enum Purpose {
    /// The queue of an object.
    Calls { reference: Arc<str>, unsettled: usize, queue: Arc<Queue> },
    /// What is told to everyone who follows a reference.
    Notices { reference: Arc<str>, queue: Arc<Queue> },
    /// Answers.
    Replies { name: Arc<str>, sink: Arc<dyn ReplySink> },
}

/// The task of one consumer.
pub struct Consuming {
    pub shared: Arc<Shared>,
    pub purpose: Purpose,
    /// Number of this consumer.
    pub id: u64,
    /// Set by whoever has no more use for it.
    pub stop: watch::Receiver<bool>,
}

/// Why a consumer stopped.
enum Ended {
    /// It was told to.
    Stopped,
    /// Its channel or connection ended.
    Lost(String),
}

/// What became of a delivery.
enum Settled {
    Done(u64),
    Again(u64),
    Dead(u64, Box<Parcel>, String),
}

impl Consuming {
    /// Runs it until it is told to stop. The first time that it consumes, or why it never will, is told to `ready`.
    pub async fn run(self, ready: oneshot::Sender<Result<(), SendError>>) {
        let mut ready = Some(ready);
        let mut links = self.shared.link.subscribe();
        let mut stop = self.stop.clone();
        while !*stop.borrow() {
            let link = tokio::select! {
                biased;
                () = told(&mut stop) => break,
                link = links.wait_for(|link| link.as_ref().is_some_and(|link| !link.has_ended())) => link.ok().and_then(|link| link.clone()),
            };
            // The transport is gone.
            let Some(link) = link else { break };
            match self.set_up(&link).await {
                Ok((channel, consumer)) => {
                    self.shared.established(self.id);
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(Ok(()));
                    }
                    match self.pump(&link, channel, consumer, &mut stop).await {
                        Ended::Stopped => break,
                        Ended::Lost(why) => self.lost(&why),
                    }
                }
                Err(error) => {
                    let refused = refusal(&error);
                    tracing::warn!(queue = self.name(), error = %text_of(&error), "cannot consume; trying again");
                    if let (Some(why), Some(ready)) = (refused, ready.take()) {
                        let _ = ready.send(Err(why));
                        break;
                    }
                }
            }
            tokio::select! {
                () = told(&mut stop) => break,
                () = tokio::time::sleep(self.shared.pause_of(&link)) => {}
            }
        }
        self.shared.forget(self.id);
        match &self.purpose {
            Purpose::Calls { queue, .. } | Purpose::Notices { queue, .. } => drop(queue.close()),
            Purpose::Replies { .. } => {}
        }
    }

    fn name(&self) -> &str {
        match &self.purpose {
            Purpose::Calls { reference, .. } | Purpose::Notices { reference, .. } => reference,
            Purpose::Replies { name, .. } => name,
        }
    }

    fn lost(&self, why: &str) {
        match &self.purpose {
            Purpose::Replies { sink, .. } => sink.disconnected(why),
            // What waits was handed out on the lost channel: the broker hands it out again.
            Purpose::Calls { queue, .. } | Purpose::Notices { queue, .. } => drop(queue.take_all()),
        }
    }

    async fn set_up(&self, link: &Link) -> Result<(Channel, Consumer), DeclareError> {
        let config = &self.shared.config;
        if let Purpose::Calls { reference, .. } = &self.purpose
            && config.queue_kind == QueueKind::Quorum
        {
            // A channel of its own: a refusal closes it. Calls are taken all the same.
            let channel = link.incoming.create_channel().await?;
            if let Err(error) = topology::declare_dead_letter_queue(&channel, config, reference).await {
                tracing::warn!(%reference, error = %text_of(&error), "there is no queue for dead letters");
            }
            let _ = channel.close(200, "OK".into()).await;
        }
        let channel = link.incoming.create_channel().await?;
        let (queue, unsettled, acknowledged) = match &self.purpose {
            Purpose::Calls { reference, unsettled, .. } => {
                (topology::declare_object_queue(&channel, config, reference).await?, *unsettled, true)
            }
            Purpose::Notices { reference, .. } => {
                (topology::declare_multi_queue(&channel, config, reference).await?, NOTICES_UNSETTLED_MAX, true)
            }
            Purpose::Replies { name, .. } => (topology::declare_reply_queue(&channel, config, name).await?, 0, false),
        };
        if acknowledged {
            let unsettled = u16::try_from(unsettled).unwrap_or(u16::MAX);
            channel.basic_qos(unsettled, BasicQosOptions::default()).await?;
        }
        let options = BasicConsumeOptions { no_ack: !acknowledged, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(queue, ShortString::default(), options, FieldTable::default()).await?;
        Ok((channel, consumer))
    }

    /// Hands out what comes, and settles it.
    async fn pump(&self, link: &Arc<Link>, channel: Channel, mut consumer: Consumer, stop: &mut watch::Receiver<bool>) -> Ended {
        let (settler, mut settled) = mpsc::unbounded_channel();
        let settler = Arc::new(Outstanding(settler));
        // What was handed out and not settled.
        let mut ackers = BTreeMap::new();
        let mut together = Vec::with_capacity(SETTLED_TOGETHER_MAX);
        loop {
            tokio::select! {
                biased;
                why = link.ended() => return Ended::Lost(why),
                _ = settled.recv_many(&mut together, SETTLED_TOGETHER_MAX) => self.settle(&mut ackers, &mut together).await,
                () = told(stop) => break,
                delivery = consumer.next() => match delivery {
                    None => return Ended::Lost("the broker ended the consumer".to_owned()),
                    Some(Err(error)) => return Ended::Lost(error.to_string()),
                    Some(Ok(delivery)) => self.hand_out(delivery, &settler, &mut ackers).await,
                },
            }
        }
        // Cancelled first, so that others get what comes from now on; then what was handed out is finished.
        let _ = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await;
        if let Purpose::Calls { queue, .. } | Purpose::Notices { queue, .. } = &self.purpose {
            for waiting in queue.close() {
                let _ = settler.0.send(Settled::Again(waiting.tag));
            }
        }
        drop(settler);
        let rest = async {
            while !ackers.is_empty() && settled.recv_many(&mut together, SETTLED_TOGETHER_MAX).await > 0 {
                self.settle(&mut ackers, &mut together).await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(LAST_SETTLED_WAIT, rest) => {}
            _ = link.ended() => {}
        }
        // What is not settled by now the broker hands out again.
        let _ = channel.close(200, "OK".into()).await;
        Ended::Stopped
    }

    async fn hand_out(&self, mut delivery: Delivery, settler: &Arc<Outstanding>, ackers: &mut Ackers) {
        let message = incoming(&mut delivery);
        let queue = match &self.purpose {
            Purpose::Replies { sink, .. } => return sink.answer(message),
            Purpose::Calls { queue, .. } | Purpose::Notices { queue, .. } => queue,
        };
        let parcel = Parcel { deliveries: deliveries(&delivery), ..Parcel::new(message, Caller::anonymous()) };
        let waiting = Waiting { parcel, tag: delivery.delivery_tag, settler: Some(settler.clone()) };
        let tag = delivery.delivery_tag;
        ackers.insert(tag, delivery.acker);
        // The broker hands out no more than the queue holds, so only a closed one does not take it.
        if queue.offer(waiting).is_err() {
            let _ = settler.0.send(Settled::Again(tag));
        }
    }

    /// Settles what was dealt with: what has nothing unsettled before it by one acknowledgement.
    async fn settle(&self, ackers: &mut Ackers, together: &mut Vec<Settled>) {
        let mut done = Vec::with_capacity(together.len());
        for settled in together.drain(..) {
            match settled {
                Settled::Done(tag) => done.extend(ackers.remove(&tag).map(|acker| (tag, acker))),
                Settled::Again(tag) => {
                    let Some(acker) = ackers.remove(&tag) else { continue };
                    // The channel ended, if it fails: the broker hands it out again.
                    let _ = acker.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await;
                }
                Settled::Dead(tag, parcel, why) => {
                    let Some(acker) = ackers.remove(&tag) else { continue };
                    self.shared.stats.dead.add(1);
                    let _ = if self.shared.bury(self.name(), &parcel.message, &why).await {
                        acker.ack(BasicAckOptions::default()).await
                    } else {
                        acker.reject(BasicRejectOptions { requeue: false }).await
                    };
                }
            }
        }
        done.sort_unstable_by_key(|(tag, _)| *tag);
        let unsettled = ackers.keys().next().copied().unwrap_or(u64::MAX);
        let alone = done.split_off(done.partition_point(|(tag, _)| *tag < unsettled));
        if let Some((_, last)) = done.pop() {
            let _ = last.ack(BasicAckOptions { multiple: true }).await;
        }
        for (_, acker) in alone {
            let _ = acker.ack(BasicAckOptions::default()).await;
        }
    }
}

/// What was handed out and not settled, by tag.
type Ackers = BTreeMap<u64, lapin::Acker>;

/// Tells the consumer's task what became of what it handed out.
struct Outstanding(mpsc::UnboundedSender<Settled>);

impl Settler for Outstanding {
    fn done(&self, tag: u64) {
        let _ = self.0.send(Settled::Done(tag));
    }

    fn again(&self, tag: u64, _parcel: Parcel) {
        let _ = self.0.send(Settled::Again(tag));
    }

    fn dead(&self, tag: u64, parcel: Parcel, why: &str) {
        let _ = self.0.send(Settled::Dead(tag, Box::new(parcel), why.to_owned()));
    }
}

/// How often it was handed out before, as far as the broker says.
fn deliveries(delivery: &Delivery) -> u8 {
    let counted = delivery.properties.headers().as_ref().and_then(|headers| headers.inner().get("x-delivery-count"));
    match counted {
        Some(AMQPValue::LongLongInt(count)) => u8::try_from(*count).unwrap_or(u8::MAX),
        Some(AMQPValue::LongInt(count)) => u8::try_from(*count).unwrap_or(u8::MAX),
        _ => delivery.redelivered.into(),
    }
}

/// Why it would not help to try again, if it would not.
fn refusal(error: &DeclareError) -> Option<SendError> {
    match error {
        DeclareError::Name(error) => Some(error.clone()),
        DeclareError::Amqp(error) => match error.kind() {
            ErrorKind::ProtocolError(said) => match said.kind() {
                AMQPErrorKind::Soft(
                    AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::ACCESSREFUSED | AMQPSoftError::RESOURCELOCKED,
                ) => Some(SendError::Refused(said.get_message().to_string())),
                _ => None,
            },
            _ => None,
        },
    }
}

fn text_of(error: &DeclareError) -> String {
    match error {
        DeclareError::Amqp(error) => error.to_string(),
        DeclareError::Name(error) => error.to_string(),
    }
}
