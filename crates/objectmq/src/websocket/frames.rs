//! Frames as bytes; the table of them is in the documentation of the module above.

use crate::error::shortened;
use crate::message::{CORRELATION_ID_BYTES_MAX, REFERENCE_BYTES_MAX};
use crate::{Message, RawValue, SendError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// Bytes of a frame beside its body, at most: `to`, `app`, `reply_to` and `id` with every character escaped, and the member names.
pub const FRAME_OVERHEAD_BYTES_MAX: usize = 8 << 10;

/// Longest `type`, in bytes.
const TYPE_BYTES_MAX: usize = 64;

/// Bodies up to this length are copied out of their frame, so that a small message does not keep a large read buffer alive.
const BODY_BYTES_COPIED_MAX: usize = 4 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    Publish,
    Consume,
    Follow,
    Leave,
    Settle,
    Answer,
    Ok,
    Deliver,
    Notice,
    Error,
}

#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A frame that was read.
#[derive(Debug, Deserialize)]
pub struct FrameIn<'a> {
    pub op: Op,
    #[serde(borrow, default)]
    to: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    app: Option<Text<'a>>,
    #[serde(borrow, default)]
    reply_to: Option<Text<'a>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    code: Option<Text<'a>>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(default)]
    n: Option<u64>,
    #[serde(default)]
    tag: Option<u64>,
    #[serde(default)]
    max: Option<u64>,
    #[serde(default)]
    pub reply: bool,
    #[serde(default)]
    pub multi: bool,
    #[serde(default)]
    pub again: bool,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

/// What a frame lacks, or has too much of.
pub type Flaw = String;

impl<'a> FrameIn<'a> {
    pub fn read(frame: &'a [u8]) -> Result<FrameIn<'a>, Flaw> {
        serde_json::from_slice(frame).map_err(|error| shortened(error.to_string()))
    }

    pub fn to(&self) -> Result<&str, Flaw> {
        required(&self.to, "to", REFERENCE_BYTES_MAX)
    }

    pub fn id(&self) -> Result<&str, Flaw> {
        required(&self.id, "id", CORRELATION_ID_BYTES_MAX)
    }

    pub fn n(&self) -> Result<u64, Flaw> {
        self.n.ok_or_else(|| missing("n"))
    }

    pub fn tag(&self) -> Result<u64, Flaw> {
        self.tag.ok_or_else(|| missing("tag"))
    }

    pub fn max(&self) -> Result<u64, Flaw> {
        self.max.ok_or_else(|| missing("max"))
    }

    pub fn reply_to(&self) -> Result<Option<&str>, Flaw> {
        self.reply_to.as_ref().map(|_| required(&self.reply_to, "reply_to", REFERENCE_BYTES_MAX)).transpose()
    }

    /// The message in `frame`, which this was read from.
    pub fn message(&self, frame: &Bytes, reply_to: Option<Arc<str>>) -> Result<Message, Flaw> {
        let kind = required(&self.kind, "type", TYPE_BYTES_MAX)?;
        let body = self.body.ok_or_else(|| missing("body"))?.get().as_bytes();
        let body = match body.len() {
            0..=BODY_BYTES_COPIED_MAX => Bytes::copy_from_slice(body),
            _ => frame.slice_ref(body),
        };
        Ok(Message {
            app_id: required(&self.app, "app", REFERENCE_BYTES_MAX)?.into(),
            correlation_id: self.id()?.into(),
            reply_to,
            kind: kind.into(),
            body,
        })
    }

    /// What an `error` frame says, about the call or inbox that it names.
    pub fn error(&self) -> SendError {
        let text = self.text.as_ref().map(|text| text.0.to_string()).unwrap_or_default();
        match self.code.as_ref().map(|code| &*code.0) {
            Some("not_bound") => SendError::NotBound(text),
            Some("refused") => SendError::Refused(text),
            Some("busy") => SendError::Busy(text),
            _ => SendError::Malformed(text),
        }
    }
}

fn required<'a>(text: &'a Option<Text<'_>>, name: &str, bytes_max: usize) -> Result<&'a str, Flaw> {
    let text = &*text.as_ref().ok_or_else(|| missing(name))?.0;
    if text.is_empty() || text.len() > bytes_max {
        return Err(format!("{name:?} must have 1 to {bytes_max} bytes, not {}", text.len()));
    }
    Ok(text)
}

fn missing(name: &str) -> Flaw {
    format!("{name:?} is missing")
}

/// How a request is to be published.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    One,
    All,
}

pub fn publish(to: &str, spread: Spread, message: &Message) -> Bytes {
    let mut out = FrameOut::new("publish", message.body.len());
    out.text("to", to);
    if spread == Spread::All {
        out.raw(r#","multi":true"#);
    }
    if message.reply_to.is_some() {
        out.raw(r#","reply":true"#);
    }
    out.message(message)
}

pub fn answer_to(to: &str, message: &Message) -> Bytes {
    let mut out = FrameOut::new("answer", message.body.len());
    out.text("to", to);
    out.message(message)
}

pub fn answer(message: &Message) -> Bytes {
    FrameOut::new("answer", message.body.len()).message(message)
}

pub fn deliver(n: u64, tag: u64, message: &Message) -> Bytes {
    let mut out = FrameOut::new("deliver", message.body.len());
    out.number("n", n);
    out.number("tag", tag);
    out.reply_to(message);
    out.message(message)
}

/// What is the same in the `notice` frames of all followers.
pub fn notice_tail(message: &Message) -> Bytes {
    let mut out = FrameOut(Vec::with_capacity(message.body.len() + 256));
    out.reply_to(message);
    out.message(message)
}

pub fn notice(n: u64, tail: &Bytes) -> Bytes {
    let mut out = FrameOut::new("notice", tail.len());
    out.number("n", n);
    out.0.extend_from_slice(tail);
    out.0.into()
}

pub fn consume(n: u64, to: &str, max: u64) -> Bytes {
    let mut out = FrameOut::new("consume", 0);
    out.number("n", n);
    out.text("to", to);
    out.number("max", max);
    out.finish()
}

pub fn follow(n: u64, to: &str) -> Bytes {
    let mut out = FrameOut::new("follow", 0);
    out.number("n", n);
    out.text("to", to);
    out.finish()
}

pub fn leave(n: u64) -> Bytes {
    let mut out = FrameOut::new("leave", 0);
    out.number("n", n);
    out.finish()
}

pub fn ok(n: u64) -> Bytes {
    let mut out = FrameOut::new("ok", 0);
    out.number("n", n);
    out.finish()
}

pub fn settle_done(tag: u64) -> Bytes {
    let mut out = FrameOut::new("settle", 0);
    out.number("tag", tag);
    out.finish()
}

pub fn settle_again(tag: u64) -> Bytes {
    let mut out = FrameOut::new("settle", 0);
    out.number("tag", tag);
    out.raw(r#","again":true"#);
    out.finish()
}

/// What an `error` frame is about.
#[derive(Clone, Copy)]
pub enum About<'a> {
    Call(&'a str),
    Inbox(u64),
    Frame,
}

pub fn error(about: About<'_>, error: &SendError) -> Bytes {
    let (code, text) = match error {
        SendError::NotBound(reference) => ("not_bound", reference.clone()),
        SendError::Refused(why) => ("refused", why.clone()),
        SendError::Busy(what) => ("busy", what.clone()),
        SendError::Disconnected(_) | SendError::Closed => ("busy", error.to_string()),
        SendError::TooLarge { .. } => ("too_large", error.to_string()),
        SendError::Malformed(why) => ("malformed", why.clone()),
    };
    let mut out = FrameOut::new("error", text.len());
    out.text("code", code);
    out.text("text", &text);
    match about {
        About::Call(id) => out.text("id", id),
        About::Inbox(n) => out.number("n", n),
        About::Frame => {}
    }
    out.finish()
}

/// A frame under construction. Writing to memory cannot fail.
struct FrameOut(Vec<u8>);

impl FrameOut {
    fn new(op: &str, body_bytes: usize) -> FrameOut {
        let mut out = FrameOut(Vec::with_capacity(body_bytes + 320));
        out.raw(r#"{"op":""#);
        out.raw(op);
        out.raw(r#"""#);
        out
    }

    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn name(&mut self, name: &str) {
        self.raw(r#",""#);
        self.raw(name);
        self.raw(r#"":"#);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.value(text);
    }

    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        self.value(&number);
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        let written = serde_json::to_writer(&mut self.0, value);
        debug_assert!(written.is_ok());
    }

    fn reply_to(&mut self, message: &Message) {
        if let Some(reply_to) = &message.reply_to {
            self.text("reply_to", reply_to);
        }
    }

    fn message(mut self, message: &Message) -> Bytes {
        self.text("id", &message.correlation_id);
        self.text("app", &message.app_id);
        self.text("type", message.kind.as_str());
        self.name("body");
        self.0.extend_from_slice(&message.body);
        self.finish()
    }

    fn finish(mut self) -> Bytes {
        self.raw("}");
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(id: &str, app: &str, kind: &str, reply_to: Option<&str>, body: &str) -> Message {
        Message {
            app_id: app.into(),
            correlation_id: id.into(),
            reply_to: reply_to.map(Into::into),
            kind: kind.into(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_message_survives_every_frame(
            id in "\\PC{1,30}", app in "\\PC{1,60}", to in "\\PC{1,60}", reply_to in prop::option::of("\\PC{1,60}"),
            kind in prop_oneof!["gson", "normalResponse", "\\PC{1,16}"], text in "\\PC{0,9000}", n in 0_u64..1 << 53, all: bool,
        ) {
            let body = serde_json::json!({"text": text}).to_string();
            let message = message(&id, &app, &kind, reply_to.as_deref(), &body);
            let spread = if all { Spread::All } else { Spread::One };
            for (frame, op) in [
                (publish(&to, spread, &message), Op::Publish),
                (answer_to(&to, &message), Op::Answer),
                (answer(&message), Op::Answer),
                (deliver(n, n, &message), Op::Deliver),
                (notice(n, &notice_tail(&message)), Op::Notice),
            ] {
                let read = FrameIn::read(&frame).unwrap();
                prop_assert_eq!(read.op, op);
                let again = read.message(&frame, message.reply_to.clone()).unwrap();
                prop_assert_eq!(&again, &message);
                match op {
                    Op::Publish => {
                        prop_assert_eq!((read.to().unwrap(), read.multi, read.reply), (to.as_str(), all, reply_to.is_some()));
                    }
                    Op::Deliver | Op::Notice => {
                        prop_assert_eq!((read.n().unwrap(), read.reply_to().unwrap()), (n, reply_to.as_deref()));
                    }
                    _ => {}
                }
                prop_assert!(frame.len() <= body.len() + FRAME_OVERHEAD_BYTES_MAX);
            }
        }

        #[test]
        fn an_error_survives(text in "\\PC{0,200}", id in "\\PC{1,40}", n: u64) {
            for failure in [SendError::NotBound(text.clone()), SendError::Refused(text.clone()), SendError::Busy(text.clone()), SendError::Malformed(text)] {
                let frame = error(About::Call(&id), &failure);
                let read = FrameIn::read(&frame).unwrap();
                prop_assert_eq!((read.error(), read.id().unwrap()), (failure.clone(), id.as_str()));
                let frame = error(About::Inbox(n), &failure);
                prop_assert_eq!(FrameIn::read(&frame).unwrap().n().unwrap(), n);
            }
        }

        #[test]
        fn nothing_that_comes_panics(frame: Vec<u8>) {
            if let Ok(read) = FrameIn::read(&frame) {
                let _ = read.message(&Bytes::copy_from_slice(&frame), None);
            }
        }
    }

    #[test]
    fn the_longest_names_fit_around_a_body() {
        let worst = "\u{1}";
        let (id, name) = (worst.repeat(CORRELATION_ID_BYTES_MAX), worst.repeat(REFERENCE_BYTES_MAX));
        let frame = deliver(u64::MAX, u64::MAX, &message(&id, &name, &worst.repeat(TYPE_BYTES_MAX), Some(&name), "{}"));
        assert!(frame.len() <= FRAME_OVERHEAD_BYTES_MAX, "{}", frame.len());
    }

    /// An error about input must not send the input back at length.
    #[test]
    fn a_flaw_is_short() {
        let flaw = FrameIn::read(format!(r#"{{"op":"{}"}}"#, "é".repeat(1_000_000)).as_bytes()).unwrap_err();
        assert!(flaw.len() < 500, "{}", flaw.len());
    }
}
