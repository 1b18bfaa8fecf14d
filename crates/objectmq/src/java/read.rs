//! Reads a stream. Recursive, with a limit; every read is checked against what is left, and every class against the catalog before
//! anything of its content is read.

use super::graph::{Annotation, ClassId, Descriptor, DescriptorField, Graph, Node, NodeId, Part, Value};
use super::{Catalog, DEPTH_MAX, FIELDS_MAX, HEADER, HIERARCHY_MAX, JavaError, VALUES_MAX, flag, tag, text};

/// Reads a stream of one object of classes that the catalog, or the list of the JDK's, admits.
///
/// # Errors
/// [`JavaError`]; nothing of the stream is kept.
pub fn read(stream: &[u8], catalog: &Catalog) -> Result<Graph, JavaError> {
    let rest = stream.strip_prefix(&HEADER).ok_or(JavaError::NotAStream)?;
    let mut reader =
        Reader { rest, catalog, classes: Vec::new(), complete: Vec::new(), nodes: Vec::new(), handles: Vec::new(), values: 0 };
    let root = reader.value(0)?;
    if !reader.rest.is_empty() {
        return Err(JavaError::malformed(format!("{} bytes follow the object", reader.rest.len())));
    }
    Ok(Graph { classes: reader.classes, nodes: reader.nodes, root })
}

#[derive(Clone, Copy)]
enum Handle {
    Class(ClassId),
    Node(NodeId),
}

struct Reader<'a> {
    rest: &'a [u8],
    catalog: &'a Catalog,
    classes: Vec<Descriptor>,
    /// Per class: its description was read to the end.
    complete: Vec<bool>,
    nodes: Vec<Node>,
    handles: Vec<Handle>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], JavaError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(JavaError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], JavaError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(JavaError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, JavaError> {
        self.bytes().map(|[byte]| byte)
    }

    /// A length of four bytes.
    fn length(&mut self) -> Result<usize, JavaError> {
        usize::try_from(i32::from_be_bytes(self.bytes()?)).map_err(|_| JavaError::malformed("a length is negative"))
    }

    fn text(&mut self, length: usize) -> Result<Box<str>, JavaError> {
        let text = text::decode(self.take(length)?).ok_or_else(|| JavaError::malformed("a text is not modified UTF-8"))?;
        Ok(text.into())
    }

    fn short_text(&mut self) -> Result<Box<str>, JavaError> {
        let length = u16::from_be_bytes(self.bytes()?);
        self.text(length.into())
    }

    fn long_text(&mut self) -> Result<Box<str>, JavaError> {
        let length = usize::try_from(u64::from_be_bytes(self.bytes()?)).map_err(|_| JavaError::Truncated)?;
        self.text(length)
    }

    /// Counts values before memory is taken for them.
    fn charge(&mut self, count: usize) -> Result<(), JavaError> {
        self.values = self.values.saturating_add(count);
        if self.values > VALUES_MAX {
            return Err(JavaError::TooMuch { what: "values", limit: VALUES_MAX });
        }
        Ok(())
    }

    fn begin(&mut self, node: Node) -> Result<NodeId, JavaError> {
        self.charge(1)?;
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(node);
        self.handles.push(Handle::Node(id));
        Ok(id)
    }

    fn set(&mut self, id: NodeId, node: Node) {
        if let Some(place) = self.nodes.get_mut(id.0 as usize) {
            *place = node;
        }
    }

    fn handle(&mut self) -> Result<Handle, JavaError> {
        let number = u32::from_be_bytes(self.bytes()?).wrapping_sub(tag::FIRST_HANDLE) as usize;
        self.handles.get(number).copied().ok_or_else(|| JavaError::malformed("a reference to what was not written before"))
    }

    fn value(&mut self, depth: usize) -> Result<Value, JavaError> {
        let tag = self.byte()?;
        self.value_of(tag, depth)
    }

    fn value_of(&mut self, tag: u8, depth: usize) -> Result<Value, JavaError> {
        if depth > DEPTH_MAX {
            return Err(JavaError::TooMuch { what: "levels", limit: DEPTH_MAX });
        }
        let node = match tag {
            tag::NULL => return Ok(Value::Null),
            tag::REFERENCE => match self.handle()? {
                Handle::Node(node) => node,
                Handle::Class(_) => return Err(JavaError::malformed("a class stands where a value should")),
            },
            tag::STRING => {
                let text = self.short_text()?;
                self.begin(Node::Text(text))?
            }
            tag::LONG_STRING => {
                let text = self.long_text()?;
                self.begin(Node::Text(text))?
            }
            tag::OBJECT => self.object(depth + 1)?,
            tag::ARRAY => self.array(depth + 1)?,
            tag::ENUM => self.constant(depth + 1)?,
            other => return Err(JavaError::malformed(format!("{other:#04x} stands where a value should"))),
        };
        Ok(Value::Node(node))
    }

    fn object(&mut self, depth: usize) -> Result<NodeId, JavaError> {
        let class = self.some_class(depth)?;
        let description = self.described(class);
        if description.flags & flag::SERIALIZABLE == 0 || description.flags & flag::ENUM != 0 || description.name.starts_with('[') {
            return Err(JavaError::malformed(format!("{:?} is not the class of an object", description.name)));
        }
        let id = self.begin(Node::Object { class, parts: Vec::new() })?;
        let mut parts = Vec::new();
        for class in self.hierarchy(class) {
            parts.push(self.part(class, depth)?);
        }
        self.set(id, Node::Object { class, parts });
        Ok(id)
    }

    fn part(&mut self, class: ClassId, depth: usize) -> Result<Part, JavaError> {
        let codes: Vec<u8> = self.described(class).fields.iter().map(|field| field.code).collect();
        let mut part = Part::default();
        for code in codes {
            part.values.push(self.coded(code, depth)?);
        }
        if self.described(class).flags & flag::WRITE_METHOD != 0 {
            part.annotations = self.annotations(depth)?;
        }
        Ok(part)
    }

    /// A value of a field or element of this type.
    fn coded(&mut self, code: u8, depth: usize) -> Result<Value, JavaError> {
        self.charge(1)?;
        Ok(match code {
            b'Z' => Value::Boolean(self.byte()? != 0),
            b'B' => Value::Byte(i8::from_be_bytes(self.bytes()?)),
            b'C' => Value::Char(u16::from_be_bytes(self.bytes()?)),
            b'S' => Value::Short(i16::from_be_bytes(self.bytes()?)),
            b'I' => Value::Int(i32::from_be_bytes(self.bytes()?)),
            b'J' => Value::Long(i64::from_be_bytes(self.bytes()?)),
            b'F' => Value::Float(f32::from_be_bytes(self.bytes()?)),
            b'D' => Value::Double(f64::from_be_bytes(self.bytes()?)),
            _ => self.value(depth)?,
        })
    }

    fn array(&mut self, depth: usize) -> Result<NodeId, JavaError> {
        let class = self.some_class(depth)?;
        let Some(&code) = self.described(class).name.strip_prefix('[').and_then(|rest| rest.as_bytes().first()) else {
            return Err(JavaError::malformed(format!("{:?} is not the class of an array", self.described(class).name)));
        };
        let id = self.begin(Node::Array { class, items: Vec::new() })?;
        let count = self.length()?;
        if count.saturating_mul(bytes_of(code)) > self.rest.len() {
            return Err(JavaError::Truncated);
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.coded(code, depth)?);
        }
        self.set(id, Node::Array { class, items });
        Ok(id)
    }

    fn constant(&mut self, depth: usize) -> Result<NodeId, JavaError> {
        let class = self.some_class(depth)?;
        if self.described(class).flags & flag::ENUM == 0 {
            return Err(JavaError::malformed(format!("{:?} is no enumeration", self.described(class).name)));
        }
        let id = self.begin(Node::Enum { class, constant: NodeId(0) })?;
        let Value::Node(constant) = self.value(depth)? else { return Err(JavaError::malformed("a constant has no name")) };
        let Some(Node::Text(_)) = self.nodes.get(constant.0 as usize) else {
            return Err(JavaError::malformed("the name of a constant is no text"));
        };
        self.set(id, Node::Enum { class, constant });
        Ok(id)
    }

    /// What a class wrote besides its fields, up to its end.
    fn annotations(&mut self, depth: usize) -> Result<Vec<Annotation>, JavaError> {
        let mut annotations = Vec::new();
        loop {
            let annotation = match self.byte()? {
                tag::END_BLOCK_DATA => return Ok(annotations),
                tag::BLOCK_DATA => {
                    let length = self.byte()?;
                    Annotation::Block(self.take(length.into())?.into())
                }
                tag::BLOCK_DATA_LONG => {
                    let length = self.length()?;
                    Annotation::Block(self.take(length)?.into())
                }
                other => Annotation::Value(self.value_of(other, depth)?),
            };
            self.charge(1)?;
            annotations.push(annotation);
        }
    }

    fn some_class(&mut self, depth: usize) -> Result<ClassId, JavaError> {
        self.class(depth)?.ok_or_else(|| JavaError::malformed("an object has no class"))
    }

    /// A class description, a reference to one, or none.
    fn class(&mut self, depth: usize) -> Result<Option<ClassId>, JavaError> {
        if depth > DEPTH_MAX {
            return Err(JavaError::TooMuch { what: "levels", limit: DEPTH_MAX });
        }
        match self.byte()? {
            tag::NULL => Ok(None),
            tag::REFERENCE => match self.handle()? {
                // One that is being read cannot be above itself.
                Handle::Class(class) if self.complete.get(class.0 as usize).copied().unwrap_or_default() => Ok(Some(class)),
                _ => Err(JavaError::malformed("a reference to no class")),
            },
            tag::CLASS_DESCRIPTION => self.description(depth).map(Some),
            other => Err(JavaError::malformed(format!("{other:#04x} stands where a class should"))),
        }
    }

    fn description(&mut self, depth: usize) -> Result<ClassId, JavaError> {
        let name = self.short_text()?;
        let uid = i64::from_be_bytes(self.bytes()?);
        self.catalog.admit(&name, uid)?;
        if self.classes.iter().any(|known| known.name == name) {
            return Err(JavaError::malformed(format!("{name:?} is described twice")));
        }
        self.charge(1)?;
        let id = ClassId(self.classes.len() as u32);
        self.classes.push(Descriptor { name, uid, ..Descriptor::default() });
        self.complete.push(false);
        self.handles.push(Handle::Class(id));
        let flags = self.byte()?;
        if flags & !(flag::WRITE_METHOD | flag::SERIALIZABLE | flag::ENUM) != 0 {
            return Err(JavaError::malformed(format!("{:?} writes itself in a way that is not read", self.described(id).name)));
        }
        let fields = self.fields(depth)?;
        // What the writer's class loader added; it means nothing here.
        self.annotations(depth)?;
        let superclass = self.class(depth + 1)?;
        let above = std::iter::successors(superclass, |class| self.described(*class).superclass);
        if above.take(HIERARCHY_MAX).count() == HIERARCHY_MAX {
            return Err(JavaError::TooMuch { what: "classes above each other", limit: HIERARCHY_MAX });
        }
        if let Some(description) = self.classes.get_mut(id.0 as usize) {
            *description = Descriptor { flags, fields, superclass, ..std::mem::take(description) };
        }
        if let Some(complete) = self.complete.get_mut(id.0 as usize) {
            *complete = true;
        }
        Ok(id)
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<DescriptorField>, JavaError> {
        let count = usize::from(u16::from_be_bytes(self.bytes()?));
        if count > FIELDS_MAX {
            return Err(JavaError::TooMuch { what: "fields", limit: FIELDS_MAX });
        }
        let mut fields: Vec<DescriptorField> = Vec::new();
        for _ in 0..count {
            self.charge(1)?;
            let code = self.byte()?;
            let name = self.short_text()?;
            let class = match code {
                b'L' | b'[' => self.class_of_field(depth)?,
                b'B' | b'C' | b'D' | b'F' | b'I' | b'J' | b'S' | b'Z' if fields.iter().all(|field| field.class.is_empty()) => {
                    Box::default()
                }
                _ => return Err(JavaError::malformed("a field of no type, or in a wrong place")),
            };
            fields.push(DescriptorField { code, name, class });
        }
        Ok(fields)
    }

    fn class_of_field(&mut self, depth: usize) -> Result<Box<str>, JavaError> {
        let value = self.value(depth)?;
        match value {
            Value::Node(NodeId(id)) => match self.nodes.get(id as usize) {
                Some(Node::Text(class)) if !class.is_empty() => Ok(class.clone()),
                _ => Err(JavaError::malformed("the class of a field is no text")),
            },
            _ => Err(JavaError::malformed("the class of a field is missing")),
        }
    }

    fn described(&self, class: ClassId) -> &Descriptor {
        // Ids are handed out for what is in the list.
        &self.classes[class.0 as usize]
    }

    fn hierarchy(&self, class: ClassId) -> Vec<ClassId> {
        let mut hierarchy: Vec<ClassId> = std::iter::successors(Some(class), |class| self.described(*class).superclass).collect();
        hierarchy.reverse();
        hierarchy
    }
}

/// The least that an element of this type takes, in bytes.
const fn bytes_of(code: u8) -> usize {
    match code {
        b'C' | b'S' => 2,
        b'I' | b'F' => 4,
        b'J' | b'D' => 8,
        _ => 1,
    }
}
