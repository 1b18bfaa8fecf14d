//! Which encodings a broker reads and writes.

use super::{Answered, Call, EnvelopeError, Request, Response, gzip, java, json};
use crate::java::Catalog;
use crate::{MessageType, RawValue, RemoteError};
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serializer {
    /// JSON as the original's `gson` encodes it.
    Json,
    /// Java's own serialization, with the classes of a [`Catalog`].
    Java,
}

/// Whether bodies are compressed. Nothing in a message says so; a compressed body is recognised by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// They are not.
    None,
    /// With GZIP.
    Gzip,
}

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// How values are written.
    pub serializer: Serializer,
    /// Whether it is compressed.
    pub compression: Compression,
}

impl Encoding {
    /// Plain JSON.
    pub const JSON: Encoding = Encoding { serializer: Serializer::Json, compression: Compression::None };
    /// Plain Java serialization.
    pub const JAVA: Encoding = Encoding { serializer: Serializer::Java, compression: Compression::None };
}

/// What a broker reads, and what it writes of its own accord; answers have the encoding of their requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Encodings {
    sent: Encoding,
    /// With it, bodies of the original are read: Java's, and compressed ones.
    java: Option<Arc<Catalog>>,
}

impl Default for Encodings {
    /// JSON only.
    fn default() -> Encodings {
        Encodings { sent: Encoding::JSON, java: None }
    }
}

impl Encodings {
    /// Reads everything that callers of the original may send (but kryo), and sends requests in this encoding.
    pub fn original(sent: Encoding, catalog: Arc<Catalog>) -> Encodings {
        Encodings { sent, java: Some(catalog) }
    }

    /// The `type` property of requests that are sent.
    pub fn request_type(&self) -> MessageType {
        match self.sent.serializer {
            Serializer::Json => MessageType::Gson,
            Serializer::Java => MessageType::Java,
        }
    }

    /// Encodes a call with one parameter. A parameter that encodes as `null`, such as `()`, means a call without parameters.
    ///
    /// # Errors
    /// If the parameter cannot be encoded.
    pub fn encode_request(&self, call: &Call<'_>, param: &impl Serialize) -> Result<Vec<u8>, EnvelopeError> {
        let body = match self.sent.serializer {
            Serializer::Json => json::encode_request(call, param)?,
            Serializer::Java => java::encode_request(call, param, self.catalog(&MessageType::Java)?)?,
        };
        finished(self.sent, body)
    }

    /// Reads a call, and tells the encoding in which it wants its answer.
    ///
    /// # Errors
    /// If it is none, or none of an encoding that is read here.
    pub fn decode_request(&self, kind: &MessageType, body: &[u8]) -> Result<(Encoding, Request), EnvelopeError> {
        let serializer = match kind {
            MessageType::Gson => Serializer::Json,
            MessageType::Java if self.java.is_some() => Serializer::Java,
            MessageType::Java | MessageType::NormalResponse | MessageType::MultiResponse | MessageType::Other(_) => {
                return Err(EnvelopeError::UnknownType(crate::error::shortened(kind.as_str().to_owned())));
            }
        };
        let opened = self.open(body)?;
        let compression = if matches!(opened, Cow::Owned(_)) { Compression::Gzip } else { Compression::None };
        let request = match serializer {
            Serializer::Json => json::decode_request(&opened)?,
            Serializer::Java => java::decode_request(&opened, self.catalog(kind)?)?,
        };
        Ok((Encoding { serializer, compression }, request))
    }

    /// The encoding in which to answer what could not be read: most likely the caller's own.
    pub fn guess(&self, kind: &MessageType, body: &[u8]) -> Encoding {
        let java = matches!(kind, MessageType::Java) || body.starts_with(&crate::java::HEADER);
        let serializer = if java && self.java.is_some() { Serializer::Java } else { Serializer::Json };
        let compressed = self.java.is_some() && gzip::is_compressed(body);
        Encoding { serializer, compression: if compressed { Compression::Gzip } else { Compression::None } }
    }

    /// Encodes an answer.
    ///
    /// # Errors
    /// If the result is not what the method is known to give.
    pub fn encode_response(
        &self,
        encoding: Encoding,
        answered: &Answered<'_>,
        outcome: Result<&RawValue, &RemoteError>,
    ) -> Result<Vec<u8>, EnvelopeError> {
        let body = match encoding.serializer {
            Serializer::Json => json::encode_response(answered, outcome)?,
            Serializer::Java => java::encode_response(answered, outcome, self.catalog(&MessageType::Java)?)?,
        };
        finished(encoding, body)
    }

    /// The body without its compression, if it has one and may have one.
    ///
    /// # Errors
    /// If it is broken, or too long.
    pub fn open<'a>(&self, body: &'a [u8]) -> Result<Cow<'a, [u8]>, EnvelopeError> {
        if self.java.is_some() && gzip::is_compressed(body) { gzip::inflate(body).map(Cow::Owned) } else { Ok(Cow::Borrowed(body)) }
    }

    /// Reads an answer, out of an [opened](Encodings::open) body.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode_response<'a>(&self, body: &'a [u8]) -> Result<Response<'a>, EnvelopeError> {
        match &self.java {
            Some(catalog) if body.starts_with(&crate::java::HEADER) => java::decode_response(body, catalog),
            _ => json::decode_response(body),
        }
    }

    fn catalog(&self, kind: &MessageType) -> Result<&Catalog, EnvelopeError> {
        self.java.as_deref().ok_or_else(|| EnvelopeError::UnknownType(kind.as_str().to_owned()))
    }
}

fn finished(encoding: Encoding, body: Vec<u8>) -> Result<Vec<u8>, EnvelopeError> {
    match encoding.compression {
        Compression::None => Ok(body),
        Compression::Gzip => gzip::deflate(&body),
    }
}
