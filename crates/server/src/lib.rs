//! The StackSync service as a library: everything that the binary `stacksync-server` does, so that tests can start it in-process.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
