//! JSON as the original's `gson` encodes it: null members left out, readers tolerant of missing members, of the order of members,
//! of members unknown to them, and of `"true"` for `true`.

use super::{Answer, Answered, Call, EnvelopeError, PARAMS_MAX, Request, Response};
use crate::error::shortened;
use crate::{RawValue, RemoteError};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

const ENCODED_BYTES_GUESS: usize = 512;

pub fn encode_request(call: &Call<'_>, param: &impl Serialize) -> Result<Vec<u8>, EnvelopeError> {
    let mut body = Vec::with_capacity(ENCODED_BYTES_GUESS);
    body.extend_from_slice(br#"{"method":"#);
    write(&mut body, call.method)?;
    let before_params = body.len();
    body.extend_from_slice(br#","params":["#);
    let before_param = body.len();
    write(&mut body, param)?;
    match &body[before_param..] {
        b"null" => body.truncate(before_params),
        _ => body.push(b']'),
    }
    body.extend_from_slice(br#","id":"#);
    write(&mut body, call.id)?;
    body.extend_from_slice(match call.answer {
        Answer::Wanted => br#","async":false}"#,
        Answer::Unwanted => br#","async":true}"#,
    });
    Ok(body)
}

#[derive(Serialize)]
struct ResponseOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorOut<'a>>,
    id: &'a str,
    #[serde(rename = "idOmq")]
    id_omq: &'a str,
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    r#type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

pub fn encode_response(answered: &Answered<'_>, outcome: Result<&RawValue, &RemoteError>) -> Result<Vec<u8>, EnvelopeError> {
    let (result, error) = match outcome {
        Ok(result) => (Some(result).filter(|result| result.get() != "null"), None),
        Err(error) => (None, Some(ErrorOut { r#type: &error.kind, message: &error.message })),
    };
    let mut body = Vec::with_capacity(ENCODED_BYTES_GUESS);
    write(&mut body, &ResponseOut { result, error, id: answered.id, id_omq: answered.reference })?;
    Ok(body)
}

fn write(body: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> Result<(), EnvelopeError> {
    serde_json::to_writer(body, value).map_err(|error| EnvelopeError::Unencodable(error.to_string()))
}

#[derive(Deserialize)]
struct RequestIn {
    method: String,
    #[serde(default, deserialize_with = "params")]
    params: Vec<Box<RawValue>>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default, deserialize_with = "tolerant_bool")]
    r#async: bool,
}

pub fn decode_request(body: &[u8]) -> Result<Request, EnvelopeError> {
    let malformed = |why: String| EnvelopeError::Malformed { what: "request", why: shortened(why) };
    let request: RequestIn = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    Request { method: request.method, params: request.params, id: request.id, asynchronous: request.r#async }.checked()
}

#[derive(Deserialize)]
struct ResponseIn<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ErrorIn>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default, rename = "idOmq")]
    id_omq: Option<String>,
}

#[derive(Deserialize)]
struct ErrorIn {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

pub fn decode_response(body: &[u8]) -> Result<Response<'_>, EnvelopeError> {
    let response: ResponseIn<'_> = serde_json::from_slice(body)
        .map_err(|error| EnvelopeError::Malformed { what: "response", why: shortened(error.to_string()) })?;
    let outcome = match response.error {
        None => Ok(response.result.map(Cow::Borrowed)),
        Some(error) => Err(RemoteError {
            kind: error.r#type.unwrap_or_else(|| crate::error::REMOTE_EXCEPTION.to_owned()),
            message: error.message.unwrap_or_default(),
        }),
    };
    Ok(Response { outcome, id: response.id, reference: response.id_omq })
}

/// A list of parameters, `null`, or nothing.
fn params<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Box<RawValue>>, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Vec<Box<RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of parameters")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut params = Vec::new();
            while let Some(param) = list.next_element()? {
                if params.len() == PARAMS_MAX {
                    return Err(de::Error::custom(format_args!("more than {PARAMS_MAX} parameters")));
                }
                params.push(param);
            }
            Ok(params)
        }
    }
    deserializer.deserialize_any(List)
}

/// `true`, `"true"`, `null` (which is false).
fn tolerant_bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Tolerant;
    impl Visitor<'_> for Tolerant {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true or false")
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
            match text {
                _ if text.eq_ignore_ascii_case("true") => Ok(true),
                _ if text.eq_ignore_ascii_case("false") => Ok(false),
                _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
            }
        }

        fn visit_unit<E: de::Error>(self) -> Result<bool, E> {
            Ok(false)
        }
    }
    deserializer.deserialize_any(Tolerant)
}
