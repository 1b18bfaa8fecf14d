//! What a stream means, as JSON. Members that are null are left out, as the original's JSON encoder does. Objects may be shared in a
//! stream, and contain themselves: depth and length of the text are bounded.

use super::graph::{Annotation, ClassId, Graph, Node, Part, Value};
use super::jdk::{self, Meaning};
use super::{Catalog, DEPTH_MAX, JSON_BYTES_MAX, JavaError, VALUES_MAX};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// The JSON of a value of the graph.
///
/// # Errors
/// If an object is not what its class says, too deep, or too long.
pub fn to_json(graph: &Graph, catalog: &Catalog, value: Value) -> Result<Box<crate::RawValue>, JavaError> {
    let mut out = Out { graph, catalog, json: Vec::new(), values: 0 };
    out.value(value, 0)?;
    let text = String::from_utf8(out.json).map_err(|error| JavaError::malformed(error.to_string()))?;
    crate::RawValue::from_string(text).map_err(|error| JavaError::malformed(error.to_string()))
}

struct Out<'a> {
    graph: &'a Graph,
    catalog: &'a Catalog,
    json: Vec<u8>,
    values: usize,
}

fn broken(class: &str) -> JavaError {
    JavaError::malformed(format!("an object of {class:?} is not what it should be"))
}

impl<'a> Out<'a> {
    fn write(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), JavaError> {
        serde_json::to_writer(&mut self.json, value).map_err(|error| JavaError::malformed(error.to_string()))
    }

    fn value(&mut self, value: Value, depth: usize) -> Result<(), JavaError> {
        if depth > DEPTH_MAX {
            return Err(JavaError::TooMuch { what: "levels", limit: DEPTH_MAX });
        }
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(JavaError::TooMuch { what: "values", limit: VALUES_MAX });
        }
        if self.json.len() > JSON_BYTES_MAX {
            return Err(JavaError::TooMuch { what: "bytes of JSON", limit: JSON_BYTES_MAX });
        }
        match value {
            Value::Null => self.write(&()),
            Value::Boolean(value) => self.write(&value),
            Value::Byte(value) => self.write(&value),
            Value::Short(value) => self.write(&value),
            Value::Int(value) => self.write(&value),
            Value::Long(value) => self.write(&value),
            Value::Float(value) if value.is_finite() => self.write(&value),
            Value::Double(value) if value.is_finite() => self.write(&value),
            Value::Float(_) | Value::Double(_) => Err(JavaError::malformed("a number that JSON does not have")),
            Value::Char(unit) => self.write(&char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER)),
            Value::Node(_) => match self.graph.node(value) {
                None => Err(JavaError::malformed("no such object")),
                Some(Node::Text(text)) => self.write(&**text),
                Some(Node::Array { items, .. }) => self.list(items.iter().copied(), depth),
                Some(Node::Enum { constant, .. }) => self.value(Value::Node(*constant), depth + 1),
                Some(Node::Object { class, parts }) => self.object(*class, parts, depth),
            },
        }
    }

    fn list(&mut self, items: impl Iterator<Item = Value>, depth: usize) -> Result<(), JavaError> {
        self.json.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.json.push(b',');
            }
            self.value(item, depth + 1)?;
        }
        self.json.push(b']');
        Ok(())
    }

    fn object(&mut self, class: ClassId, parts: &'a [Part], depth: usize) -> Result<(), JavaError> {
        let graph = self.graph;
        let name = &*graph.class(class).ok_or_else(|| JavaError::malformed("no such class"))?.name;
        let Some((_, meaning)) = jdk::find(name) else { return self.members(class, parts, depth) };
        let part = |of: &str| graph.part(class, parts, of).ok_or_else(|| broken(name));
        let field = |of: &str, field: &str| {
            let (class, part) = part(of)?;
            class.value(part, field).ok_or_else(|| broken(name))
        };
        match meaning {
            Meaning::Boxed => match field(name, "value")? {
                Value::Node(_) | Value::Null => Err(broken(name)),
                value => self.value(value, depth),
            },
            Meaning::Uuid => match (field(name, "mostSigBits")?, field(name, "leastSigBits")?) {
                (Value::Long(most), Value::Long(least)) => self.write(&Uuid::from_u64_pair(most as u64, least as u64)),
                _ => Err(broken(name)),
            },
            Meaning::Date => {
                let nanos = if name == "java.sql.Timestamp" { Some(field(name, "nanos")?) } else { None };
                self.date(part("java.util.Date")?.1, nanos).ok_or_else(|| broken(name))?
            }
            Meaning::ArrayList => {
                let (class, own) = part(name)?;
                let elements =
                    elements(own).filter(|(_, elements)| class.value(own, "size") == Some(Value::Int(elements.len() as i32)));
                self.list(elements.ok_or_else(|| broken(name))?.1.into_iter(), depth)
            }
            Meaning::LinkedList => {
                let own = elements(part(name)?.1).filter(|(head, elements)| *head == (elements.len() as i32).to_be_bytes());
                self.list(own.ok_or_else(|| broken(name))?.1.into_iter(), depth)
            }
            Meaning::ArrayAsList => match graph.node(field(name, "a")?) {
                Some(Node::Array { items, .. }) => self.list(items.iter().copied(), depth),
                _ => Err(broken(name)),
            },
            Meaning::EmptyList => self.list(std::iter::empty(), depth),
            Meaning::SingletonList => self.list(std::iter::once(field(name, "element")?), depth),
            Meaning::WrappedList => self.value(field("java.util.Collections$UnmodifiableCollection", "c")?, depth + 1),
            Meaning::HashMap => self.map(part("java.util.HashMap")?.1, depth).ok_or_else(|| broken(name))?,
            Meaning::Throwable => self.throwable(class, parts, name),
            Meaning::Part => Err(broken(name)),
        }
    }

    /// An object of the application: the fields that its class is known to have.
    fn members(&mut self, class: ClassId, parts: &'a [Part], depth: usize) -> Result<(), JavaError> {
        let graph = self.graph;
        if graph.part(class, parts, "java.lang.Throwable").is_some() {
            return self.throwable(class, parts, &graph.class(class).map(|class| class.name.clone()).unwrap_or_default());
        }
        self.json.push(b'{');
        let mut first = true;
        let hierarchy = graph.hierarchy(class).into_iter().filter_map(|id| graph.class(id));
        for (class, part) in hierarchy.zip(parts) {
            let known = self.catalog.class(&class.name).map_or(&[][..], |class| class.fields);
            for field in known {
                let Some(value) = class.value(part, field.name).filter(|value| *value != Value::Null) else { continue };
                if !std::mem::take(&mut first) {
                    self.json.push(b',');
                }
                self.write(field.name)?;
                self.json.push(b':');
                self.value(value, depth + 1)?;
            }
        }
        self.json.push(b'}');
        Ok(())
    }

    /// `None` if it is none.
    fn date(&mut self, date: &Part, nanos: Option<Value>) -> Option<Result<(), JavaError>> {
        let [Annotation::Block(block)] = &*date.annotations else { return None };
        let unix_ms = i64::from_be_bytes((&**block).try_into().ok()?);
        let nanos = match nanos {
            None => i128::from(unix_ms) * 1_000_000,
            // Such a date has whole seconds.
            Some(Value::Int(nanos @ 0..1_000_000_000)) => i128::from(unix_ms.div_euclid(1_000)) * 1_000_000_000 + i128::from(nanos),
            Some(_) => return None,
        };
        let text = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()?;
        Some(self.write(&text))
    }

    /// `None` if it is none, or its keys are no texts.
    fn map(&mut self, map: &Part, depth: usize) -> Option<Result<(), JavaError>> {
        let (_, entries) = elements(map)?;
        let (pairs, []) = entries.as_chunks::<2>() else { return None };
        self.json.push(b'{');
        for (index, [key, value]) in pairs.iter().enumerate() {
            let Some(Node::Text(name)) = self.graph.node(*key) else { return None };
            if index > 0 {
                self.json.push(b',');
            }
            let written = self.write(&**name).and_then(|()| {
                self.json.push(b':');
                self.value(*value, depth + 1)
            });
            if let Err(error) = written {
                return Some(Err(error));
            }
        }
        self.json.push(b'}');
        Some(Ok(()))
    }

    /// An exception: its class and its text. What else it holds (its cause, which is often itself, and a stack) nobody asks for.
    fn throwable(&mut self, class: ClassId, parts: &[Part], name: &str) -> Result<(), JavaError> {
        #[derive(Serialize)]
        struct Thrown<'a> {
            r#type: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            message: Option<&'a str>,
        }
        let (above, part) = self.graph.part(class, parts, "java.lang.Throwable").ok_or_else(|| broken(name))?;
        let message = match above.value(part, "detailMessage").map(|message| self.graph.node(message)) {
            Some(Some(Node::Text(message))) => Some(&**message),
            _ => None,
        };
        self.write(&Thrown { r#type: name, message })
    }
}

/// A block of at least four bytes (its last four, a number, are returned) and what follows it.
fn elements(part: &Part) -> Option<([u8; 4], Vec<Value>)> {
    let (Annotation::Block(block), rest) = part.annotations.split_first()? else { return None };
    let only_values = |annotation: &Annotation| match annotation {
        Annotation::Value(value) => Some(*value),
        Annotation::Block(_) => None,
    };
    Some((*block.last_chunk()?, rest.iter().map(only_values).collect::<Option<_>>()?))
}
