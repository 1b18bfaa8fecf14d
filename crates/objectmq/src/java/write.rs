//! Writes streams: class descriptions once, shared objects by reference, as `java.io.ObjectOutputStream` does.
//!
//! Two users: [`write()`] for a [`Graph`], which comes out as it was read, and [`Writer::json`] (in `from_json`) for values that are
//! not Java's. There, equal texts become one object, and so do the numbers that Java itself keeps only once; nothing else is shared.

use super::catalog::Shape;
use super::graph::{Annotation, ClassId, Descriptor, DescriptorField, Graph, Node, NodeId, Part, Value};
use super::{Catalog, Class, DEPTH_MAX, HEADER, JavaError, flag, jdk, tag, text};
use std::collections::HashMap;

/// Texts up to this length, in bytes, are written once.
const SHARED_TEXT_BYTES_MAX: usize = 256;
/// Room that a stream has at first: about what a commit's notice takes.
const BYTES_AT_FIRST: usize = 2_048;
/// Longest block of data with a length of one byte.
const SHORT_BLOCK_BYTES_MAX: usize = 255;

/// A stream that is being written.
pub struct Writer<'a> {
    pub(super) catalog: &'a Catalog,
    bytes: Vec<u8>,
    next_handle: u32,
    /// Descriptions written, by name.
    classes: HashMap<Box<str>, u32>,
    /// Classes of fields written.
    signatures: HashMap<Box<str>, u32>,
    texts: HashMap<Box<str>, u32>,
    numbers: HashMap<(&'static str, i64), u32>,
}

impl<'a> Writer<'a> {
    /// An empty stream, of objects of this catalog.
    pub fn new(catalog: &'a Catalog) -> Writer<'a> {
        let mut bytes = Vec::with_capacity(BYTES_AT_FIRST);
        bytes.extend_from_slice(&HEADER);
        Writer {
            catalog,
            bytes,
            next_handle: tag::FIRST_HANDLE,
            classes: HashMap::new(),
            signatures: HashMap::new(),
            texts: HashMap::new(),
            numbers: HashMap::new(),
        }
    }

    /// The stream.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn handle(&mut self) -> u32 {
        let handle = self.next_handle;
        self.next_handle += 1;
        handle
    }

    fn reference(&mut self, handle: u32) {
        self.bytes.push(tag::REFERENCE);
        self.raw(&handle.to_be_bytes());
    }

    /// `null`.
    pub fn null(&mut self) {
        self.bytes.push(tag::NULL);
    }

    /// A `java.lang.String`, written once if it is short.
    pub fn text(&mut self, text: &str) {
        if let Some(&handle) = self.texts.get(text) {
            return self.reference(handle);
        }
        let handle = self.new_text(text);
        if text.len() <= SHARED_TEXT_BYTES_MAX {
            self.texts.insert(text.into(), handle);
        }
    }

    fn new_text(&mut self, text: &str) -> u32 {
        let encoded = text::encode(text);
        match u16::try_from(encoded.len()) {
            Ok(length) => {
                self.bytes.push(tag::STRING);
                self.raw(&length.to_be_bytes());
            }
            Err(_) => {
                self.bytes.push(tag::LONG_STRING);
                self.raw(&(encoded.len() as u64).to_be_bytes());
            }
        }
        self.raw(&encoded);
        self.handle()
    }

    /// Names, which have at most 65,535 bytes.
    fn name(&mut self, name: &str) {
        let encoded = text::encode(name);
        let length = u16::try_from(encoded.len()).unwrap_or(u16::MAX);
        self.raw(&length.to_be_bytes());
        self.raw(encoded.get(..length.into()).unwrap_or_default());
    }

    fn signature(&mut self, class: &str) {
        if let Some(&handle) = self.signatures.get(class) {
            return self.reference(handle);
        }
        let handle = self.new_text(class);
        self.signatures.insert(class.into(), handle);
    }

    /// Begins a description, unless it was written before. What follows it is the one above.
    fn describe(&mut self, name: &str, uid: i64, flags: u8, fields: &[DescriptorField]) -> bool {
        if self.described(name) {
            return false;
        }
        self.bytes.push(tag::CLASS_DESCRIPTION);
        self.name(name);
        self.raw(&uid.to_be_bytes());
        let handle = self.handle();
        self.classes.insert(name.into(), handle);
        self.bytes.push(flags);
        self.raw(&(fields.len() as u16).to_be_bytes());
        for field in fields {
            self.bytes.push(field.code);
            self.name(&field.name);
            if !field.class.is_empty() {
                self.signature(&field.class);
            }
        }
        self.bytes.push(tag::END_BLOCK_DATA);
        true
    }

    /// Refers to a description, if it was written before.
    fn described(&mut self, name: &str) -> bool {
        let handle = self.classes.get(name).copied();
        handle.inspect(|&handle| self.reference(handle)).is_some()
    }

    fn shape(&mut self, shape: &Shape) {
        if self.described(shape.name) {
            return;
        }
        let fields: Vec<DescriptorField> = shape
            .fields
            .iter()
            .map(|&(code, name, class)| DescriptorField { code, name: name.into(), class: class.into() })
            .collect();
        if self.describe(shape.name, shape.uid, shape.flags, &fields) {
            match shape.above {
                Some(above) => self.shape(above),
                None => self.null(),
            }
        }
    }

    fn class(&mut self, class: &Class) -> Result<(), JavaError> {
        if self.described(class.name) {
            return Ok(());
        }
        let of_field = |field: &super::Field| {
            let (code, class) = field.kind.signature();
            DescriptorField { code, name: field.name.into(), class: class.into() }
        };
        let fields: Vec<DescriptorField> = class.fields.iter().map(of_field).collect();
        if self.describe(class.name, class.uid, Class::FLAGS, &fields) {
            match class.above {
                Some(above) => {
                    let above = self.catalog.class(above).ok_or_else(|| JavaError::UnknownClass(above.to_owned()))?;
                    self.class(above)?;
                }
                None => self.null(),
            }
        }
        Ok(())
    }

    /// Begins an object of the application; its fields follow.
    pub(crate) fn object(&mut self, class: &Class) -> Result<(), JavaError> {
        self.bytes.push(tag::OBJECT);
        self.class(class)?;
        self.handle();
        Ok(())
    }

    /// Begins an object of the JDK; its fields follow.
    fn begin(&mut self, shape: &Shape) -> u32 {
        self.bytes.push(tag::OBJECT);
        self.shape(shape);
        self.handle()
    }

    /// Begins an array of objects; so many follow.
    pub fn objects(&mut self, count: usize) -> Result<(), JavaError> {
        self.bytes.push(tag::ARRAY);
        self.shape(&jdk::OBJECTS);
        self.handle();
        self.count(count)
    }

    fn count(&mut self, count: usize) -> Result<(), JavaError> {
        let limit = i32::MAX as usize;
        let count = i32::try_from(count).map_err(|_| JavaError::TooMuch { what: "elements", limit })?;
        self.raw(&count.to_be_bytes());
        Ok(())
    }

    /// Begins an `ArrayList`; so many elements follow, and then [`Writer::end`].
    pub fn list(&mut self, count: usize) -> Result<(), JavaError> {
        self.begin(&jdk::ARRAY_LIST);
        self.count(count)?;
        self.raw(&[tag::BLOCK_DATA, 4]);
        self.count(count)
    }

    /// Begins a `HashMap`; so many keys follow, each with its value, and then [`Writer::end`].
    pub fn map(&mut self, count: usize) -> Result<(), JavaError> {
        const LOAD_FACTOR: f32 = 0.75;
        let buckets = (count * 2).next_power_of_two().max(16);
        self.begin(&jdk::HASH_MAP);
        self.raw(&LOAD_FACTOR.to_be_bytes());
        self.count(buckets / 4 * 3)?;
        self.raw(&[tag::BLOCK_DATA, 8]);
        self.count(buckets)?;
        self.count(count)
    }

    /// Ends what a class writes besides its fields.
    pub fn end(&mut self) {
        self.bytes.push(tag::END_BLOCK_DATA);
    }

    /// A `Long`.
    pub fn long(&mut self, value: i64) {
        self.number(&jdk::LONG, value, &value.to_be_bytes(), (-128..128).contains(&value));
    }

    /// An `Integer`.
    pub fn integer(&mut self, value: i32) {
        self.number(&jdk::INTEGER, value.into(), &value.to_be_bytes(), (-128..128).contains(&value));
    }

    /// A `Boolean`.
    pub fn boxed_boolean(&mut self, value: bool) {
        self.number(&jdk::BOOLEAN, value.into(), &[value.into()], true);
    }

    /// A `Double`.
    pub fn double(&mut self, value: f64) {
        self.begin(&jdk::DOUBLE);
        self.raw(&value.to_be_bytes());
    }

    fn number(&mut self, shape: &Shape, value: i64, bytes: &[u8], shared: bool) {
        let key = (shape.name, value);
        if let Some(&handle) = self.numbers.get(&key).filter(|_| shared) {
            return self.reference(handle);
        }
        let handle = self.begin(shape);
        self.raw(bytes);
        if shared {
            self.numbers.insert(key, handle);
        }
    }

    /// A `UUID`.
    pub fn uuid(&mut self, uuid: uuid::Uuid) {
        let (most, least) = uuid.as_u64_pair();
        self.begin(&jdk::UUID);
        self.raw(&least.to_be_bytes());
        self.raw(&most.to_be_bytes());
    }

    /// A `Date`: milliseconds since 1970.
    pub fn date(&mut self, unix_ms: i64) {
        self.begin(&jdk::DATE);
        self.raw(&[tag::BLOCK_DATA, 8]);
        self.raw(&unix_ms.to_be_bytes());
        self.end();
    }
}

/// Writes a graph as it was read: the same references, the same descriptions.
///
/// # Errors
/// If it is nested too deeply, or no correct graph.
pub fn write(graph: &Graph) -> Result<Vec<u8>, JavaError> {
    let catalog = Catalog::default();
    let mut copy = Copy { graph, writer: Writer::new(&catalog), nodes: HashMap::new(), classes: HashMap::new() };
    copy.value(graph.root, 0)?;
    Ok(copy.writer.finish())
}

struct Copy<'a> {
    graph: &'a Graph,
    writer: Writer<'a>,
    nodes: HashMap<NodeId, u32>,
    classes: HashMap<ClassId, u32>,
}

impl<'a> Copy<'a> {
    fn value(&mut self, value: Value, depth: usize) -> Result<(), JavaError> {
        if depth > DEPTH_MAX {
            return Err(JavaError::TooMuch { what: "levels", limit: DEPTH_MAX });
        }
        match value {
            Value::Null => self.writer.null(),
            Value::Node(id) => self.node(id, depth + 1)?,
            Value::Boolean(value) => self.writer.raw(&[value.into()]),
            Value::Byte(value) => self.writer.raw(&value.to_be_bytes()),
            Value::Char(value) => self.writer.raw(&value.to_be_bytes()),
            Value::Short(value) => self.writer.raw(&value.to_be_bytes()),
            Value::Int(value) => self.writer.raw(&value.to_be_bytes()),
            Value::Long(value) => self.writer.raw(&value.to_be_bytes()),
            Value::Float(value) => self.writer.raw(&value.to_be_bytes()),
            Value::Double(value) => self.writer.raw(&value.to_be_bytes()),
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId, depth: usize) -> Result<(), JavaError> {
        if let Some(&handle) = self.nodes.get(&id) {
            self.writer.reference(handle);
            return Ok(());
        }
        let graph = self.graph;
        let node = graph.node(Value::Node(id)).ok_or_else(|| JavaError::malformed("no such object"))?;
        match node {
            Node::Text(text) => {
                let handle = self.writer.new_text(text);
                self.nodes.insert(id, handle);
            }
            Node::Array { class, items } => {
                self.begin(id, tag::ARRAY, *class, depth)?;
                self.writer.count(items.len())?;
                items.iter().try_for_each(|item| self.value(*item, depth))?;
            }
            Node::Enum { class, constant } => {
                self.begin(id, tag::ENUM, *class, depth)?;
                self.node(*constant, depth)?;
            }
            Node::Object { class, parts } => {
                self.begin(id, tag::OBJECT, *class, depth)?;
                for (class, part) in graph.hierarchy(*class).into_iter().zip(parts) {
                    self.part(class, part, depth)?;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: NodeId, tag: u8, class: ClassId, depth: usize) -> Result<(), JavaError> {
        self.writer.bytes.push(tag);
        self.class(Some(class), depth)?;
        let handle = self.writer.handle();
        self.nodes.insert(id, handle);
        Ok(())
    }

    fn part(&mut self, class: ClassId, part: &Part, depth: usize) -> Result<(), JavaError> {
        part.values.iter().try_for_each(|value| self.value(*value, depth))?;
        if self.described(class)?.flags & flag::WRITE_METHOD == 0 {
            return Ok(());
        }
        for annotation in &part.annotations {
            match annotation {
                Annotation::Value(value) => self.value(*value, depth)?,
                Annotation::Block(block) if block.len() <= SHORT_BLOCK_BYTES_MAX => {
                    self.writer.raw(&[tag::BLOCK_DATA, block.len() as u8]);
                    self.writer.raw(block);
                }
                Annotation::Block(block) => {
                    self.writer.raw(&[tag::BLOCK_DATA_LONG]);
                    self.writer.count(block.len())?;
                    self.writer.raw(block);
                }
            }
        }
        self.writer.end();
        Ok(())
    }

    fn class(&mut self, class: Option<ClassId>, depth: usize) -> Result<(), JavaError> {
        let Some(id) = class else {
            self.writer.null();
            return Ok(());
        };
        if depth > DEPTH_MAX {
            return Err(JavaError::TooMuch { what: "levels", limit: DEPTH_MAX });
        }
        if let Some(&handle) = self.classes.get(&id) {
            self.writer.reference(handle);
            return Ok(());
        }
        let Descriptor { name, uid, flags, fields, superclass } = self.described(id)?;
        let handle = self.writer.next_handle;
        // Two descriptions of one name are two, here.
        self.writer.classes.clear();
        self.writer.describe(name, *uid, *flags, fields);
        self.classes.insert(id, handle);
        self.class(*superclass, depth + 1)
    }

    fn described(&self, class: ClassId) -> Result<&'a Descriptor, JavaError> {
        self.graph.class(class).ok_or_else(|| JavaError::malformed("no such class"))
    }
}
