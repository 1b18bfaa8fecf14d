//! What an application tells of its classes and methods, so that its objects can travel as Java objects.

use super::{JavaError, flag, jdk};
use std::collections::HashMap;

/// A serializable class of the application.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// Its name with its package.
    pub name: &'static str,
    /// Its serialVersionUID.
    pub uid: i64,
    /// Other ids that it had, which are read as well.
    pub earlier: &'static [i64],
    /// The class above it, if that one is serializable, too.
    pub above: Option<&'static str>,
    /// Its own fields, in the order in which streams have them: primitive types by name, then the others by name.
    pub fields: &'static [Field],
}

/// A field of a class. In JSON it is a member of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Type,
}

/// What a field, parameter or result holds.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// `boolean`; absent is false.
    Boolean,
    /// `java.lang.Boolean`.
    BoxedBoolean,
    /// `java.lang.Integer`.
    Integer,
    /// `java.lang.Long`.
    Long,
    /// `java.lang.String`.
    Text,
    /// `java.util.UUID`; a text in JSON.
    Uuid,
    /// `java.util.Date`; a text as of RFC 3339 in JSON.
    Date,
    /// `java.util.List`, written as an `ArrayList`; an array in JSON.
    List(&'static Type),
    /// The same; absent is the empty list.
    ListOrEmpty(&'static Type),
    /// An object of this class of the catalog.
    Object(&'static str),
    /// `Object[]`; an array in JSON.
    Objects,
    /// Whatever it is: numbers become `Long` or `Double`, objects become a `HashMap`.
    Any,
}

/// A method: what it takes and gives.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Its parameter, if it takes one.
    pub param: Type,
    /// Its result; [`Type::Any`] where it gives none.
    pub result: Type,
}

/// The classes and methods that are known, by name.
#[derive(Clone, Debug)]
pub struct Catalog {
    classes: HashMap<&'static str, &'static Class>,
    methods: HashMap<&'static str, &'static Method>,
}

impl Default for Catalog {
    /// Nothing but the JDK's classes, and those of ObjectMQ itself.
    fn default() -> Catalog {
        Catalog::new(&[], &[])
    }
}

/// How a class is written.
#[derive(Debug)]
pub struct Shape {
    pub name: &'static str,
    pub uid: i64,
    pub flags: u8,
    /// Code, name, and class of those that are objects.
    pub fields: &'static [(u8, &'static str, &'static str)],
    pub above: Option<&'static Shape>,
}

const TEXT: Type = Type::Text;

/// The classes of ObjectMQ itself; every catalog has them.
const ENVELOPE: &[Class] = &[REQUEST, RESPONSE, ERROR];

/// A call.
pub(crate) const REQUEST: Class = Class {
    name: "omq.common.message.Request",
    uid: 6_366_255_840_200_365_083,
    earlier: &[],
    above: None,
    fields: &[
        Field { name: "async", kind: Type::Boolean },
        Field { name: "id", kind: TEXT },
        Field { name: "method", kind: TEXT },
        Field { name: "params", kind: Type::Objects },
    ],
};

/// An answer.
pub(crate) const RESPONSE: Class = Class {
    name: "omq.common.message.Response",
    uid: 3_368_363_997_012_527_189,
    earlier: &[],
    above: None,
    fields: &[
        Field { name: "error", kind: Type::Object(ERROR.name) },
        Field { name: "id", kind: TEXT },
        Field { name: "idOmq", kind: TEXT },
        Field { name: "result", kind: Type::Any },
    ],
};

/// An error of an answer.
pub(crate) const ERROR: Class = Class {
    name: "omq.exception.OmqException",
    uid: 1,
    earlier: &[],
    above: None,
    fields: &[Field { name: "message", kind: TEXT }, Field { name: "type", kind: TEXT }],
};

impl Catalog {
    /// A catalog of these classes and methods. Methods that are not in it take and give [`Type::Any`].
    pub fn new(classes: &'static [Class], methods: &'static [Method]) -> Catalog {
        Catalog {
            classes: classes.iter().chain(ENVELOPE).map(|class| (class.name, class)).collect(),
            methods: methods.iter().map(|method| (method.name, method)).collect(),
        }
    }

    /// The class of this name.
    pub fn class(&self, name: &str) -> Option<&'static Class> {
        self.classes.get(name).copied()
    }

    /// What the parameter of the method is.
    pub(crate) fn param(&self, method: &str) -> Type {
        self.methods.get(method).map_or(Type::Any, |method| method.param)
    }

    /// What the result of the method is.
    pub(crate) fn result(&self, method: &str) -> Type {
        self.methods.get(method).map_or(Type::Any, |method| method.result)
    }

    /// Lets a class description of a stream pass, or not.
    pub(super) fn admit(&self, name: &str, uid: i64) -> Result<(), JavaError> {
        let unknown = || JavaError::UnknownClass(crate::error::shortened(name.to_owned()));
        if name.starts_with('[') {
            return self.admit_array(name).then_some(()).ok_or_else(unknown);
        }
        let known = match (jdk::find(name), self.class(name)) {
            (Some((known, _)), _) => known == uid,
            (None, Some(class)) => class.uid == uid || class.earlier.contains(&uid),
            (None, None) => return Err(unknown()),
        };
        if known { Ok(()) } else { Err(JavaError::UnknownVersion { class: name.to_owned(), uid }) }
    }

    /// Arrays are known by what they hold; their own version ids mean nothing.
    fn admit_array(&self, name: &str) -> bool {
        let element = name.trim_start_matches('[');
        match element.strip_prefix('L').and_then(|element| element.strip_suffix(';')) {
            Some(class) => jdk::find(class).is_some() || self.class(class).is_some(),
            None => matches!(element, "B" | "C" | "D" | "F" | "I" | "J" | "S" | "Z"),
        }
    }
}

impl Type {
    /// Code and class of a field of this type.
    pub(super) fn signature(self) -> (u8, String) {
        let class = match self {
            Type::Boolean => return (b'Z', String::new()),
            Type::BoxedBoolean => "java/lang/Boolean",
            Type::Integer => "java/lang/Integer",
            Type::Long => "java/lang/Long",
            Type::Text => "java/lang/String",
            Type::Uuid => "java/util/UUID",
            Type::Date => "java/util/Date",
            Type::List(_) | Type::ListOrEmpty(_) => "java/util/List",
            Type::Object(name) => return (b'L', format!("L{};", name.replace('.', "/"))),
            Type::Objects => return (b'[', "[Ljava/lang/Object;".to_owned()),
            Type::Any => "java/lang/Object",
        };
        (b'L', format!("L{class};"))
    }
}

impl Class {
    /// Flags of its description.
    pub(super) const FLAGS: u8 = flag::SERIALIZABLE;
}
