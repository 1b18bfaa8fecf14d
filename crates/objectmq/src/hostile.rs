//! What must hold of this crate's decoders whatever bytes come. The tests below check it with kept inputs, `fuzz/` with inputs that
//! it searches for. Not part of what others use: only tests and the feature `hostile` compile it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a check fails by panicking")]

use crate::envelope::{Answer, Answered, Call, Encoding, Encodings, EnvelopeError, METHOD_BYTES_MAX, PARAMS_MAX, Request};
use crate::java::{self, Catalog, JSON_BYTES_MAX};
use crate::message::CORRELATION_ID_BYTES_MAX;
use crate::websocket::frames::{self, FRAME_OVERHEAD_BYTES_MAX, FrameIn, Spread};
use crate::{Message, MessageType, RawValue};
use bytes::Bytes;

#[cfg(test)]
#[path = "../../../fuzz/kept.rs"]
mod kept;

/// Texts about wrong input are no longer than this, in bytes: they go back over the wire and into logs.
const COMPLAINT_BYTES_MAX: usize = 600;

/// A request of our own clients, see [`request_in`].
pub fn request(bytes: &[u8]) {
    request_in(&Encodings::default(), &MessageType::Gson, bytes);
}

/// An answer to our own clients, see [`response_in`].
pub fn response(bytes: &[u8]) {
    response_in(&Encodings::default(), "m", bytes);
}

/// A request of this type. What is read is within the limits and, written as these encodings write, is read again the same.
pub fn request_in(encodings: &Encodings, kind: &MessageType, bytes: &[u8]) {
    let _ = encodings.guess(kind, bytes);
    let (encoding, request) = match encodings.decode_request(kind, bytes) {
        Err(error) => return assert!(error.to_string().len() <= COMPLAINT_BYTES_MAX, "{error}"),
        Ok(read) => read,
    };
    assert!((1..=METHOD_BYTES_MAX).contains(&request.method.len()));
    assert!(request.params.len() <= PARAMS_MAX);
    assert!(request.id.as_ref().is_none_or(|id| id.len() <= CORRELATION_ID_BYTES_MAX));
    let read: usize = request.params.iter().map(|param| param.get().len()).sum();
    let most = if encoding == Encoding::JSON { bytes.len() } else { JSON_BYTES_MAX };
    assert!(read <= most, "{read} bytes out of {}", bytes.len());
    let Some(written) = rewritten(encodings, &request) else { return };
    let (_, again) = encodings.decode_request(&encodings.request_type(), &written).expect("what was written is read");
    assert_eq!((&again.method, again.asynchronous), (&request.method, request.asynchronous));
    assert_eq!(again.id.unwrap_or_default(), request.id.clone().unwrap_or_default());
    let params = |params: &[Box<RawValue>]| params.iter().map(|param| param.get().to_owned()).collect::<Vec<_>>();
    if encoding == Encoding::JSON && encodings.request_type() == MessageType::Gson {
        let said_nothing = again.params.is_empty() && request.params.iter().all(|param| param.get() == "null");
        assert!(said_nothing || params(&again.params) == params(&request.params));
    }
}

/// `None` if it has none or several parameters, or is nothing that can be written.
fn rewritten(encodings: &Encodings, request: &Request) -> Option<Vec<u8>> {
    let [param] = request.params.as_slice() else { return None };
    let answer = if request.asynchronous { Answer::Unwanted } else { Answer::Wanted };
    let call = Call { method: &request.method, id: request.id.as_deref().unwrap_or_default(), answer };
    let written = encodings.encode_request(&call, param).ok()?;
    let (_, again) = encodings.decode_request(&encodings.request_type(), &written).expect("what was written is read");
    if let [param] = again.params.as_slice() {
        assert!(encodings.encode_request(&call, param).is_ok_and(|twice| twice == written), "a request is written in one way");
    }
    Some(written)
}

/// An answer to a call of this method. What is read is within the limits and, written as JSON, is read again the same.
pub fn response_in(encodings: &Encodings, method: &str, bytes: &[u8]) {
    let complained = |error: EnvelopeError| assert!(error.to_string().len() <= COMPLAINT_BYTES_MAX, "{error}");
    let body = match encodings.open(bytes) {
        Ok(body) => body,
        Err(error) => return complained(error),
    };
    let response = match encodings.decode_response(&body) {
        Ok(response) => response,
        Err(error) => return complained(error),
    };
    let (id, reference) = (response.id.unwrap_or_default(), response.reference.unwrap_or_default());
    let answered = Answered { method, id: &id, reference: &reference };
    let outcome = match &response.outcome {
        Ok(None) => return,
        Ok(Some(result)) => Ok(&**result),
        Err(error) => Err(error),
    };
    let Ok(written) = encodings.encode_response(Encoding::JSON, &answered, outcome) else { return };
    let again = encodings.decode_response(&written).expect("what was written is read");
    assert_eq!((again.id.as_deref(), again.reference.as_deref()), (Some(&*id), Some(&*reference)));
    match (outcome, &again.outcome) {
        (Err(before), Err(after)) => assert_eq!(before, after),
        (Ok(before), Ok(after)) => {
            assert!(before.get().len() <= JSON_BYTES_MAX.max(bytes.len()));
            let after = after.as_ref().map(|result| result.get());
            assert_eq!(after, Some(before.get()).filter(|result| *result != "null"));
        }
        (before, after) => panic!("{before:?} became {after:?}"),
    }
}

/// A stream of Java's serialization with classes of this catalog. What is read is written and read again the same.
pub fn java(catalog: &Catalog, bytes: &[u8]) {
    match java::read(bytes, catalog) {
        Err(error) => assert!(error.to_string().len() <= LONGEST_CLASS_NAME + COMPLAINT_BYTES_MAX),
        Ok(graph) => {
            let Ok(written) = java::write(&graph) else { return };
            let again = java::read(&written, catalog).expect("what was written is read");
            assert_eq!(java::write(&again).expect("it could be written before"), written);
        }
    }
}

/// A class that is not known is named in full, in bytes; whoever sends that further cuts it.
const LONGEST_CLASS_NAME: usize = 2 * 65_535;

/// A frame of the WebSocket. The message in it survives every frame that carries messages, and no frame is longer than announced.
pub fn frame(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    let read = match FrameIn::read(&frame) {
        Ok(read) => read,
        Err(flaw) => return assert!(flaw.len() <= COMPLAINT_BYTES_MAX, "{flaw}"),
    };
    let _ = (read.n(), read.tag(), read.max(), read.error());
    let Ok(reply_to) = read.reply_to() else { return };
    let Ok(message) = read.message(&frame, reply_to.map(Into::into)) else { return };
    assert!(message.body.len() <= bytes.len());
    let to = read.to().unwrap_or("x");
    for written in [
        frames::publish(to, Spread::One, &message),
        frames::answer_to(to, &message),
        frames::deliver(1, 2, &message),
        frames::notice(1, &frames::notice_tail(&message)),
    ] {
        assert!(written.len() <= message.body.len() + FRAME_OVERHEAD_BYTES_MAX);
        assert_eq!(read_again(&written, &message), message);
    }
}

fn read_again(frame: &Bytes, message: &Message) -> Message {
    let read = FrameIn::read(frame).expect("what was written is read");
    read.message(frame, message.reply_to.clone()).expect("what was written is a message")
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn kept_requests_are_harmless() {
        kept::replay(&["hostile/request", "wire/gson"], super::request);
    }

    #[test]
    fn kept_responses_are_harmless() {
        kept::replay(&["hostile/response", "wire/gson"], super::response);
    }

    #[test]
    fn kept_frames_are_harmless() {
        kept::replay(&["hostile/frame"], super::frame);
    }
}
