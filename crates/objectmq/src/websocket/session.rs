//! The server's side of one WebSocket session. What only needs memory is done while reading; what may wait (asking the gate about
//! an inbox) is done one after the other by [`Controls`].

use super::door::{DoorOptions, Gate, Refusal};
use super::frames::{self, About, Flaw, FrameIn, Op};
use super::outlet::{NotTaken, Outlet};
use super::pump::Inflow;
use super::socket::CloseReason;
use crate::local::{Follower, Hub, Notice};
use crate::queue::lock;
use crate::transport::{Address, Delivery, Guard, Inbox, Load, Parcel, ReplyQueue, ReplySink};
use crate::{Caller, Message, SendError, Stats};
use bytes::Bytes;
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Inboxes that a session may have asked for and not been answered.
const CONTROLS_WAITING_MAX: usize = 2_048;
/// Unsettled messages that one inbox may ask for.
const UNSETTLED_MAX: u64 = 1_024;

pub struct Session {
    hub: Hub,
    gate: Arc<dyn Gate>,
    caller: Caller,
    outlet: Arc<Outlet>,
    replies: ReplyQueue,
    load: Arc<AtomicUsize>,
    in_flight_max: usize,
    controls: mpsc::Sender<Control>,
    unsettled: Mutex<HashMap<u64, Unsettled>>,
    last_tag: AtomicU64,
}

/// A message that the other side consumes.
struct Unsettled {
    delivery: Delivery,
    credit: Arc<Semaphore>,
}

enum Control {
    Follow { n: u64, reference: String },
    Consume { n: u64, reference: String, max: usize },
    Leave { n: u64 },
    Withdraw { reference: String },
}

impl Session {
    pub fn open(hub: Hub, gate: Arc<dyn Gate>, outlet: Arc<Outlet>, options: &DoorOptions) -> (Arc<Session>, Controls) {
        let (controls, asked) = mpsc::channel(CONTROLS_WAITING_MAX);
        let answers = Answers { outlet: outlet.clone(), stats: hub.stats().clone() };
        let session = Arc::new(Session {
            replies: hub.open_replies(Arc::new(answers)),
            caller: gate.caller(),
            load: Arc::default(),
            in_flight_max: options.in_flight_max,
            unsettled: Mutex::default(),
            last_tag: AtomicU64::new(0),
            hub,
            gate,
            outlet,
            controls,
        });
        let inboxes_max = options.inboxes_max;
        let controls =
            Controls { session: session.clone(), asked, inboxes: HashMap::new(), forwarders: JoinSet::new(), inboxes_max };
        (session, controls)
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn inflow(self: &Arc<Self>) -> SessionInflow {
        SessionInflow(self.clone())
    }

    pub fn end(&self, reason: CloseReason) {
        self.outlet.end(reason);
    }

    pub fn withdraw(&self, reference: &str) {
        let control = Control::Withdraw { reference: reference.to_owned() };
        if self.controls.try_send(control).is_err() {
            // It must not go on following: better no session.
            self.end(CloseReason::new(CloseReason::POLICY, "asked for too much"));
        }
    }

    /// Gives what the other side has not settled to others.
    pub fn give_back(&self) {
        let unsettled = std::mem::take(&mut *lock(&self.unsettled));
        drop(unsettled);
    }

    fn act(&self, read: &FrameIn<'_>, frame: &Bytes) -> Result<(), Flaw> {
        match read.op {
            Op::Publish => self.publish(read, frame),
            Op::Settle => self.settle(read),
            Op::Answer => {
                let message = read.message(frame, None)?;
                // Names of reply queues cannot be guessed: whoever has one was asked. Nobody waits to hear that it is gone.
                let _ = self.hub.deliver(Address::Reply(read.to()?), Parcel::new(message, self.caller.clone()));
                Ok(())
            }
            Op::Follow => self.ask(read.n()?, Control::Follow { n: read.n()?, reference: read.to()?.to_owned() }),
            Op::Consume => {
                let max = read.max()?.clamp(1, UNSETTLED_MAX) as usize;
                self.ask(read.n()?, Control::Consume { n: read.n()?, reference: read.to()?.to_owned(), max })
            }
            Op::Leave => self.ask(read.n()?, Control::Leave { n: read.n()? }),
            Op::Ok | Op::Deliver | Op::Notice | Op::Error => Err(format!("{:?} is not for a server", read.op)),
        }
    }

    fn publish(&self, read: &FrameIn<'_>, frame: &Bytes) -> Result<(), Flaw> {
        let to = read.to()?;
        let reply_to = read.reply.then(|| self.replies.name.clone());
        let message = read.message(frame, reply_to)?;
        let id = message.correlation_id.clone();
        let address = if read.multi { Address::Multi(to) } else { Address::Unicast(to) };
        if let Err(error) = self.admit(address).and_then(|load| {
            let parcel = Parcel { load: Some(load), ..Parcel::new(message, self.caller.clone()) };
            self.hub.deliver(address, parcel)
        }) {
            self.send(frames::error(About::Call(&id), &error));
        }
        Ok(())
    }

    fn admit(&self, address: Address<'_>) -> Result<Load, SendError> {
        if let Err(Refusal(why)) = self.gate.admit_publish(address) {
            self.hub.stats().refused.add(1);
            return Err(SendError::Refused(why));
        }
        Load::take(&self.load, self.in_flight_max).ok_or_else(|| {
            self.hub.stats().busy.add(1);
            SendError::Busy(format!("more than {} messages in flight", self.in_flight_max))
        })
    }

    fn settle(&self, read: &FrameIn<'_>) -> Result<(), Flaw> {
        let tag = read.tag()?;
        let Some(Unsettled { delivery, credit }) = lock(&self.unsettled).remove(&tag) else {
            return Err(format!("nothing has the tag {tag}"));
        };
        if read.again {
            drop(delivery);
        } else {
            delivery.done();
        }
        credit.add_permits(1);
        Ok(())
    }

    fn ask(&self, n: u64, control: Control) -> Result<(), Flaw> {
        if self.controls.try_send(control).is_err() {
            self.hub.stats().busy.add(1);
            self.send(frames::error(About::Inbox(n), &SendError::Busy("too many inboxes are being asked for".to_owned())));
        }
        Ok(())
    }

    fn refuse(&self, about: About<'_>, flaw: Flaw) {
        self.hub.stats().malformed.add(1);
        self.send(frames::error(about, &SendError::Malformed(flaw)));
    }

    fn send(&self, frame: Bytes) {
        offer(&self.outlet, frame);
    }
}

/// Queues a frame for the other side. If he lets too much wait, he is cut off.
fn offer(outlet: &Outlet, frame: Bytes) {
    if outlet.offer(frame) == Err(NotTaken::Full) {
        outlet.cut();
    }
}

/// Reads the frames of a session.
pub struct SessionInflow(Arc<Session>);

impl Inflow for SessionInflow {
    fn text(&mut self, frame: Bytes) {
        match FrameIn::read(&frame) {
            Err(flaw) => self.0.refuse(About::Frame, flaw),
            Ok(read) => {
                if let Err(flaw) = self.0.act(&read, &frame) {
                    self.0.refuse(read.id().map_or(About::Frame, About::Call), flaw);
                }
            }
        }
    }

    fn binary(&mut self) {
        self.0.refuse(About::Frame, "binary frames are not used".to_owned());
    }
}

/// Writes answers to a session.
struct Answers {
    outlet: Arc<Outlet>,
    stats: Arc<Stats>,
}

impl ReplySink for Answers {
    fn answer(&self, message: Message) {
        if self.outlet.offer(frames::answer(&message)) == Err(NotTaken::Full) {
            self.stats.answers_lost.add(1);
            self.outlet.cut();
        }
    }

    fn failed(&self, correlation_id: &str, error: SendError) {
        offer(&self.outlet, frames::error(About::Call(correlation_id), &error));
    }

    fn disconnected(&self, _why: &str) {}
}

/// Writes notifications to a session.
struct NoticeWriter {
    n: u64,
    outlet: Arc<Outlet>,
}

impl Follower for NoticeWriter {
    fn notify(&self, notice: &Notice) {
        let tail = notice.encoded.get_or_init(|| frames::notice_tail(&notice.message));
        offer(&self.outlet, frames::notice(self.n, tail));
    }
}

/// The inboxes of one session. Dropping it leaves all of them.
pub struct Controls {
    session: Arc<Session>,
    asked: mpsc::Receiver<Control>,
    inboxes: HashMap<u64, Open>,
    forwarders: JoinSet<()>,
    inboxes_max: usize,
}

struct Open {
    reference: String,
    _stop: Guard,
}

impl Controls {
    /// Does what is asked for, one after the other.
    pub async fn run(&mut self) {
        while let Some(control) = self.asked.recv().await {
            while self.forwarders.try_join_next().is_some() {}
            match control {
                Control::Follow { n, reference } => self.follow(n, reference).await,
                Control::Consume { n, reference, max } => self.consume(n, reference, max).await,
                Control::Leave { n } => {
                    self.inboxes.remove(&n);
                    self.session.send(frames::ok(n));
                }
                Control::Withdraw { reference } => self.withdraw(&reference),
            }
        }
    }

    async fn follow(&mut self, n: u64, reference: String) {
        let session = self.session.clone();
        if self.admit(n, session.gate.admit_follow(&reference)).await {
            let writer = NoticeWriter { n, outlet: session.outlet.clone() };
            let stop = session.hub.follow(&reference, Arc::new(writer));
            // Said afterwards: whoever hears it misses nothing from then on.
            session.send(frames::ok(n));
            self.inboxes.insert(n, Open { reference, _stop: stop });
        }
    }

    async fn consume(&mut self, n: u64, reference: String, max: usize) {
        let session = self.session.clone();
        if self.admit(n, session.gate.admit_consume(&reference)).await {
            let inbox = session.hub.take_part(&reference);
            session.send(frames::ok(n));
            let forwarder = self.forwarders.spawn(forward(session, inbox, n, max));
            self.inboxes.insert(n, Open { reference, _stop: Guard::new(move || forwarder.abort()) });
        }
    }

    async fn admit(&self, n: u64, verdict: impl Future<Output = Result<(), Refusal>>) -> bool {
        let error = if self.inboxes.contains_key(&n) {
            SendError::Malformed(format!("{n} is in use"))
        } else if self.inboxes.len() >= self.inboxes_max {
            SendError::Busy(format!("more than {} inboxes", self.inboxes_max))
        } else {
            match verdict.await {
                Ok(()) => return true,
                Err(Refusal(why)) => SendError::Refused(why),
            }
        };
        self.session.hub.stats().refused.add(1);
        self.session.send(frames::error(About::Inbox(n), &error));
        false
    }

    fn withdraw(&mut self, reference: &str) {
        let session = &self.session;
        self.inboxes.retain(|n, open| {
            let stays = open.reference != reference;
            if !stays {
                let error = SendError::Refused(format!("{reference:?} is no longer for you"));
                session.send(frames::error(About::Inbox(*n), &error));
            }
            stays
        });
    }
}

/// Hands the messages of a unicast queue to the other side, as many as it has credit for.
async fn forward(session: Arc<Session>, inbox: Inbox, n: u64, max: usize) {
    let credit = Arc::new(Semaphore::new(max));
    while let Ok(permit) = credit.acquire().await {
        permit.forget();
        let Some(delivery) = inbox.next().await else { return };
        let tag = session.last_tag.fetch_add(1, Relaxed) + 1;
        let frame = frames::deliver(n, tag, delivery.message());
        lock(&session.unsettled).insert(tag, Unsettled { delivery, credit: credit.clone() });
        session.send(frame);
    }
}
