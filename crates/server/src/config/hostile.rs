//! What must hold of the configuration whatever stands in its file.

use super::{Origin, Value, Values, checked, read_properties, table};
use std::path::Path;

const SECRET: &str = "nobody-may-read-this";

/// A file of properties. What comes out is within the limits of the table, and no message tells a secret.
///
/// # Panics
/// When something of that does not hold.
pub fn properties(bytes: &[u8]) {
    let secrets = table::KEYS.iter().filter(|key| key.kind == table::Kind::Secret);
    let lines: String = secrets.map(|key| format!("{}={SECRET}\n", key.name)).collect();
    let file = [bytes, b"\n\n", lines.as_bytes()].concat();
    let (mut values, mut wrong) = (Values::new(), Vec::new());
    let outcome = read_properties(Path::new("f"), &file, &mut values, &mut wrong).and_then(|()| {
        // Whatever name stands there would be looked up in the network.
        values.insert("http.listen", Value { text: "127.0.0.1:0".into(), origin: Origin::Option("http.listen") });
        checked(values, wrong)
    });
    match outcome {
        Ok(config) => {
            assert!(config.workers > 0 && config.http.connections_max > 0);
            assert!(config.quota_default <= super::value::SIZE_MAX);
            assert!(!config.join_lifetime.is_zero() && !config.ticket_lifetime.is_zero());
        }
        Err(error) => {
            let text = error.to_string();
            // The file may hold the word itself, in a key for example.
            let quoted = bytes.windows(8).any(|part| SECRET.as_bytes().windows(8).any(|secret| secret == part));
            assert!(quoted || !text.contains(SECRET), "{text}");
        }
    }
}
