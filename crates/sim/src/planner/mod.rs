//! Cases for the planner alone: random triples of trees, far more of them than whole worlds can be run.
//!
//! A case begins with a tree that both sides agree on; then the service's side and the disk's side go their ways, and the plan is
//! carried out, by itself, until it has nothing left to do. What must hold: the planner answers always and always the same, never proposes
//! what the service would refuse, never touches bytes that only the disk has, comes to an end, and leaves both sides equal with every edit
//! alive. A quarter of the cases are *wild*: three trees that have nothing to do with each other, for which it only has to answer.

mod carry;
mod case;
mod values;

use crate::Random;
use crate::failing::caught;
use case::Case;
use std::fmt;

/// What a planner case broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The rule, in a few words.
    pub rule: &'static str,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

/// What the cases of a run were like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases.
    pub cases: u64,
    /// Decisions that the planner made.
    pub decisions: u64,
    /// Cases in which items waited for each other in a circle.
    pub circles: u64,
    /// Cases in which a conflict copy was made.
    pub copies: u64,
    /// Cases whose trees were drawn without regard to each other.
    pub wild: u64,
}

impl Tally {
    /// Adds another part's.
    pub fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.decisions += other.decisions;
        self.circles += other.circles;
        self.copies += other.copies;
        self.wild += other.wild;
    }
}

/// Runs one case.
///
/// # Errors
/// The first rule that it broke; a panic of the planner is one.
pub fn run(seed: u64) -> Result<Tally, Broken> {
    caught(|| run_one(seed)).unwrap_or_else(|text| Err(Broken { rule: "the planner answers always", text }))
}

fn run_one(seed: u64) -> Result<Tally, Broken> {
    let mut random = Random::stream(seed, "planner", 0);
    let mut tally = Tally { cases: 1, ..Tally::default() };
    if random.one_in(4) {
        tally.wild = 1;
        Case::wild(&mut random).only_answers(&mut tally)?;
    } else {
        let mut case = Case::evolved(&mut random);
        let promise = case.promise();
        case.carry_out(&mut tally)?;
        case.keeps(&promise)?;
    }
    Ok(tally)
}

/// The same case with a line for everything that is decided.
pub fn trace(seed: u64) -> Vec<String> {
    let mut random = Random::stream(seed, "planner", 0);
    let wild = random.one_in(4);
    let mut case = if wild { Case::wild(&mut random) } else { Case::evolved(&mut random) };
    case.trace = Some(Vec::new());
    case.describe();
    let end = caught(|| {
        let mut tally = Tally::default();
        let result = if wild { case.only_answers(&mut tally) } else { case.carry_out(&mut tally) };
        case.describe();
        format!("{result:?}")
    });
    let mut lines = case.trace.take().unwrap_or_default();
    lines.push(end.unwrap_or_else(|panic| panic));
    lines
}

#[cfg(test)]
mod tests {
    #[test]
    fn random_cases_hold() {
        for seed in 0..3_000 {
            if let Err(broken) = super::run(seed) {
                panic!("--planner-seed {seed}: {broken}\n{}", super::trace(seed).join("\n"));
            }
        }
    }
}
