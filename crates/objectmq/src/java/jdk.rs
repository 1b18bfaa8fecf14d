//! The classes of the JDK that streams may hold: name, version id, and how they are written here.

use super::catalog::Shape;
use super::flag::{SERIALIZABLE, WRITE_METHOD};

/// What an object of a class of the JDK means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A primitive value in a box: its field `value`.
    Boxed,
    /// A UUID.
    Uuid,
    /// A moment: milliseconds in eight bytes, and nanoseconds in a field of `java.sql.Timestamp`.
    Date,
    /// A list whose elements follow a block of four bytes.
    ArrayList,
    /// The same; the block holds their number.
    LinkedList,
    /// A list around an array in the field `a`.
    ArrayAsList,
    /// The list of nothing.
    EmptyList,
    /// A list around one value in the field `element`.
    SingletonList,
    /// A list around another one in the field `c`.
    WrappedList,
    /// Keys and values follow a block of eight bytes.
    HashMap,
    /// An exception.
    Throwable,
    /// A class that is only above others, or only inside an exception.
    Part,
}

/// Name, version id, meaning. Only these are admitted besides the application's.
const CLASSES: &[(&str, i64, Meaning)] = &[
    ("java.lang.Boolean", -3_665_804_199_014_368_530, Meaning::Boxed),
    ("java.lang.Byte", -7_183_698_231_559_129_828, Meaning::Boxed),
    ("java.lang.Character", 3_786_198_910_865_385_080, Meaning::Boxed),
    ("java.lang.Short", 7_515_723_908_773_894_738, Meaning::Boxed),
    ("java.lang.Integer", 1_360_826_667_806_852_920, Meaning::Boxed),
    ("java.lang.Long", 4_290_774_380_558_885_855, Meaning::Boxed),
    ("java.lang.Float", -2_671_257_302_660_747_028, Meaning::Boxed),
    ("java.lang.Double", -9_172_774_392_245_257_468, Meaning::Boxed),
    ("java.lang.Number", -8_742_448_824_652_078_965, Meaning::Part),
    ("java.lang.Enum", 0, Meaning::Part),
    // Of these there are arrays only.
    ("java.lang.Object", 0, Meaning::Part),
    ("java.lang.Comparable", 0, Meaning::Part),
    ("java.io.Serializable", 0, Meaning::Part),
    ("java.util.Collection", 0, Meaning::Part),
    ("java.util.List", 0, Meaning::Part),
    ("java.util.Map", 0, Meaning::Part),
    ("java.lang.String", -6_849_794_470_754_667_710, Meaning::Part),
    ("java.util.UUID", -4_856_846_361_193_249_489, Meaning::Uuid),
    ("java.util.Date", 7_523_967_970_034_938_905, Meaning::Date),
    ("java.sql.Timestamp", 2_745_179_027_874_758_501, Meaning::Date),
    ("java.sql.Date", 1_511_598_038_487_230_103, Meaning::Date),
    ("java.util.ArrayList", 8_683_452_581_122_892_189, Meaning::ArrayList),
    ("java.util.LinkedList", 876_323_262_645_176_354, Meaning::LinkedList),
    ("java.util.Arrays$ArrayList", -2_764_017_481_108_945_198, Meaning::ArrayAsList),
    ("java.util.Collections$EmptyList", 8_842_843_931_221_139_166, Meaning::EmptyList),
    ("java.util.Collections$SingletonList", 3_093_736_618_740_652_951, Meaning::SingletonList),
    ("java.util.Collections$UnmodifiableList", -283_967_356_065_247_728, Meaning::WrappedList),
    ("java.util.Collections$UnmodifiableRandomAccessList", -2_542_308_836_966_382_001, Meaning::WrappedList),
    ("java.util.Collections$UnmodifiableCollection", 1_820_017_752_578_914_078, Meaning::Part),
    ("java.util.HashMap", 362_498_820_763_181_265, Meaning::HashMap),
    ("java.util.LinkedHashMap", 3_801_124_242_820_219_131, Meaning::HashMap),
    ("java.lang.Throwable", -3_042_686_055_658_047_285, Meaning::Throwable),
    ("java.lang.Exception", -3_387_516_993_124_229_948, Meaning::Throwable),
    ("java.lang.Error", 4_980_196_508_277_280_342, Meaning::Throwable),
    ("java.lang.RuntimeException", -7_034_897_190_745_766_939, Meaning::Throwable),
    ("java.lang.IllegalArgumentException", -5_365_630_128_856_068_164, Meaning::Throwable),
    ("java.lang.IllegalStateException", -1_848_914_673_093_119_416, Meaning::Throwable),
    ("java.lang.NullPointerException", 5_162_710_183_389_028_792, Meaning::Throwable),
    ("java.io.IOException", 7_818_375_828_146_090_155, Meaning::Throwable),
    ("java.lang.StackTraceElement", 6_992_337_162_326_171_013, Meaning::Part),
];

/// Version id and meaning of the class, if it is one of the JDK's that are known.
pub fn find(name: &str) -> Option<(i64, Meaning)> {
    CLASSES.iter().find(|(known, ..)| *known == name).map(|(_, uid, meaning)| (*uid, *meaning))
}

macro_rules! shape {
    ($id:ident = $name:literal $uid:literal $flags:expr; [$(($code:literal $field:literal $class:literal))*] $above:expr) => {
        pub static $id: Shape = Shape {
            name: $name,
            uid: $uid,
            flags: $flags,
            fields: &[$(($code, $field, $class)),*],
            above: $above,
        };
    };
}

const OWN: u8 = SERIALIZABLE | WRITE_METHOD;

shape!(NUMBER = "java.lang.Number" -8_742_448_824_652_078_965 SERIALIZABLE; [] None);
shape!(LONG = "java.lang.Long" 4_290_774_380_558_885_855 SERIALIZABLE; [(b'J' "value" "")] Some(&NUMBER));
shape!(INTEGER = "java.lang.Integer" 1_360_826_667_806_852_920 SERIALIZABLE; [(b'I' "value" "")] Some(&NUMBER));
shape!(DOUBLE = "java.lang.Double" -9_172_774_392_245_257_468 SERIALIZABLE; [(b'D' "value" "")] Some(&NUMBER));
shape!(BOOLEAN = "java.lang.Boolean" -3_665_804_199_014_368_530 SERIALIZABLE; [(b'Z' "value" "")] None);
shape!(UUID = "java.util.UUID" -4_856_846_361_193_249_489 SERIALIZABLE; [(b'J' "leastSigBits" "") (b'J' "mostSigBits" "")] None);
shape!(DATE = "java.util.Date" 7_523_967_970_034_938_905 OWN; [] None);
shape!(ARRAY_LIST = "java.util.ArrayList" 8_683_452_581_122_892_189 OWN; [(b'I' "size" "")] None);
shape!(HASH_MAP = "java.util.HashMap" 362_498_820_763_181_265 OWN; [(b'F' "loadFactor" "") (b'I' "threshold" "")] None);
shape!(OBJECTS = "[Ljava.lang.Object;" -8_012_369_246_846_506_644 SERIALIZABLE; [] None);
