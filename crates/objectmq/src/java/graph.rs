//! A stream in memory: objects that refer to each other, and the descriptions of their classes as the stream gives them.
//!
//! Nothing is interpreted here. A date is an object of `java.util.Date` with eight bytes of its own; `to_json` knows what they mean.

/// Which object of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// Which class description of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u32);

/// A stream of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The class descriptions.
    pub classes: Vec<Descriptor>,
    /// The objects, in the order in which they begin.
    pub nodes: Vec<Node>,
    /// What was written.
    pub root: Value,
}

/// A field's or an element's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// An object; the same object may be meant by many values, and by itself.
    Node(NodeId),
    /// `boolean`.
    Boolean(bool),
    /// `byte`.
    Byte(i8),
    /// `char`: a unit of UTF-16.
    Char(u16),
    /// `short`.
    Short(i16),
    /// `int`.
    Int(i32),
    /// `long`.
    Long(i64),
    /// `float`.
    Float(f32),
    /// `double`.
    Double(f64),
}

/// An object.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A `java.lang.String`.
    Text(Box<str>),
    /// An array.
    Array {
        /// Its class, e.g. `[Ljava.lang.Object;`.
        class: ClassId,
        /// Its elements.
        items: Vec<Value>,
    },
    /// A constant of an enumeration.
    Enum {
        /// The enumeration.
        class: ClassId,
        /// The constant's name: a text.
        constant: NodeId,
    },
    /// Anything else.
    Object {
        /// Its class.
        class: ClassId,
        /// What each class of its hierarchy wrote, the uppermost first.
        parts: Vec<Part>,
    },
}

/// What one class wrote of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// One value per field, in the order of the description.
    pub values: Vec<Value>,
    /// What the class wrote besides.
    pub annotations: Vec<Annotation>,
}

/// What a class wrote besides its fields.
#[derive(Clone, Debug, PartialEq)]
pub enum Annotation {
    /// Bytes, as one block.
    Block(Box<[u8]>),
    /// An object, or `null`.
    Value(Value),
}

/// The description of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Its name, e.g. `java.util.Date`.
    pub name: Box<str>,
    /// Its serialVersionUID.
    pub uid: i64,
    /// Its flags.
    pub flags: u8,
    /// Its fields: those of primitive types first.
    pub fields: Vec<DescriptorField>,
    /// The next serializable class above it.
    pub superclass: Option<ClassId>,
}

/// A field of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptorField {
    /// `B C D F I J S Z` for primitive types, `L` for objects, `[` for arrays.
    pub code: u8,
    /// Its name.
    pub name: Box<str>,
    /// The class of an object or array, e.g. `Ljava/util/List;`; empty for primitive types.
    pub class: Box<str>,
}

impl Graph {
    /// The object, if the value is one.
    pub fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(NodeId(id)) => self.nodes.get(id as usize),
            _ => None,
        }
    }

    /// The class description.
    pub fn class(&self, id: ClassId) -> Option<&Descriptor> {
        self.classes.get(id.0 as usize)
    }

    /// The class and those above it, the uppermost first.
    pub(super) fn hierarchy(&self, class: ClassId) -> Vec<ClassId> {
        let above = |id: &ClassId| self.class(*id).and_then(|class| class.superclass);
        let mut hierarchy: Vec<ClassId> = std::iter::successors(Some(class), above).take(super::HIERARCHY_MAX).collect();
        hierarchy.reverse();
        hierarchy
    }

    /// What the class of this name wrote of the object, with its description.
    pub(super) fn part<'a>(&'a self, class: ClassId, parts: &'a [Part], name: &str) -> Option<(&'a Descriptor, &'a Part)> {
        let hierarchy = self.hierarchy(class).into_iter().filter_map(|id| self.class(id));
        hierarchy.zip(parts).find(|(class, _)| &*class.name == name)
    }
}

impl Descriptor {
    /// The value of the field of this name.
    pub(crate) fn value(&self, part: &Part, name: &str) -> Option<Value> {
        let index = self.fields.iter().position(|field| &*field.name == name)?;
        part.values.get(index).copied()
    }
}
