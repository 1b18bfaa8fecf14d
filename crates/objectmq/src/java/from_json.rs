//! JSON into a stream, straight: every object's members are looked up in the order of its class's fields, and the text of each is
//! read only where it is written.

use super::catalog::Type;
use super::{DEPTH_MAX, JavaError, Writer};
use crate::RawValue;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

impl Writer<'_> {
    /// Writes a JSON value as an object of this type. Members that the type does not have are left out; missing ones are null, zero or
    /// false.
    ///
    /// # Errors
    /// If the value is not of the type, or nested too deeply.
    pub fn json(&mut self, value: &RawValue, kind: Type) -> Result<(), JavaError> {
        self.member(Some(value), kind, "the value", 0)
    }

    fn member(&mut self, value: Option<&RawValue>, kind: Type, what: &str, depth: usize) -> Result<(), JavaError> {
        if depth > DEPTH_MAX {
            return Err(JavaError::TooMuch { what: "levels", limit: DEPTH_MAX });
        }
        let Some(value) = value.filter(|value| value.get() != "null") else {
            match kind {
                Type::Boolean => self.raw(&[0]),
                Type::ListOrEmpty(_) => {
                    self.list(0)?;
                    self.end();
                }
                _ => self.null(),
            }
            return Ok(());
        };
        match kind {
            Type::Boolean => self.raw(&[parsed::<bool>(value, what)?.into()]),
            Type::BoxedBoolean => self.boxed_boolean(parsed(value, what)?),
            Type::Integer => self.integer(parsed(value, what)?),
            Type::Long => self.long(parsed(value, what)?),
            Type::Text => self.text(&parsed::<Text>(value, what)?.0),
            Type::Uuid => self.uuid(parsed::<Uuid>(value, what)?),
            Type::Date => self.date(unix_ms(&parsed::<Text>(value, what)?.0, what)?),
            Type::List(element) | Type::ListOrEmpty(element) => self.elements(value, *element, what, depth)?,
            Type::Objects => {
                let elements: Vec<&RawValue> = parsed(value, what)?;
                self.objects(elements.len())?;
                for value in elements {
                    self.member(Some(value), Type::Any, what, depth + 1)?;
                }
            }
            Type::Object(class) => self.members(value, class, what, depth)?,
            Type::Any => self.anything(value, what, depth)?,
        }
        Ok(())
    }

    fn elements(&mut self, value: &RawValue, element: Type, what: &str, depth: usize) -> Result<(), JavaError> {
        let elements: Vec<&RawValue> = parsed(value, what)?;
        self.list(elements.len())?;
        for value in elements {
            self.member(Some(value), element, what, depth + 1)?;
        }
        self.end();
        Ok(())
    }

    fn members(&mut self, value: &RawValue, class: &str, what: &str, depth: usize) -> Result<(), JavaError> {
        let members: Members<'_> = parsed(value, what)?;
        let find = |name: &str| self.catalog.class(name).ok_or_else(|| JavaError::UnknownClass(name.to_owned()));
        let mut hierarchy = vec![find(class)?];
        while let Some(above) = hierarchy.last().and_then(|class| class.above) {
            hierarchy.push(find(above)?);
        }
        self.object(find(class)?)?;
        for class in hierarchy.into_iter().rev() {
            for field in class.fields {
                self.member(members.get(field.name), field.kind, field.name, depth + 1)?;
            }
        }
        Ok(())
    }

    /// A value whose type nobody declares.
    fn anything(&mut self, value: &RawValue, what: &str, depth: usize) -> Result<(), JavaError> {
        match value.get().as_bytes().first() {
            Some(b'"') => self.text(&parsed::<Text>(value, what)?.0),
            Some(b't' | b'f') => self.boxed_boolean(parsed(value, what)?),
            Some(b'[') => self.elements(value, Type::Any, what, depth)?,
            Some(b'{') => {
                let members: Members<'_> = parsed(value, what)?;
                self.map(members.0.len())?;
                for (name, value) in &members.0 {
                    self.text(name);
                    self.member(Some(value), Type::Any, what, depth + 1)?;
                }
                self.end();
            }
            _ => match serde_json::from_str(value.get()) {
                Ok(number) => self.long(number),
                Err(_) => self.double(parsed(value, what)?),
            },
        }
        Ok(())
    }
}

fn parsed<'a, T: Deserialize<'a>>(value: &'a RawValue, what: &str) -> Result<T, JavaError> {
    let wrong =
        |error: serde_json::Error| JavaError::WrongType { what: what.to_owned(), why: crate::error::shortened(error.to_string()) };
    serde_json::from_str(value.get()).map_err(wrong)
}

/// A text that is borrowed where it can be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The milliseconds of a date; what is finer is lost.
fn unix_ms(text: &str, what: &str) -> Result<i64, JavaError> {
    let wrong = || JavaError::WrongType { what: what.to_owned(), why: "not a date".to_owned() };
    let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?;
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).map_err(|_| wrong())
}

/// The members of an object, not yet read. The last of two with one name counts.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
