//! Against what the original's own serializer wrote (testdata/wire), what a JDK writes and reads, and whatever else may come.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use std::path::{Path, PathBuf};

mod hostile;
mod jdk_peer;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/wire")
}

fn parsed(file: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// The classes of the captured messages.
fn catalog() -> Catalog {
    static LEAKED: std::sync::OnceLock<&'static [Class]> = std::sync::OnceLock::new();
    let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
    let classes = LEAKED.get_or_init(|| {
        let facts = parsed(&testdata().join("classes.json"));
        let ours = facts
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, fact)| (name.starts_with("com.") || name.starts_with("omq.")) && fact["serializable"] == true);
        let class = |(name, fact): (&String, &Json)| {
            let fields = fact["stream_fields"].as_array().unwrap().iter();
            let fields = fields.map(|field| Field { name: leak(field["name"].as_str().unwrap()), kind: Type::Any });
            let fields: &'static [Field] = Box::leak(fields.collect::<Vec<_>>().into_boxed_slice());
            let uid = fact["serialVersionUID"].as_i64().unwrap();
            Class { name: leak(name), uid, earlier: &[], above: None, fields }
        };
        Box::leak(ours.map(class).collect::<Vec<_>>().into_boxed_slice())
    });
    Catalog::new(classes, &[])
}

/// Name, bytes, facts of every captured stream.
fn captured() -> Vec<(String, Vec<u8>, Json)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(testdata().join("java")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "bin"));
    files.sort();
    assert_eq!(files.len(), 28, "all of them, and no other");
    let read = |bin: PathBuf| {
        let facts = parsed(&bin.with_extension("json"));
        (facts["name"].as_str().unwrap().to_owned(), std::fs::read(bin).unwrap(), facts)
    };
    files.into_iter().map(read).collect()
}

/// A value in the neutral terms of the captured facts.
fn neutral(graph: &Graph, value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => value.into(),
        Value::Byte(value) => value.into(),
        Value::Char(value) => value.into(),
        Value::Short(value) => value.into(),
        Value::Int(value) => value.into(),
        Value::Long(value) => value.into(),
        Value::Float(value) => value.into(),
        Value::Double(value) => value.into(),
        Value::Node(_) => match graph.node(value).unwrap() {
            Node::Text(text) => (**text).into(),
            Node::Array { class, items } => {
                let items: Vec<Json> = items.iter().map(|item| neutral(graph, *item)).collect();
                json!({"$class": graph.class(*class).unwrap().name, "$list": items})
            }
            Node::Enum { constant, .. } => neutral(graph, Value::Node(*constant)),
            Node::Object { class, parts } => neutral_object(graph, *class, parts),
        },
    }
}

fn neutral_object(graph: &Graph, class: ClassId, parts: &[Part]) -> Json {
    let name = &*graph.class(class).unwrap().name;
    let field = |class: &str, field: &str| {
        let (class, part) = graph.part(class_of(graph, class), parts, class).unwrap();
        neutral(graph, class.value(part, field).unwrap())
    };
    let part = |of: &str| graph.part(class, parts, of).unwrap().1;
    let millis = || match &*part("java.util.Date").annotations {
        [Annotation::Block(block)] => i64::from_be_bytes((**block).try_into().unwrap()),
        other => panic!("{other:?}"),
    };
    let after_block = || {
        let values = part(name).annotations[1..].iter().map(|annotation| match annotation {
            Annotation::Value(value) => neutral(graph, *value),
            Annotation::Block(_) => panic!(),
        });
        values.collect::<Vec<_>>()
    };
    match name {
        "java.lang.Long" | "java.lang.Integer" | "java.lang.Boolean" => {
            let (class, own) = graph.part(class, parts, name).unwrap();
            neutral(graph, class.value(own, "value").unwrap())
        }
        "java.util.UUID" => {
            let half = |name| field("java.util.UUID", name).as_i64().unwrap() as u64;
            json!({"$uuid": uuid::Uuid::from_u64_pair(half("mostSigBits"), half("leastSigBits")).to_string()})
        }
        "java.util.Date" => json!({"$class": name, "$epoch_ms": millis()}),
        "java.sql.Timestamp" => {
            let (class, own) = graph.part(class, parts, name).unwrap();
            let Some(Value::Int(nanos)) = class.value(own, "nanos") else { panic!() };
            json!({"$class": name, "$epoch_ms": millis() + i64::from(nanos / 1_000_000), "$nanos": nanos})
        }
        "java.util.ArrayList" | "java.util.LinkedList" => json!({"$class": name, "$list": after_block()}),
        "java.util.Arrays$ArrayList" => json!({"$class": name, "$list": field(name, "a")["$list"]}),
        _ => {
            let mut members = Map::from_iter([("$class".to_owned(), name.into())]);
            for (class, part) in graph.hierarchy(class).into_iter().zip(parts) {
                for (field, value) in graph.class(class).unwrap().fields.iter().zip(&part.values) {
                    members.insert(field.name.to_string(), neutral(graph, *value));
                }
            }
            members.into()
        }
    }
}

fn class_of(graph: &Graph, name: &str) -> ClassId {
    ClassId(graph.classes.iter().position(|class| &*class.name == name).unwrap() as u32)
}

#[test]
fn every_captured_stream_says_what_is_stated() {
    for (name, bytes, facts) in captured() {
        let graph = read(&bytes, &catalog()).unwrap();
        assert_eq!(neutral(&graph, graph.root), facts["value"], "{name}");
    }
}

#[test]
fn every_captured_stream_is_written_back_byte_for_byte() {
    for (name, bytes, _) in captured() {
        let graph = read(&bytes, &catalog()).unwrap();
        assert!(write(&graph).unwrap() == bytes, "{name}");
    }
}

#[test]
fn what_has_no_declared_type_survives() {
    let catalog = Catalog::default();
    let long = "é😀\0".repeat(20_000);
    let deep = json!([[[[[[{"a": [[[[]]]]}]]]]]]);
    for value in [
        json!(null),
        json!(true),
        json!(-1),
        json!(i64::MAX),
        json!(1.5),
        json!("x"),
        json!(long),
        json!([]),
        json!({}),
        json!({"a": [1, "a", "a", null, {"b": false}], "": {"a": 1e300}}),
        deep,
    ] {
        let mut writer = Writer::new(&catalog);
        writer.json(&serde_json::value::to_raw_value(&value).unwrap(), Type::Any).unwrap();
        let stream = writer.finish();
        let graph = read(&stream, &catalog).unwrap();
        assert!(write(&graph).unwrap() == stream, "{value:.80}");
        let json: Json = serde_json::from_str(to_json(&graph, &catalog, graph.root).unwrap().get()).unwrap();
        assert_eq!(json, value);
    }
}

proptest! {
    #[test]
    fn any_json_survives(value in json_value()) {
        let catalog = Catalog::default();
        let mut writer = Writer::new(&catalog);
        writer.json(&serde_json::value::to_raw_value(&value).unwrap(), Type::Any).unwrap();
        let stream = writer.finish();
        let graph = read(&stream, &catalog).unwrap();
        prop_assert_eq!(&write(&graph).unwrap(), &stream);
        let json: Json = serde_json::from_str(to_json(&graph, &catalog, graph.root).unwrap().get()).unwrap();
        prop_assert_eq!(json, value);
    }
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-200_i64..200).prop_map(Json::from),
        any::<String>().prop_map(Json::from),
        "[ab]".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6).prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}
