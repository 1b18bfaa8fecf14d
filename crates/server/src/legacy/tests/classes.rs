//! Against what the original's own serializer wrote (testdata/wire), and against a real JDK with classes of the same names.

use super::*;
use objectmq::envelope::{Answer, Answered, Call, Compression, Encoding, Encodings};
use objectmq::{MessageType, RawValue};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/wire")
}

fn encodings(encoding: Encoding) -> Encodings {
    Encodings::original(encoding, Arc::new(catalog()))
}

struct Captured {
    name: String,
    bytes: Vec<u8>,
    facts: Value,
}

impl Captured {
    /// Whether the same values can only be written like this. Dates of the database and fixed lists are read, but dates and array
    /// lists are written; and what the sender of some commits had as one UUID object, which values do not tell, is written as several.
    fn is_canonical(&self) -> bool {
        const ONE_UUID: [&str; 3] = ["request-commit-2items", "request-commit-folder-child", "request-commit-newversion-delete"];
        if ONE_UUID.contains(&&*self.name) {
            return false;
        }
        let holds = |class: &str| self.bytes.windows(class.len()).any(|window| window == class.as_bytes());
        !holds("java.sql.Timestamp") && !holds("java.util.Arrays$ArrayList")
    }
}

fn captured(folder: &str) -> Vec<Captured> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(testdata().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "bin"));
    files.sort();
    let read = |bin: PathBuf| {
        let facts: Value = serde_json::from_slice(&std::fs::read(bin.with_extension("json")).unwrap()).unwrap();
        Captured { name: facts["name"].as_str().unwrap().to_owned(), bytes: std::fs::read(bin).unwrap(), facts }
    };
    files.into_iter().map(read).collect()
}

/// The JSON that a value in neutral terms becomes.
fn plain(neutral: &Value) -> Value {
    let Value::Object(object) = neutral else { return neutral.clone() };
    if let Some(list) = object.get("$list") {
        return list.as_array().unwrap().iter().map(plain).collect();
    }
    if let Some(uuid) = object.get("$uuid") {
        return uuid.clone();
    }
    if let Some(millis) = object.get("$epoch_ms") {
        let millis = millis.as_i64().unwrap();
        let nanos = object.get("$nanos").map_or(millis.rem_euclid(1_000) * 1_000_000, |nanos| nanos.as_i64().unwrap());
        let date = stacksync_protocol::date::Date::from_unix_ns(millis.div_euclid(1_000) * 1_000_000_000 + nanos);
        return serde_json::to_value(date).unwrap();
    }
    let member = |(name, value): (&String, &Value)| (name.clone(), plain(value));
    object.iter().filter(|(name, value)| *name != "$class" && !value.is_null()).map(member).collect::<Map<_, _>>().into()
}

fn parsed(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap()
}

#[test]
fn the_classes_are_those_of_the_original() {
    let facts: Value = serde_json::from_slice(&std::fs::read(testdata().join("classes.json")).unwrap()).unwrap();
    let mut seen = 0;
    for (name, fact) in facts.as_object().unwrap() {
        let Some(class) = catalog().class(name) else { continue };
        seen += 1;
        assert_eq!(class.uid, fact["serialVersionUID"].as_i64().unwrap(), "{name}");
        let above = Some(fact["superclass"].as_str().unwrap()).filter(|above| *above != "java.lang.Object");
        assert_eq!(class.above, above, "{name}");
        let fields: Vec<&str> =
            fact["stream_fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
        assert_eq!(class.fields.iter().map(|field| field.name).collect::<Vec<_>>(), fields, "{name}");
    }
    assert_eq!(seen, CLASSES.len() + 3);
}

/// What a captured request says, and the bytes that are written for the same.
fn request(message: &Captured) -> Option<Vec<u8>> {
    let value = &message.facts["value"];
    if value["$class"] != "omq.common.message.Request" {
        return None;
    }
    let compressed = message.facts["gzip"] == true;
    let encoding = Encoding { compression: if compressed { Compression::Gzip } else { Compression::None }, ..Encoding::JAVA };
    let encodings = encodings(encoding);
    let (read_as, request) = encodings.decode_request(&MessageType::Java, &message.bytes).unwrap();
    let name = &message.name;
    assert_eq!(read_as, encoding, "{name}");
    assert_eq!(request.method, value["method"].as_str().unwrap(), "{name}");
    assert_eq!(request.id.as_deref(), value["id"].as_str(), "{name}");
    assert_eq!(request.asynchronous, value["async"].as_bool().unwrap(), "{name}");
    let params: Vec<Value> = request.params.iter().map(|param| parsed(param)).collect();
    assert_eq!(params, plain(&value["params"]).as_array().cloned().unwrap_or_default(), "{name}");
    let answer = if request.asynchronous { Answer::Unwanted } else { Answer::Wanted };
    let call = Call { method: &request.method, id: request.id.as_deref().unwrap(), answer };
    let written = encodings.encode_request(&call, &request.params.first()).unwrap();
    let (_, again) = encodings.decode_request(&MessageType::Java, &written).unwrap();
    let milliseconds = |params: &[Box<RawValue>]| params.iter().map(|param| without_micros(parsed(param))).collect::<Vec<_>>();
    assert_eq!(milliseconds(&again.params), milliseconds(&request.params), "{name}");
    Some(written)
}

fn response(message: &Captured) -> Option<Vec<u8>> {
    let value = &message.facts["value"];
    if value["$class"] != "omq.common.message.Response" {
        return None;
    }
    let encodings = encodings(Encoding::JAVA);
    let name = &message.name;
    let response = encodings.decode_response(&message.bytes).unwrap();
    assert_eq!(response.id.as_deref(), value["id"].as_str(), "{name}");
    assert_eq!(response.reference.as_deref(), value["idOmq"].as_str(), "{name}");
    match &response.outcome {
        Ok(result) => assert_eq!(result.as_deref().map(parsed).unwrap_or_default(), plain(&value["result"]), "{name}"),
        Err(error) => {
            let message = value["error"]["message"].as_str().unwrap_or_default();
            assert_eq!((&*error.kind, &*error.message), (value["error"]["type"].as_str().unwrap(), message), "{name}");
        }
    }
    let method = name.strip_prefix("response-").unwrap().split('-').next().unwrap();
    let none = serde_json::value::to_raw_value(&()).unwrap();
    let outcome = response.outcome.as_ref().map(|result| result.as_deref().unwrap_or(&none));
    let answered = Answered { method, id: response.id.as_deref().unwrap(), reference: response.reference.as_deref().unwrap() };
    Some(encodings.encode_response(Encoding::JAVA, &answered, outcome).unwrap())
}

/// The same with dates cut to milliseconds.
fn without_micros(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, without_micros(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(list) => list.into_iter().map(without_micros).collect(),
        Value::String(text) if text.ends_with("123456Z") => text.replace("123456Z", "123Z").into(),
        other => other,
    }
}

#[test]
fn captured_messages_are_read_and_written_back_byte_for_byte() {
    let (mut exact, mut all) = (0, 0);
    for message in captured("java") {
        let written = request(&message).or_else(|| response(&message)).unwrap();
        all += 1;
        if message.is_canonical() {
            exact += 1;
            assert!(written == message.bytes, "{}", message.name);
        }
    }
    assert_eq!((exact, all), (23, 28));
    let [compressed] = &captured("gzip")[..] else { panic!() };
    let written = request(compressed).unwrap();
    assert!(written.starts_with(&[0x1f, 0x8b]));
    let plain = captured("java").into_iter().find(|message| message.name == "request-commit-2items").unwrap();
    assert!(*encodings(Encoding::JAVA).open(&compressed.bytes).unwrap() == plain.bytes);
}

fn run(command: &mut Command) {
    let output = command.output().expect("a JDK is needed: install the Debian package default-jdk-headless");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An `ObjectInputStream` reads what is written, and an `ObjectOutputStream` writes the very same again.
#[test]
fn what_is_written_a_jdk_reads_and_writes_the_same() {
    let work = tempfile::tempdir().unwrap();
    let (classes, ours, theirs) = (work.path().join("classes"), work.path().join("ours"), work.path().join("theirs"));
    for folder in [&classes, &ours, &theirs] {
        std::fs::create_dir(folder).unwrap();
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/legacy/tests/java");
    let files = std::fs::read_dir(sources).unwrap().map(|entry| entry.unwrap().path());
    run(Command::new("javac").arg("-Xlint:none").arg("-d").arg(&classes).args(files));
    for message in captured("java") {
        let written = request(&message).or_else(|| response(&message)).unwrap();
        std::fs::write(ours.join(&message.name), written).unwrap();
        std::fs::write(ours.join(format!("original {}", message.name)), message.bytes).unwrap();
    }
    let odd = json!([{"filename": "😀 a\u{0} 中 é", "chunks": [], "isFolder": false, "version": 1, "ours": 7, "revision": 5}]);
    let odd = serde_json::value::to_raw_value(&odd).unwrap();
    let answered = Answered { method: "getChanges", id: "i", reference: "r" };
    std::fs::write(ours.join("odd"), encodings(Encoding::JAVA).encode_response(Encoding::JAVA, &answered, Ok(&odd)).unwrap())
        .unwrap();
    run(Command::new("java").args(["-XX:TieredStopAtLevel=1", "-cp"]).arg(&classes).arg("Echo").args([&ours, &theirs]));
    for file in std::fs::read_dir(&ours).unwrap().map(|entry| entry.unwrap().path()) {
        let (our, their) = (std::fs::read(&file).unwrap(), std::fs::read(theirs.join(file.file_name().unwrap())).unwrap());
        assert!(our == their, "{}: {}", file.display(), String::from_utf8_lossy(&their));
    }
}
