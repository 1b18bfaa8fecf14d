//! What happened in worlds: how often each operation of a person, each fault, and each fault while an operation was under way.

use crate::people::Operation;
use crate::scenario::Fault;
use std::collections::BTreeMap;
use std::fmt::Write;

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

    /// Pairs that were seen, of those that there are.
    pub fn pairs_seen(&self) -> (usize, usize) {
        (self.pairs.len(), Operation::ALL.len() * Fault::ALL.len())
    }

    /// The pairs that were never seen.
    pub fn pairs_unseen(&self) -> Vec<(Operation, Fault)> {
        let all = Operation::ALL.iter().flat_map(|&operation| Fault::ALL.map(|fault| (operation, fault)));
        all.filter(|pair| !self.pairs.contains_key(pair)).collect()
    }

    /// A table: a row per fault, a column per operation.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| |");
        for operation in Operation::ALL {
            let _ = write!(text, " {operation:?} |");
        }
        text += " *alone* |\n|---|";
        text += &"---:|".repeat(Operation::ALL.len() + 1);
        for fault in Fault::ALL {
            let _ = write!(text, "\n| {fault} |");
            for &operation in Operation::ALL {
                let _ = write!(text, " {} |", short(self.pairs.get(&(operation, fault)).copied().unwrap_or(0)));
            }
            let _ = write!(text, " {} |", short(self.faults.get(&fault).copied().unwrap_or(0)));
        }
        text += "\n| *alone* |";
        for operation in Operation::ALL {
            let _ = write!(text, " {} |", short(self.operations.get(operation).copied().unwrap_or(0)));
        }
        text + " |\n"
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let operations: BTreeMap<String, u64> = self.operations.iter().map(|(key, &count)| (format!("{key:?}"), count)).collect();
        let faults: BTreeMap<String, u64> = self.faults.iter().map(|(key, &count)| (key.to_string(), count)).collect();
        let pairs: BTreeMap<String, u64> = self.pairs.iter().map(|((a, b), &count)| (format!("{a:?} x {b}"), count)).collect();
        serde_json::json!({ "operations": operations, "faults": faults, "pairs": pairs })
    }
}

/// `1234567` as `1.2M`.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}
