//! What must hold of the client's decoders whatever bytes come. The tests below check it with kept inputs, `fuzz/` with inputs that
//! it searches for. Not part of what others use: only tests and the feature `hostile` compile it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a check fails by panicking")]

pub use crate::disk::hostile::ignore;
pub use crate::session::hostile::{address, engine};
pub use crate::state::hostile::row;

#[cfg(test)]
#[path = "../../../fuzz/kept.rs"]
mod kept;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_rules_are_harmless() {
        kept::replay(&["hostile/ignore"], ignore);
    }

    #[test]
    fn kept_addresses_are_harmless() {
        kept::replay(&["hostile/address"], address);
    }

    #[test]
    fn kept_rows_are_harmless() {
        kept::seeds("row", &crate::state::hostile::some_rows());
        kept::replay(&["hostile/row"], row);
    }

    #[test]
    fn kept_tellings_are_harmless() {
        kept::replay(&["hostile/engine"], engine);
    }
}
