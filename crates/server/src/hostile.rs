//! What must hold of the service's decoders whatever bytes come. The tests below check it with kept inputs, `fuzz/` with inputs that
//! it searches for. Not part of what others use: only tests and the feature `hostile` compile it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a check fails by panicking")]

use crate::accounts::secret::{JoinCode, Token};
use crate::legacy::catalog;
use objectmq::MessageType;
use objectmq::envelope::{Encoding, Encodings};
use objectmq::java::Catalog;
use std::sync::{Arc, LazyLock};

pub use crate::config::hostile::properties;
pub use crate::db::hostile::answer;
pub use crate::http::hostile::batch;
pub use crate::service::hostile::commit;

#[cfg(test)]
#[path = "../../../fuzz/kept.rs"]
mod kept;

/// A request of an original client, as JSON or Java serialization, compressed or not. The first byte says in which of them it claims to be,
/// and in which it is written again.
pub fn original_request(bytes: &[u8]) {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let kind = if how & 1 == 0 { MessageType::Java } else { MessageType::Gson };
    objectmq::hostile::request_in(original(how & 2 == 0), &kind, bytes);
}

/// An answer in one of the encodings of original clients.
pub fn original_response(bytes: &[u8]) {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let method = ["getChanges", "getWorkspaces", "commit", "getAccountInfo"][usize::from(how % 4)];
    objectmq::hostile::response_in(original(true), method, bytes);
}

/// A stream of Java's serialization with the original's classes.
pub fn java(bytes: &[u8]) {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(catalog);
    objectmq::hostile::java(&CATALOG, bytes);
}

fn original(java: bool) -> &'static Encodings {
    static BOTH: LazyLock<[Encodings; 2]> = LazyLock::new(|| {
        let catalog = Arc::new(catalog());
        [Encoding::JSON, Encoding::JAVA].map(|sent| Encodings::original(sent, Arc::clone(&catalog)))
    });
    &BOTH[usize::from(java)]
}

/// What somebody shows to be let in: a join code, or a token. A code is the same code as it is shown to people; a token has one spelling.
pub fn secret(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(code) = JoinCode::parse(&text) {
        let shown = code.to_string();
        assert!(shown.len() == 23 && shown.is_ascii());
        assert!(JoinCode::parse(&shown).is_some_and(|again| again.hash() == code.hash()));
        assert!(JoinCode::parse(&shown.to_lowercase()).is_some_and(|again| again.hash() == code.hash()));
    }
    if let Some(token) = Token::parse(&text) {
        assert_eq!(token.reveal(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The original's own messages stand beside what they say; the byte before is how they are taken.
    fn originals(check: impl Fn(&[u8])) {
        kept::replay(&["wire/gson", "wire/java", "wire/gzip"], |bytes| {
            for how in 0..4 {
                check(&[&[how], bytes].concat());
            }
        });
    }

    #[test]
    fn kept_messages_of_the_original_are_harmless() {
        originals(original_request);
        originals(original_response);
        kept::replay(&["hostile/original-request"], original_request);
        kept::replay(&["hostile/original-response"], original_response);
        kept::replay(&["hostile/java", "wire/java"], java);
    }

    #[test]
    fn kept_secrets_are_harmless() {
        kept::replay(&["hostile/secret"], secret);
    }

    #[test]
    fn kept_properties_are_harmless() {
        kept::replay(&["hostile/properties"], properties);
    }

    #[test]
    fn kept_answers_are_harmless() {
        kept::seeds("answer", &crate::db::hostile::some_answers());
        kept::replay(&["hostile/answer"], answer);
    }

    #[test]
    fn kept_batches_are_harmless() {
        kept::replay(&["hostile/batch"], batch);
    }

    #[test]
    fn kept_commits_are_harmless() {
        kept::replay(&["hostile/sync-request"], commit);
    }
}
