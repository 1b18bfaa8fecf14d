//! Against what the original's own serializer wrote, and against whatever else may come.

use super::*;
use crate::MessageType;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// What a broker that speaks JSON only does.
struct Json;
const JSON: Json = Json;

impl Json {
    fn decode_request(&self, body: &[u8]) -> Result<Request, EnvelopeError> {
        Encodings::default().decode_request(&MessageType::Gson, body).map(|(encoding, request)| {
            assert_eq!(encoding, Encoding::JSON);
            request
        })
    }

    fn encode_request(&self, call: &Call<'_>, param: &impl serde::Serialize) -> Result<Vec<u8>, EnvelopeError> {
        Encodings::default().encode_request(call, param)
    }

    fn decode_response<'a>(&self, body: &'a [u8]) -> Result<Response<'a>, EnvelopeError> {
        Encodings::default().decode_response(body)
    }

    fn encode_response(
        &self,
        id: &str,
        reference: &str,
        outcome: Result<&RawValue, &RemoteError>,
    ) -> Result<Vec<u8>, EnvelopeError> {
        Encodings::default().encode_response(Encoding::JSON, &Answered { method: "m", id, reference }, outcome)
    }
}

/// A captured message: its bytes, and what it says in neutral terms.
struct Captured {
    name: String,
    bytes: Vec<u8>,
    facts: Value,
}

fn captured() -> Vec<Captured> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/wire/gson");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "bin"));
    files.sort();
    assert_eq!(files.len(), 28, "all of them, and no other");
    let read = |bin: PathBuf| {
        let facts: Value = serde_json::from_slice(&std::fs::read(bin.with_extension("json")).unwrap()).unwrap();
        Captured { name: facts["name"].as_str().unwrap().to_owned(), bytes: std::fs::read(bin).unwrap(), facts }
    };
    files.into_iter().map(read).collect()
}

/// What stands for the text of a date; which text depends on the locale and the zone of the sender.
const SOME_DATE: &str = "some date";

/// The JSON that a value in neutral terms is encoded as.
fn plain(neutral: &Value) -> Value {
    let Value::Object(object) = neutral else { return neutral.clone() };
    if let Some(list) = object.get("$list") {
        return list.as_array().unwrap().iter().map(plain).collect();
    }
    if let Some(uuid) = object.get("$uuid") {
        return uuid.clone();
    }
    if object.contains_key("$epoch_ms") {
        return SOME_DATE.into();
    }
    let member = |(name, value): (&String, &Value)| (name.clone(), plain(value));
    object.iter().filter(|(name, value)| *name != "$class" && !value.is_null()).map(member).collect::<Map<_, _>>().into()
}

/// The same with the texts of dates replaced.
fn without_dates(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let member = |(name, value): (String, Value)| {
                let is_date = value.is_string() && name == "modifiedAt";
                (name, if is_date { SOME_DATE.into() } else { without_dates(value) })
            };
            object.into_iter().map(member).collect::<Map<_, _>>().into()
        }
        Value::Array(list) => list.into_iter().map(without_dates).collect(),
        other => other,
    }
}

fn parsed(raw: &RawValue) -> Value {
    without_dates(serde_json::from_str(raw.get()).unwrap())
}

#[test]
fn captured_requests_are_read_and_written_back_byte_for_byte() {
    let mut seen = 0;
    for Captured { name, bytes, facts } in captured() {
        let value = &facts["value"];
        if value["$class"] != "omq.common.message.Request" {
            continue;
        }
        seen += 1;
        let request = JSON.decode_request(&bytes).unwrap();
        assert_eq!(request.method, value["method"].as_str().unwrap(), "{name}");
        assert_eq!(request.id.as_deref(), value["id"].as_str(), "{name}");
        assert_eq!(request.id.as_deref(), facts["amqp"]["correlation_id"].as_str(), "{name}");
        assert_eq!(request.asynchronous, value["async"].as_bool().unwrap(), "{name}");
        let params: Vec<Value> = request.params.iter().map(|param| parsed(param)).collect();
        let expected = plain(&value["params"]);
        assert_eq!(params, expected.as_array().cloned().unwrap_or_default(), "{name}");

        let answer = if request.asynchronous { Answer::Unwanted } else { Answer::Wanted };
        let call = Call { method: &request.method, id: request.id.as_deref().unwrap(), answer };
        let written = JSON.encode_request(&call, &request.params.first()).unwrap();
        assert_eq!(String::from_utf8(written), String::from_utf8(bytes), "{name}");
        assert_eq!(Encodings::default().request_type().as_str(), facts["amqp"]["type"], "{name}");
    }
    assert_eq!(seen, 20);
}

#[test]
fn captured_responses_are_read_and_written_back_byte_for_byte() {
    let mut seen = 0;
    for Captured { name, bytes, facts } in captured() {
        let value = &facts["value"];
        if value["$class"] != "omq.common.message.Response" {
            continue;
        }
        seen += 1;
        let response = JSON.decode_response(&bytes).unwrap();
        assert_eq!(response.id.as_deref(), value["id"].as_str(), "{name}");
        assert_eq!(response.reference.as_deref(), value["idOmq"].as_str(), "{name}");
        match &response.outcome {
            Ok(result) => {
                assert!(value["error"].is_null(), "{name}");
                assert_eq!(result.as_deref().map(parsed).unwrap_or_default(), plain(&value["result"]), "{name}");
            }
            Err(error) => {
                assert_eq!(error.kind, value["error"]["type"].as_str().unwrap(), "{name}");
                assert_eq!(error.message, value["error"]["message"].as_str().unwrap_or_default(), "{name}");
            }
        }

        let none = serde_json::value::to_raw_value(&()).unwrap();
        let outcome = response.outcome.as_ref().map(|result| result.as_deref().unwrap_or(&none));
        let written =
            JSON.encode_response(response.id.as_deref().unwrap(), response.reference.as_deref().unwrap(), outcome).unwrap();
        assert_eq!(String::from_utf8(written), String::from_utf8(bytes.clone()), "{name}");
    }
    assert_eq!(seen, 8);
}

#[test]
fn requests_of_tolerated_callers_are_read() {
    let table = [
        (r#"{"method":"m"}"#, json!(["m", [], null, false])),
        (r#"{"method":"m","params":null,"id":null,"async":null}"#, json!(["m", [], null, false])),
        (r#"{"async":"true","id":"i","method":"m","params":[]}"#, json!(["m", [], "i", true])),
        (r#"{"async":"False","id":"i","method":"m","params":[null,{"a":1}]}"#, json!(["m", [null, {"a": 1}], "i", false])),
        (r#" { "later" : {"x":[1]} , "method" : "m\u0061" , "params" : [ "p" ] } "#, json!(["ma", ["p"], null, false])),
    ];
    for (text, expected) in table {
        let request = JSON.decode_request(text.as_bytes()).unwrap();
        let params: Vec<Value> = request.params.iter().map(|param| parsed(param)).collect();
        assert_eq!(json!([request.method, params, request.id, request.asynchronous]), expected, "{text}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let deep = format!(r#"{{"method":"m","params":[{}]}}"#, "[".repeat(100_000));
    let many = format!(r#"{{"method":"m","params":[{}1]}}"#, "1,".repeat(PARAMS_MAX));
    let long = format!(r#"{{"method":"{}"}}"#, "m".repeat(METHOD_BYTES_MAX + 1));
    let long_id = format!(r#"{{"method":"m","id":"{}"}}"#, "i".repeat(129));
    let table = [
        "",
        "null",
        "[]",
        "7",
        "{",
        "{}",
        "garbage",
        r#"{"method":""}"#,
        r#"{"method":7}"#,
        r#"{"method":"m"} "#.trim_end_matches("} "),
        r#"{"method":"m","params":{}}"#,
        r#"{"method":"m","params":"p"}"#,
        r#"{"method":"m","async":"yes"}"#,
        r#"{"method":"m","async":1}"#,
        r#"{"method":"m","id":7}"#,
        r#"{"method":"m","method":"n"}"#,
        r#"{"method":"m"}x"#,
        &deep,
        &many,
        &long,
        &long_id,
    ];
    for text in table {
        assert!(JSON.decode_request(text.as_bytes()).is_err(), "{text:.80}");
    }
    let quoted = JSON.decode_request(format!(r#"{{"method":"m","async":"{}"}}"#, "é".repeat(100_000)).as_bytes()).unwrap_err();
    assert!(quoted.to_string().len() < 500, "input is not sent back at length");
    assert!(JSON.decode_request(b"{\"method\":\"\xff\xfe\"}").is_err());
    assert!(JSON.decode_request(b"{\"method\":\"m\",\"params\":[\"\xff\"]}").is_err());
}

#[test]
fn deeply_nested_parameters_are_passed_on_without_recursion() {
    const DEPTH: usize = 200_000;
    let text = format!(r#"{{"method":"m","params":[{}{}]}}"#, "[".repeat(DEPTH), "]".repeat(DEPTH));
    let request = JSON.decode_request(text.as_bytes()).unwrap();
    assert_eq!(request.params[0].get().len(), 2 * DEPTH);
    assert!(serde_json::from_str::<Value>(request.params[0].get()).is_err(), "whoever decodes it refuses the depth");
}

#[test]
fn other_encodings_are_named_in_the_refusal() {
    for kind in ["java", "kryo", "normalResponse", ""] {
        let refused = Encodings::default().decode_request(&MessageType::from(kind), b"{}").unwrap_err();
        assert!(refused.to_string().contains(&format!("{kind:?}")), "{refused}");
    }
}

fn original(sent: Encoding) -> Encodings {
    Encodings::original(sent, std::sync::Arc::new(crate::java::Catalog::default()))
}

const ALL: [Encoding; 4] = [
    Encoding::JSON,
    Encoding::JAVA,
    Encoding { serializer: Serializer::Json, compression: Compression::Gzip },
    Encoding { serializer: Serializer::Java, compression: Compression::Gzip },
];

#[test]
fn a_call_and_its_answer_have_one_encoding() {
    for encoding in ALL {
        let encodings = original(encoding);
        let kind = encodings.request_type();
        let call = Call { method: "m", id: "i", answer: Answer::Wanted };
        let body = encodings.encode_request(&call, &json!({"a": ["😀\u{0}", 1]})).unwrap();
        let (read_as, request) = encodings.decode_request(&kind, &body).unwrap();
        assert_eq!((read_as, encodings.guess(&kind, &body)), (encoding, encoding));
        assert_eq!((&*request.method, request.id.as_deref(), request.asynchronous), ("m", Some("i"), false));
        assert_eq!(request.params[0].get(), r#"{"a":["😀\u0000",1]}"#);
        let answered = Answered { method: "m", id: "i", reference: "r" };
        for outcome in [Ok(json!([7])), Ok(Value::Null), Err(RemoteError::new("kind", "text")), Err(RemoteError::new("kind", ""))] {
            let raw = outcome.clone().map(|value| serde_json::value::to_raw_value(&value).unwrap());
            let body = encodings.encode_response(encoding, &answered, raw.as_deref()).unwrap();
            let opened = encodings.open(&body).unwrap();
            let response = encodings.decode_response(&opened).unwrap();
            assert_eq!((response.id.as_deref(), response.reference.as_deref()), (Some("i"), Some("r")));
            assert_eq!(response.outcome.map(|result| result.as_deref().map(parsed).unwrap_or_default()), outcome);
        }
    }
}

#[test]
fn only_who_wants_to_reads_what_the_original_sends() {
    let body = original(Encoding::JAVA).encode_request(&Call { method: "m", id: "i", answer: Answer::Wanted }, &()).unwrap();
    let refused = Encodings::default().decode_request(&MessageType::Java, &body).unwrap_err();
    assert!(matches!(refused, EnvelopeError::UnknownType(_)), "{refused}");
    let compressed = original(ALL[2]).encode_request(&Call { method: "m", id: "i", answer: Answer::Wanted }, &()).unwrap();
    assert!(Encodings::default().decode_request(&MessageType::Gson, &compressed).is_err());
    assert_eq!(Encodings::default().guess(&MessageType::Java, &body), Encoding::JSON);
    let kryo = original(Encoding::JAVA).decode_request(&MessageType::from("kryo"), b"\x01").unwrap_err();
    assert_eq!(kryo.to_string(), r#"messages of the type "kryo" are not read here"#);
}

#[test]
fn a_compressed_body_is_inflated_up_to_a_limit() {
    let bomb = gzip::deflate(&vec![0; 20 << 20]).unwrap();
    assert!(bomb.len() < 1 << 20);
    let refused = gzip::inflate(&bomb).unwrap_err();
    assert!(refused.to_string().contains("more than"), "{refused}");
    let whole = gzip::deflate(b"{}").unwrap();
    for end in 2..whole.len() {
        assert!(gzip::inflate(&whole[..end]).is_err(), "{end}");
    }
    assert_eq!(gzip::inflate(&whole).unwrap(), b"{}");
}

#[test]
fn what_is_no_java_request_is_refused() {
    let catalog = crate::java::Catalog::default();
    let stream = |write: &dyn Fn(&mut crate::java::Writer<'_>)| {
        let mut writer = crate::java::Writer::new(&catalog);
        write(&mut writer);
        writer.finish()
    };
    let request = |method: &str, id: &str, params: &dyn Fn(&mut crate::java::Writer<'_>)| {
        stream(&|writer| {
            writer.object(&crate::java::REQUEST).unwrap();
            writer.raw(&[0]);
            writer.text(id);
            writer.text(method);
            params(writer);
        })
    };
    let none = |writer: &mut crate::java::Writer<'_>| writer.null();
    assert!(original(Encoding::JAVA).decode_request(&MessageType::Java, &request("m", "i", &none)).is_ok());
    for body in [
        Vec::new(),
        b"{}".to_vec(),
        stream(&|writer| writer.null()),
        stream(&|writer| writer.text("m")),
        stream(&|writer| writer.object(&crate::java::RESPONSE).unwrap()),
        request("", "i", &none),
        request(&"m".repeat(METHOD_BYTES_MAX + 1), "i", &none),
        request("m", &"i".repeat(129), &none),
        request("m", "i", &|writer| writer.text("x")),
        request("m", "i", &|writer| {
            writer.objects(PARAMS_MAX + 1).unwrap();
            (0..=PARAMS_MAX).for_each(|_| writer.null());
        }),
    ] {
        assert!(original(Encoding::JAVA).decode_request(&MessageType::Java, &body).is_err(), "{body:?}");
    }
}

proptest! {
    #[test]
    fn a_request_survives(method in "\\PC{1,40}", id in "\\PC{1,40}", param in json_value(), wanted: bool) {
        let answer = if wanted { Answer::Wanted } else { Answer::Unwanted };
        let body = JSON.encode_request(&Call { method: &method, id: &id, answer }, &param).unwrap();
        let request = JSON.decode_request(&body).unwrap();
        prop_assert_eq!(&request.method, &method);
        prop_assert_eq!(request.id, Some(id));
        prop_assert_eq!(request.asynchronous, !wanted);
        let params: Vec<Value> = request.params.iter().map(|param| serde_json::from_str(param.get()).unwrap()).collect();
        prop_assert_eq!(params, Some(param).into_iter().filter(|param| !param.is_null()).collect::<Vec<_>>());
    }

    #[test]
    fn a_response_survives(id in "\\PC{0,40}", outcome in outcome()) {
        let raw = outcome.clone().map(|value| serde_json::value::to_raw_value(&value).unwrap());
        let body = JSON.encode_response(&id, "ref", raw.as_ref().map(|raw| &**raw)).unwrap();
        let response = JSON.decode_response(&body).unwrap();
        prop_assert_eq!(response.id, Some(id));
        let read = response.outcome.map(|raw| raw.map_or(Value::Null, |raw| serde_json::from_str(raw.get()).unwrap()));
        prop_assert_eq!(read, outcome);
    }

    #[test]
    fn nothing_that_comes_panics(body: Vec<u8>, text in "\\PC*", cut: prop::sample::Index) {
        let _ = JSON.decode_request(&body);
        let _ = JSON.decode_response(&body);
        let _ = JSON.decode_request(text.as_bytes());
        let _ = original(Encoding::JAVA).decode_request(&MessageType::Java, &body);
        let _ = original(Encoding::JAVA).open(&[&[0x1f, 0x8b][..], &body].concat());
        let whole = format!(r#"{{"method":{0},"params":[{0}],"id":{0},"result":{0},"error":{{"type":{0}}},"async":"true"}}"#, json!(text));
        let cut = cut.index(whole.len() + 1);
        let _ = JSON.decode_request(&whole.as_bytes()[..cut]);
        let _ = JSON.decode_response(&whole.as_bytes()[..cut]);
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("\\PC{0,8}", inner, 0..6).prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn outcome() -> impl Strategy<Value = Result<Value, RemoteError>> {
    prop_oneof![
        json_value().prop_map(Ok),
        ("\\PC{1,40}", "\\PC{0,40}").prop_map(|(kind, message)| Err(RemoteError { kind, message })),
    ]
}
