//! What happened in worlds: how often each operation of a person, each fault, and each fault while an operation was under way.

use crate::people::Operation;
use crate::scenario::Fault;
use std::collections::BTreeMap;

/// Counts of what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// What people did.
    pub operations: BTreeMap<Operation, u64>,
    /// What went wrong.
    pub faults: BTreeMap<Fault, u64>,
    /// What went wrong on a laptop or in the service while something that a person did was not yet everywhere.
    pub pairs: BTreeMap<(Operation, Fault), u64>,
}

impl Coverage {
    /// Adds another world's.
    pub fn add(&mut self, other: &Self) {
        for (&key, count) in &other.operations {
            *self.operations.entry(key).or_default() += count;
        }
        for (&key, count) in &other.faults {
            *self.faults.entry(key).or_default() += count;
        }
        for (&key, count) in &other.pairs {
            *self.pairs.entry(key).or_default() += count;
        }
    }
}
