//! Bodies that are GZIP streams, as the original writes them with `omq.compression`.

use super::EnvelopeError;
use crate::message::MESSAGE_BYTES_MAX;
use std::io::{Read, Write};

/// Longest body inside a compressed one, in bytes.
pub const INFLATED_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// Whether the body says that it is one. No other encoding begins like this.
pub fn is_compressed(body: &[u8]) -> bool {
    body.starts_with(&[0x1f, 0x8b])
}

/// The body inside. Takes memory as it comes, up to the limit.
pub fn inflate(body: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let broken = |why: String| EnvelopeError::Malformed { what: "compressed body", why };
    let mut inflated = Vec::new();
    let read = flate2::read::GzDecoder::new(body).take(INFLATED_BYTES_MAX as u64 + 1).read_to_end(&mut inflated);
    read.map_err(|error| broken(error.to_string()))?;
    if inflated.len() > INFLATED_BYTES_MAX {
        return Err(broken(format!("more than {INFLATED_BYTES_MAX} bytes")));
    }
    Ok(inflated)
}

/// The body as a compressed one.
pub fn deflate(body: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.map_err(|error| EnvelopeError::Unencodable(error.to_string()))
}
