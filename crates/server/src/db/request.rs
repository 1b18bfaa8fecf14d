//! What identifies a commit of a device, and how long its answer is kept.

use super::answer_codec::encode_item;
use super::{Commit, PlaceRule};

/// Answers that are kept per device; half as many again may be there between two trims.
pub(super) const ANSWERS_PER_DEVICE_MAX: u32 = 512;
/// How long an answer is kept, in milliseconds: a week.
pub(super) const ANSWER_KEPT_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// What identifies a commit of a device.
pub(super) struct RequestKey {
    /// Hash of the request id.
    pub(super) request: i64,
    /// Hash of everything that the answer depends on besides the state of the workspace.
    pub(super) fingerprint: [u8; 16],
}

impl RequestKey {
    /// Computed by who asks, not by the writer.
    pub(super) fn of(commit: &Commit) -> Self {
        let mut bytes = Vec::with_capacity(32 + commit.items.len() * 192);
        bytes.extend_from_slice(commit.workspace.0.as_bytes());
        bytes.push(u8::from(commit.place_rule == PlaceRule::AsOriginal));
        for item in &commit.items {
            encode_item(&mut bytes, item);
        }
        let (request, _) = hash_halves(commit.id.as_bytes());
        let (_, fingerprint) = hash_halves(&bytes);
        Self { request, fingerprint }
    }
}

/// A hash as the two sizes that are needed here.
fn hash_halves(bytes: &[u8]) -> (i64, [u8; 16]) {
    let wide = u128::from_be_bytes(*blake3::hash(bytes).as_bytes().first_chunk().unwrap_or(&[0; 16]));
    (wide as i64, wide.to_be_bytes())
}
