//! The few XML documents of S3 that are read. Text only: our names need no entities, and others are skipped.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Longest text that is kept of one element.
const TEXT_BYTES_MAX: usize = 4_096;

/// Calls `each` with the path of every element that has text, outermost first, and that text. Stops quietly at what is no XML.
pub fn walk(document: &[u8], mut each: impl FnMut(&[String], &str)) {
    let Ok(document) = std::str::from_utf8(document) else { return };
    let mut reader = Reader::from_str(document);
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                text.clear();
                path.push(start.local_name().as_ref().to_owned());
            }
            Ok(Event::Text(part)) if text.len() + part.len() <= TEXT_BYTES_MAX => {
                text.push_str(&part);
            }
            Ok(Event::End(_)) => {
                each(&path, text.trim());
                text.clear();
                path.pop();
            }
            Ok(Event::Eof) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// The text of the first element with this path, e.g. `["Error", "Code"]`.
pub fn text(document: &[u8], wanted: &[&str]) -> Option<String> {
    let mut found = None;
    walk(document, |path, text| {
        if found.is_none() && path == wanted {
            found = Some(text.to_owned());
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_garbage() {
        let error = b"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please</Message></Error>";
        assert_eq!(text(error, &["Error", "Code"]).as_deref(), Some("SlowDown"));
        for garbage in [&b""[..], b"no", b"<Error><Code>", b"<a></b>", b"\xff<x/>"] {
            assert_eq!(text(garbage, &["Error", "Code"]), None);
        }
    }
}
