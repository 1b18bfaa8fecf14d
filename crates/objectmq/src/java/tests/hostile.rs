//! Streams that nobody should send.

use super::*;
use std::time::{Duration, Instant};

/// A description of a class without fields.
fn class(name: &str, uid: i64, flags: u8) -> Vec<u8> {
    described(name, uid, flags, &[])
}

/// A description of a class with these fields (each: code, name, and for objects a class).
fn described(name: &str, uid: i64, flags: u8, fields: &[(u8, &str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let mut bytes = vec![tag::CLASS_DESCRIPTION];
    bytes.extend(text(name));
    bytes.extend(uid.to_be_bytes());
    bytes.push(flags);
    bytes.extend((fields.len() as u16).to_be_bytes());
    for (code, name, class) in fields {
        bytes.push(*code);
        bytes.extend(text(name));
        if !class.is_empty() {
            bytes.push(tag::STRING);
            bytes.extend(text(class));
        }
    }
    bytes.push(tag::END_BLOCK_DATA);
    bytes
}

fn stream(parts: &[&[u8]]) -> Vec<u8> {
    [&HEADER[..], &parts.concat()].concat()
}

const OBJECTS: &str = "[Ljava.lang.Object;";
const OBJECTS_UID: i64 = -8_012_369_246_846_506_644;
const ARRAY_LIST_UID: i64 = 8_683_452_581_122_892_189;
const NULL: &[u8] = &[tag::NULL];

fn refused(stream: &[u8]) -> JavaError {
    read(stream, &catalog()).unwrap_err()
}

fn reference(number: u32) -> Vec<u8> {
    [&[tag::REFERENCE][..], &(tag::FIRST_HANDLE + number).to_be_bytes()].concat()
}

#[test]
fn classes_that_nobody_needs_are_refused_before_their_content_is_read() {
    for name in [
        "javax.management.BadAttributeValueExpException",
        "org.apache.commons.collections.functors.InvokerTransformer",
        "java.net.URL",
        "java.util.PriorityQueue",
        "sun.reflect.annotation.AnnotationInvocationHandler",
        "[Ljava.net.URL;",
        "[Lno;such",
        "[X",
        "[",
        "",
    ] {
        let gadget = stream(&[&[tag::OBJECT], &class(name, 1, 2), NULL]);
        assert_eq!(refused(&gadget), JavaError::UnknownClass(name.into()));
        // Cut right after the name and the id: nothing more of it is needed.
        assert_eq!(refused(&gadget[..4 + 1 + 1 + 2 + name.len() + 8]), JavaError::UnknownClass(name.into()));
    }
    let old = stream(&[&[tag::OBJECT], &class("java.util.Date", 7, 3), NULL]);
    assert_eq!(refused(&old), JavaError::UnknownVersion { class: "java.util.Date".into(), uid: 7 });
    let long = stream(&[&[tag::OBJECT], &class(&"x".repeat(60_000), 7, 3), NULL]);
    assert!(refused(&long).to_string().len() < 600, "input is not sent back at length");
}

#[test]
fn what_is_claimed_takes_no_memory() {
    let huge = i32::MAX.to_be_bytes();
    for bytes in [
        stream(&[&[tag::ARRAY], &class(OBJECTS, OBJECTS_UID, 2), NULL, &huge]),
        stream(&[&[tag::ARRAY], &class("[J", 1, 2), NULL, &huge, &[0; 800]]),
        stream(&[&[tag::LONG_STRING], &u64::MAX.to_be_bytes(), b"x"]),
        stream(&[&[tag::LONG_STRING], &(1_u64 << 40).to_be_bytes(), b"x"]),
        stream(&[&[tag::STRING, 0xff, 0xff], b"x"]),
        stream(&[&[tag::OBJECT], &class("java.util.Date", 7_523_967_970_034_938_905, 3), NULL, &[tag::BLOCK_DATA_LONG], &huge]),
    ] {
        assert_eq!(refused(&bytes), JavaError::Truncated);
    }
    let negative = stream(&[&[tag::ARRAY], &class(OBJECTS, OBJECTS_UID, 2), NULL, &(-1_i32).to_be_bytes()]);
    assert!(refused(&negative).to_string().contains("negative"));
    let many_fields = [
        &HEADER[..],
        &[tag::OBJECT, tag::CLASS_DESCRIPTION, 0, 14],
        b"java.util.Date",
        &7_523_967_970_034_938_905_i64.to_be_bytes(),
        &[2, 0xff, 0xff],
    ]
    .concat();
    assert_eq!(refused(&many_fields), JavaError::TooMuch { what: "fields", limit: FIELDS_MAX });
}

#[test]
fn nesting_ends() {
    let array = [&[tag::ARRAY][..], &class(OBJECTS, OBJECTS_UID, 2), NULL, &1_i32.to_be_bytes()].concat();
    let another = [&[tag::ARRAY][..], &reference(0), &1_i32.to_be_bytes()].concat();
    let deep = stream(&[&array, &another.repeat(1_000_000)]);
    assert_eq!(refused(&deep), JavaError::TooMuch { what: "levels", limit: DEPTH_MAX });
    let allowed = stream(&[&array, &another.repeat(DEPTH_MAX - 2), NULL]);
    assert!(read(&allowed, &catalog()).is_ok());

    // Classes above each other.
    let names = [
        "java.lang.Long",
        "java.lang.Integer",
        "java.lang.Short",
        "java.lang.Byte",
        "java.lang.Float",
        "java.lang.Double",
        "java.lang.Boolean",
        "java.lang.Character",
        "java.lang.Number",
    ];
    let chain: Vec<u8> = names.iter().flat_map(|name| class(name, jdk::find(name).unwrap().0, 2)).collect();
    assert_eq!(
        refused(&stream(&[&[tag::OBJECT], &chain, NULL])),
        JavaError::TooMuch { what: "classes above each other", limit: HIERARCHY_MAX }
    );
}

#[test]
fn a_class_is_not_above_itself_and_is_described_once() {
    let number = class("java.lang.Number", -8_742_448_824_652_078_965, 2);
    let own = stream(&[&[tag::OBJECT], &number, &reference(0)]);
    assert!(refused(&own).to_string().contains("reference to no class"));
    let twice = stream(&[&[tag::OBJECT], &number, &number, NULL]);
    assert!(refused(&twice).to_string().contains("described twice"));
}

/// A list that holds itself, and one that says the same thing a great many times.
#[test]
fn circles_and_repetition_end() {
    let list = |first: &[u8], count: i32| {
        [&[tag::OBJECT][..], first, &count.to_be_bytes(), &[tag::BLOCK_DATA, 4], &count.to_be_bytes()].concat()
    };
    let description = [&described("java.util.ArrayList", ARRAY_LIST_UID, 3, &[(b'I', "size", "")])[..], NULL].concat();
    // Handle 0 is the class, handle 1 the list.
    let circle = stream(&[&list(&description, 1), &reference(1), &[tag::END_BLOCK_DATA]]);
    let graph = read(&circle, &catalog()).unwrap();
    assert_eq!(to_json(&graph, &catalog(), graph.root).unwrap_err(), JavaError::TooMuch { what: "levels", limit: DEPTH_MAX });
    assert_eq!(write(&graph).unwrap(), circle);

    // Each list holds the next one, and then a hundred times the same: its text would have 100^40 elements.
    const LEVELS: u32 = 40;
    let mut bomb = list(&description, 100);
    for level in 2..LEVELS {
        bomb.extend(list(&reference(0), 100));
        if level + 1 == LEVELS {
            bomb.extend([tag::NULL; 100]);
        }
    }
    for level in (1..LEVELS).rev() {
        bomb.push(tag::END_BLOCK_DATA);
        if level > 1 {
            bomb.extend(reference(level).repeat(99));
        }
    }
    let graph = read(&stream(&[&bomb]), &catalog()).unwrap();
    let started = Instant::now();
    assert_eq!(to_json(&graph, &catalog(), graph.root).unwrap_err(), JavaError::TooMuch { what: "values", limit: VALUES_MAX });
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());

    let long = "x".repeat(1 << 20);
    let mut text = list(&description, 100);
    text.push(tag::LONG_STRING);
    text.extend((long.len() as u64).to_be_bytes());
    text.extend(long.as_bytes());
    text.extend(reference(2).repeat(99));
    text.push(tag::END_BLOCK_DATA);
    let graph = read(&stream(&[&text]), &catalog()).unwrap();
    let limit = JSON_BYTES_MAX;
    assert_eq!(to_json(&graph, &catalog(), graph.root).unwrap_err(), JavaError::TooMuch { what: "bytes of JSON", limit });
}

#[test]
fn objects_that_lie_about_themselves_are_refused() {
    let list = described("java.util.ArrayList", ARRAY_LIST_UID, 3, &[(b'I', "size", "")]);
    let long = described("java.lang.Long", 4_290_774_380_558_885_855, 2, &[(b'L', "value", "Ljava/lang/String;")]);
    let date = class("java.util.Date", 7_523_967_970_034_938_905, 3);
    let timestamp = described("java.sql.Timestamp", 2_745_179_027_874_758_501, 2, &[(b'I', "nanos", "")]);
    let end = &[tag::END_BLOCK_DATA][..];
    let block = |bytes: &[u8]| [&[tag::BLOCK_DATA, bytes.len() as u8][..], bytes].concat();
    for bytes in [
        stream(&[&[tag::OBJECT], &list, NULL, &5_i32.to_be_bytes(), &block(&[0; 4]), NULL, end]),
        stream(&[&[tag::OBJECT], &list, NULL, &1_i32.to_be_bytes(), NULL, end]),
        stream(&[&[tag::OBJECT], &list, NULL, &1_i32.to_be_bytes(), &block(&[0; 3]), NULL, end]),
        stream(&[&[tag::OBJECT], &list, NULL, &1_i32.to_be_bytes(), &block(&[0; 4]), &block(&[0; 4]), end]),
        stream(&[&[tag::OBJECT], &long, NULL, NULL]),
        stream(&[&[tag::OBJECT], &class("java.lang.Long", 4_290_774_380_558_885_855, 2), NULL]),
        stream(&[&[tag::OBJECT], &date, NULL, end]),
        stream(&[&[tag::OBJECT], &date, NULL, &block(&[0; 7]), end]),
        stream(&[&[tag::OBJECT], &date, NULL, &block(&i64::MAX.to_be_bytes()), end]),
        stream(&[&[tag::OBJECT], &timestamp, &date, NULL, &block(&[0; 8]), end, &(-1_i32).to_be_bytes()]),
        stream(&[&[tag::OBJECT], &timestamp, NULL, &7_i32.to_be_bytes()]),
        stream(&[&[tag::OBJECT], &class("java.lang.Number", -8_742_448_824_652_078_965, 2), NULL]),
    ] {
        let graph = read(&bytes, &catalog()).unwrap();
        assert!(to_json(&graph, &catalog(), graph.root).is_err());
    }
    for bytes in [
        stream(&[&[tag::OBJECT], NULL]),
        stream(&[&[tag::ARRAY], &list, NULL]),
        stream(&[&[tag::OBJECT], &class("[J", 1, 2), NULL]),
        stream(&[&[tag::ENUM], &list, NULL]),
        stream(&[&[tag::OBJECT], &class("java.lang.Enum", 0, 0x12), NULL]),
        stream(&[&[tag::OBJECT], &class("java.util.Date", 7_523_967_970_034_938_905, 0x0c), NULL]),
        stream(&[&reference(0)]),
        stream(&[&list, NULL]),
        stream(&[&[0x79], NULL]),
        stream(&[&[0x7b], NULL]),
        stream(&[NULL, NULL]),
        stream(&[&[tag::STRING, 0, 1, 0xff]]),
        stream(&[
            &[tag::OBJECT],
            &described("java.lang.Number", -8_742_448_824_652_078_965, 2, &[(b'L', "a", "LA;"), (b'J', "b", "")]),
            NULL,
        ]),
        stream(&[&[tag::OBJECT], &described("java.lang.Number", -8_742_448_824_652_078_965, 2, &[(b'V', "a", "")]), NULL]),
        b"\xac\xed\0\x04p".to_vec(),
        b"{}".to_vec(),
        Vec::new(),
    ] {
        assert!(read(&bytes, &catalog()).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_cut_or_changed_stream_is_an_error_or_another_value_and_never_a_panic() {
    let catalog = catalog();
    for (name, bytes, _) in captured() {
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], &catalog).is_err(), "{name} cut at {end}");
        }
        for index in 0..bytes.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[index] ^= change;
                if let Ok(graph) = read(&changed, &catalog) {
                    let _ = to_json(&graph, &catalog, graph.root);
                    let again = write(&graph).unwrap();
                    assert_eq!(read(&again, &catalog).map(|graph| write(&graph)), Ok(Ok(again)), "{name} {index}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_that_comes_panics(bytes: Vec<u8>) {
        let _ = read(&[&HEADER[..], &bytes].concat(), &catalog());
        let _ = read(&bytes, &catalog());
    }
}
