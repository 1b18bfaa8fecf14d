//! Java's own serialization: requests and responses as the original's objects, parameters and results of the classes of a catalog.

use super::{Answer, Answered, Call, EnvelopeError, Request, Response};
use crate::error::{REMOTE_EXCEPTION, shortened};
use crate::java::{self, Catalog, Descriptor, ERROR, Graph, JavaError, Node, Part, REQUEST, RESPONSE, Value, Writer};
use crate::{RawValue, RemoteError};
use serde::Serialize;
use std::borrow::Cow;

fn unencodable(error: impl ToString) -> EnvelopeError {
    EnvelopeError::Unencodable(error.to_string())
}

pub fn encode_request(call: &Call<'_>, param: &impl Serialize, catalog: &Catalog) -> Result<Vec<u8>, EnvelopeError> {
    let param = serde_json::value::to_raw_value(param).map_err(unencodable)?;
    let mut writer = Writer::new(catalog);
    let written = (|| {
        writer.object(&REQUEST)?;
        writer.raw(&[(call.answer == Answer::Unwanted).into()]);
        writer.text(call.id);
        writer.text(call.method);
        match param.get() {
            "null" => writer.null(),
            _ => {
                writer.objects(1)?;
                writer.json(&param, catalog.param(call.method))?;
            }
        }
        Ok(())
    })();
    written.map_err(|error: JavaError| unencodable(error))?;
    Ok(writer.finish())
}

pub fn encode_response(
    answered: &Answered<'_>,
    outcome: Result<&RawValue, &RemoteError>,
    catalog: &Catalog,
) -> Result<Vec<u8>, EnvelopeError> {
    let mut writer = Writer::new(catalog);
    let written = (|| {
        writer.object(&RESPONSE)?;
        match outcome {
            Ok(_) => writer.null(),
            Err(error) => {
                writer.object(&ERROR)?;
                if error.message.is_empty() {
                    writer.null()
                } else {
                    writer.text(&error.message)
                }
                writer.text(&error.kind);
            }
        }
        writer.text(answered.id);
        writer.text(answered.reference);
        match outcome {
            Ok(result) => writer.json(result, catalog.result(answered.method)),
            Err(_) => {
                writer.null();
                Ok(())
            }
        }
    })();
    written.map_err(|error: JavaError| unencodable(error))?;
    Ok(writer.finish())
}

/// An object of the envelope's own classes.
struct Object<'a> {
    graph: &'a Graph,
    class: &'a Descriptor,
    part: &'a Part,
}

impl<'a> Object<'a> {
    /// `None` if the value is no object of this class.
    fn of(graph: &'a Graph, value: Value, name: &str) -> Option<Object<'a>> {
        let Some(Node::Object { class, parts }) = graph.node(value) else { return None };
        let (class, part) = (graph.class(*class)?, parts.last()?);
        (&*class.name == name).then_some(Object { graph, class, part })
    }

    fn value(&self, field: &str) -> Value {
        self.class.value(self.part, field).unwrap_or(Value::Null)
    }

    /// `None` if it is no text.
    fn text(&self, field: &str) -> Option<Option<String>> {
        match (self.value(field), self.graph.node(self.value(field))) {
            (Value::Null, _) => Some(None),
            (_, Some(Node::Text(text))) => Some(Some(text.to_string())),
            _ => None,
        }
    }
}

pub fn decode_request(body: &[u8], catalog: &Catalog) -> Result<Request, EnvelopeError> {
    let malformed = |why: String| EnvelopeError::Malformed { what: "request", why: shortened(why) };
    let graph = java::read(body, catalog).map_err(|error| malformed(error.to_string()))?;
    let request = Object::of(&graph, graph.root, REQUEST.name).ok_or_else(|| malformed(format!("no {}", REQUEST.name)))?;
    let text = |field: &str| request.text(field).ok_or_else(|| malformed(format!("{field} is no text")));
    let params = match (request.value("params"), graph.node(request.value("params"))) {
        (Value::Null, _) => &[][..],
        // Before they are read: each of them may be the same long one.
        (_, Some(Node::Array { items, .. })) if items.len() <= super::PARAMS_MAX => items,
        (_, Some(Node::Array { .. })) => return Err(malformed(format!("more than {} parameters", super::PARAMS_MAX))),
        _ => return Err(malformed("params is no array".to_owned())),
    };
    Request {
        method: text("method")?.unwrap_or_default(),
        params: json_of(&graph, catalog, params).map_err(|error| malformed(error.to_string()))?,
        id: text("id")?,
        asynchronous: request.value("async") == Value::Boolean(true),
    }
    .checked()
}

/// All parameters; together they have the limit of one.
fn json_of(graph: &Graph, catalog: &Catalog, params: &[Value]) -> Result<Vec<Box<RawValue>>, JavaError> {
    let mut bytes = 0;
    let one = |param: &Value| {
        let json = java::to_json(graph, catalog, *param)?;
        bytes += json.get().len();
        let fits = bytes <= java::JSON_BYTES_MAX;
        fits.then_some(json).ok_or(JavaError::TooMuch { what: "bytes of JSON", limit: java::JSON_BYTES_MAX })
    };
    params.iter().map(one).collect()
}

pub fn decode_response<'a>(body: &[u8], catalog: &Catalog) -> Result<Response<'a>, EnvelopeError> {
    let malformed = |why: String| EnvelopeError::Malformed { what: "response", why: shortened(why) };
    let graph = java::read(body, catalog).map_err(|error| malformed(error.to_string()))?;
    let response = Object::of(&graph, graph.root, RESPONSE.name).ok_or_else(|| malformed(format!("no {}", RESPONSE.name)))?;
    let text = |object: &Object<'_>, field: &str| object.text(field).ok_or_else(|| malformed(format!("{field} is no text")));
    let outcome = match (response.value("error"), response.value("result")) {
        (Value::Null, Value::Null) => Ok(None),
        (Value::Null, result) => {
            let json = java::to_json(&graph, catalog, result).map_err(|error| malformed(error.to_string()))?;
            Ok(Some(Cow::Owned(json)))
        }
        (error, _) => {
            let error = Object::of(&graph, error, ERROR.name).ok_or_else(|| malformed(format!("no {}", ERROR.name)))?;
            Err(RemoteError {
                kind: text(&error, "type")?.unwrap_or_else(|| REMOTE_EXCEPTION.to_owned()),
                message: text(&error, "message")?.unwrap_or_default(),
            })
        }
    };
    Ok(Response { outcome, id: text(&response, "id")?, reference: text(&response, "idOmq")? })
}
