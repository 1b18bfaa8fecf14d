//! Native Java object serialization (stream protocol 2), as far as messages need it: what every deployment of the original speaks.
//!
//! A stream describes its own classes, so a reader could build anything. This one builds nothing but plain values, and only of
//! classes that it knows by name and version: those of a list of the JDK's, and those of a [`Catalog`] that the application
//! gives. Whatever else comes is refused by name before its content is looked at. Nesting, values and texts are bounded, and memory
//! is taken for what has arrived, never for what a stream claims.
//!
//! Two ways through: [`read`] and [`write()`] keep a stream exactly (a [`Graph`] with its shared and circular references); [`to_json`]
//! and [`Writer::json`] translate from and to the JSON that objects see whatever the encoding of a message is.

mod catalog;
mod from_json;
mod graph;
mod jdk;
mod read;
mod text;
mod to_json;
mod write;

pub use catalog::{Catalog, Class, Field, Method, Type};
pub(crate) use catalog::{ERROR, REQUEST, RESPONSE};
pub use graph::{Annotation, ClassId, Descriptor, DescriptorField, Graph, Node, NodeId, Part, Value};
pub use read::read;
pub use to_json::to_json;
pub use write::{Writer, write};

/// Nested objects, class descriptions included.
pub const DEPTH_MAX: usize = 64;
/// Classes above each other.
pub const HIERARCHY_MAX: usize = 8;
/// Fields of one class.
pub const FIELDS_MAX: usize = 64;
/// Values of one stream (fields, elements, objects), and of the JSON that it becomes.
pub const VALUES_MAX: usize = 500_000;
/// JSON that one stream becomes, in bytes. References let a short stream say the same thing many times.
pub const JSON_BYTES_MAX: usize = 32 << 20;

/// First bytes of every stream: magic number and version.
pub const HEADER: [u8; 4] = [0xac, 0xed, 0, 5];

/// Why a stream was not read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JavaError {
    /// It does not begin like one.
    #[error("this is no Java serialization stream")]
    NotAStream,
    /// It ends too early.
    #[error("the stream ends too early, or claims to be longer than it is")]
    Truncated,
    /// It holds an object of a class that is not known here.
    #[error("the class {0:?} is not known here")]
    UnknownClass(String),
    /// The class is known, but not in this version.
    #[error("the class {class:?} has the version id {uid}, which is not known here")]
    UnknownVersion {
        /// Its name.
        class: String,
        /// Its serialVersionUID in the stream.
        uid: i64,
    },
    /// Something is larger than is allowed.
    #[error("more than {limit} {what}")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// It is no correct stream, or not of the kind that is carried.
    #[error("{0}")]
    Malformed(String),
    /// A value is not of the type that is declared.
    #[error("{what}: {why}")]
    WrongType {
        /// Which value.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl JavaError {
    fn malformed(why: impl Into<String>) -> JavaError {
        JavaError::Malformed(crate::error::shortened(why.into()))
    }
}

/// The bytes of the stream format.
mod tag {
    pub const NULL: u8 = 0x70;
    pub const REFERENCE: u8 = 0x71;
    pub const CLASS_DESCRIPTION: u8 = 0x72;
    pub const OBJECT: u8 = 0x73;
    pub const STRING: u8 = 0x74;
    pub const ARRAY: u8 = 0x75;
    pub const BLOCK_DATA: u8 = 0x77;
    pub const END_BLOCK_DATA: u8 = 0x78;
    pub const BLOCK_DATA_LONG: u8 = 0x7a;
    pub const LONG_STRING: u8 = 0x7c;
    pub const ENUM: u8 = 0x7e;
    /// Number of the first handle.
    pub const FIRST_HANDLE: u32 = 0x7e_0000;
}

/// Flags of a class description.
mod flag {
    /// The class writes more than its fields.
    pub const WRITE_METHOD: u8 = 0x01;
    pub const SERIALIZABLE: u8 = 0x02;
    pub const ENUM: u8 = 0x10;
}

#[cfg(test)]
mod tests;
