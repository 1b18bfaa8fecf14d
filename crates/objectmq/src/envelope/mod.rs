//! How a call becomes the body of a message, and back. Which encoding a request has stands in the `type` property of its message,
//! and its response has the same; encodings are chosen per message, so that old and new callers live side by side.
//!
//! Objects see JSON whatever the encoding is. Decoding keeps parameters and results as they are ([`RawValue`]): only whoever knows
//! their type decodes them, once. It accepts what the callers of the original send, and nothing in it may panic on, or nest with, what
//! comes from outside.

mod encodings;
mod gzip;
mod java;
mod json;

pub use encodings::{Compression, Encoding, Encodings, Serializer};

use crate::message::CORRELATION_ID_BYTES_MAX;
use crate::{RawValue, RemoteError};
use std::borrow::Cow;

/// Most parameters of one call.
pub const PARAMS_MAX: usize = 16;
/// Longest name of a method, in bytes.
pub const METHOD_BYTES_MAX: usize = 256;

/// A call.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Its parameters.
    pub params: Vec<Box<RawValue>>,
    /// The id of the call, if the body has one. Equal to the correlation id of the message when an original caller sends it.
    pub id: Option<String>,
    /// Whether nobody waits for an answer.
    pub asynchronous: bool,
}

impl Request {
    /// The same, if it keeps the limits.
    fn checked(self) -> Result<Request, EnvelopeError> {
        let broken = |why: String| Err(EnvelopeError::Malformed { what: "request", why });
        if self.method.is_empty() || self.method.len() > METHOD_BYTES_MAX {
            return broken(format!("the method's name has {} bytes", self.method.len()));
        }
        if self.params.len() > PARAMS_MAX {
            return broken(format!("more than {PARAMS_MAX} parameters"));
        }
        match &self.id {
            Some(id) if id.len() > CORRELATION_ID_BYTES_MAX => broken(format!("the id has {} bytes", id.len())),
            _ => Ok(self),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Response<'a> {
    /// The result, or the error of the object. A method without a result has none.
    pub outcome: Result<Option<Cow<'a, RawValue>>, RemoteError>,
    /// The id of the call.
    pub id: Option<String>,
    /// The reference of the object that answers.
    pub reference: Option<String>,
}

/// Why a body could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// No encoding of this name is known.
    #[error("messages of the type {0:?} are not read here")]
    UnknownType(String),
    /// The body is not what it should be.
    #[error("not a {what}: {why}")]
    Malformed {
        /// Request or response.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A value cannot be encoded.
    #[error("cannot be encoded: {0}")]
    Unencodable(String),
}

/// What a request says beside its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a str,
    /// The id of the call.
    pub id: &'a str,
    /// Whether an answer is wanted.
    pub answer: Answer,
}

/// Whether an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Somebody waits for it.
    Wanted,
    /// An asynchronous call.
    Unwanted,
}

/// What a response says beside its outcome.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The method that was called; empty if it could not be read.
    pub method: &'a str,
    /// The id of the call.
    pub id: &'a str,
    /// The reference of the object that answers.
    pub reference: &'a str,
}

#[cfg(test)]
mod tests;
