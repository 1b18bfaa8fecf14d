//! The data plane against a storage that misbehaves.
