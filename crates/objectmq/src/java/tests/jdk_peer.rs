//! Against a real JDK: what it writes is read, what is written it reads. Needs `javac` and `java`.

use super::*;
use std::process::Command;

/// Compiles the fixture and runs it.
fn peer(arguments: &[&Path], mode: &str) {
    let classes = folder(&format!("classes-{mode}"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/java/tests/fixtures/Peer.java");
    run(Command::new("javac").arg("-Xlint:none").arg("-d").arg(&classes).arg(source));
    run(Command::new("java").args(["-XX:TieredStopAtLevel=1", "-cp"]).arg(&classes).args(["Peer", mode]).args(arguments));
    let _ = std::fs::remove_dir_all(classes);
}

fn run(command: &mut Command) {
    let output = command.output().expect("a JDK is needed: install the Debian package default-jdk-headless");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("stacksync-java-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn what_a_jdk_writes_is_read() {
    static COLOURS: &[Class] = &[Class { name: "Peer$Colour", uid: 0, earlier: &[], above: None, fields: &[] }];
    let catalog = Catalog::new(COLOURS, &[]);
    let samples = folder("samples");
    peer(&[&samples], "samples");
    let read_sample = |name: &str| {
        let bytes = std::fs::read(samples.join(name).with_extension("bin")).unwrap();
        let graph = read(&bytes, &catalog);
        if let Ok(graph) = &graph
            && !name.starts_with("texts")
        {
            assert!(write(graph).unwrap() == bytes, "{name}");
        }
        graph.and_then(|graph| Ok(serde_json::from_str::<Json>(to_json(&graph, &catalog, graph.root)?.get()).unwrap()))
    };
    for (name, expected) in [
        ("null", Json::Null),
        ("numbers", json!([-1, -2, 3, 4, 1.5, -2.5, "x", true, []])),
        ("texts", json!(["", "a\0b", "é中", "😀", "half \u{fffd}", "same", "same"])),
        ("long text", "é".repeat(70_000).into()),
        ("primitive arrays", json!([[1, -1], ["a"], [2], [3], [4], [0.5], [0.25], [true, false], [[1], []]])),
        (
            "moments",
            json!([
                "1969-12-31T23:59:59.999Z",
                "2015-01-02T03:04:05.123Z",
                "2015-01-02T03:04:05.123456789Z",
                "1969-12-31T23:59:58.500000001Z",
                "1970-01-01T00:00:00Z"
            ]),
        ),
        ("uuid", json!("fedcba98-7654-4321-8123-0123456789ab")),
        ("lists", json!([[1, 2], ["x", null], [], [7], [1], [2]])),
        ("maps", json!([{"b": 1, "a": [true]}, {"k": null}])),
        ("constants", json!(["RED", "RED", "GREEN"])),
        ("failure", json!({"type": "java.lang.IllegalStateException", "message": "outer \u{2028}"})),
        ("plain failure", json!({"type": "java.lang.IllegalArgumentException"})),
    ] {
        assert_eq!(read_sample(name), Ok(expected), "{name}");
    }
    assert_eq!(read_sample("circle"), Err(JavaError::TooMuch { what: "levels", limit: DEPTH_MAX }));
    assert_eq!(read_sample("unknown"), Err(JavaError::UnknownClass("java.util.PriorityQueue".into())));
    assert_eq!(read_sample("other map"), Err(JavaError::UnknownClass("java.util.TreeMap".into())));
    let _ = std::fs::remove_dir_all(samples);
}

#[test]
fn what_is_written_a_jdk_reads_and_writes_the_same() {
    let (ours, theirs) = (folder("ours"), folder("theirs"));
    let catalog = Catalog::default();
    let many: Vec<Json> = (0..20).map(|number| json!([number, "shared", number % 3 == 0])).collect();
    let values = [
        json!(null),
        json!([1, 127, 128, -128, -129, i64::MAX, 1, 128, 1.5, true, false, true]),
        json!(["", "a\0b", "😀", "x", "x", "é".repeat(70_000)]),
        many.into(),
        // A map's own bookkeeping (how large its table is) differs, and means nothing.
        json!({"only": {"one": [{}]}}),
    ];
    let maps = values.len() - 1;
    for (index, value) in values.iter().enumerate() {
        let mut writer = Writer::new(&catalog);
        writer.json(&serde_json::value::to_raw_value(value).unwrap(), Type::Any).unwrap();
        std::fs::write(ours.join(index.to_string()), writer.finish()).unwrap();
    }
    let mut writer = Writer::new(&catalog);
    writer.objects(3).unwrap();
    writer.uuid(uuid::Uuid::from_u128(7));
    writer.date(-1);
    writer.integer(5);
    std::fs::write(ours.join("objects"), writer.finish()).unwrap();
    peer(&[&ours, &theirs], "echo");
    for file in std::fs::read_dir(&ours).unwrap().map(|entry| entry.unwrap().path()) {
        let (our, their) = (std::fs::read(&file).unwrap(), std::fs::read(theirs.join(file.file_name().unwrap())).unwrap());
        if file.ends_with(maps.to_string()) {
            let said = |bytes: &[u8]| {
                let graph = read(bytes, &catalog).unwrap();
                to_json(&graph, &catalog, graph.root).unwrap().get().to_owned()
            };
            assert_eq!(said(&our), said(&their));
        } else {
            assert!(our == their, "{}: {}", file.display(), String::from_utf8_lossy(&their));
        }
    }
    let _ = (std::fs::remove_dir_all(ours), std::fs::remove_dir_all(theirs));
}
