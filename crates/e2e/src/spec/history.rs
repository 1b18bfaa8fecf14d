//! What people are to do, and when devices are off: out of a seed. A step says what kind of thing is done and by which throw of the
//! dice; on which file is decided when it is done. So any step can be left out, and the others stay what they were.

use crate::random::Random;
use std::collections::BTreeSet;

/// A kind of thing that people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Makes a file.
    Create,
    /// Replaces a file's content.
    Edit,
    /// Moves a file.
    Move,
    /// Deletes a file.
    Delete,
    /// Makes a folder.
    MakeFolder,
    /// Moves a folder.
    MoveFolder,
    /// Deletes a small folder with all that is in it.
    DeleteFolder,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Somebody does something.
    Do {
        /// On this device.
        device: usize,
        /// What.
        verb: Verb,
        /// With these dice.
        dice: u64,
    },
    /// The device goes off, if the tool knows of that.
    Stop(usize),
    /// The device goes on.
    Start(usize),
    /// Some time passes, in milliseconds.
    Wait(u64),
    /// All that is under way comes to its end.
    Settle,
}

/// A list of actions, numbered as they came out of the seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The seed.
    pub seed: u64,
    /// Number of devices.
    pub devices: usize,
    /// The actions that are left.
    pub actions: Vec<(u32, Action)>,
}

const VERBS: [Verb; 14] = [
    Verb::Create,
    Verb::Create,
    Verb::Create,
    Verb::Edit,
    Verb::Edit,
    Verb::Edit,
    Verb::Edit,
    Verb::Move,
    Verb::Move,
    Verb::Delete,
    Verb::Delete,
    Verb::MakeFolder,
    Verb::MoveFolder,
    Verb::DeleteFolder,
];

impl History {
    /// The history of a seed: two to four devices, and some rounds of work that each end settled.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let devices = 2 + random.below(3);
        let mut actions: Vec<Action> = (0..12)
            .map(|number| Action::Do {
                device: 0,
                verb: if number < 3 { Verb::MakeFolder } else { Verb::Create },
                dice: random.next(),
            })
            .collect();
        actions.push(Action::Settle);
        for _ in 0..3 {
            round(devices, &mut random, &mut actions);
        }
        Self { seed, devices, actions: (0..).zip(actions).collect() }
    }

    /// Only these actions of it.
    #[must_use]
    pub fn only(&self, numbers: &BTreeSet<u32>) -> Self {
        let actions = self.actions.iter().copied().filter(|(number, _)| numbers.contains(number)).collect();
        Self { actions, ..self.clone() }
    }

    /// The arguments that repeat it.
    pub fn replay(&self) -> String {
        let numbers: Vec<String> = self.actions.iter().map(|(number, _)| number.to_string()).collect();
        if self.actions.len() == Self::of(self.seed).actions.len() {
            return format!("--seed {}", self.seed);
        }
        format!("--seed {} --only {}", self.seed, numbers.join(","))
    }
}

fn round(devices: usize, random: &mut Random, actions: &mut Vec<Action>) {
    // In half of the rounds everybody is off, in the others most are on.
    let all_off = random.below(2) == 0;
    for device in 0..devices {
        let off = all_off || random.below(4) == 0;
        actions.push(if off { Action::Stop(device) } else { Action::Start(device) });
    }
    for _ in 0..4 + random.below(8) {
        let device = random.below(devices);
        actions.push(Action::Do { device, verb: *random.pick(&VERBS), dice: random.next() });
        match random.below(8) {
            0 => actions.push(Action::Start(random.below(devices))),
            1 => actions.push(Action::Stop(random.below(devices))),
            2 => actions.push(Action::Wait(random.below(400) as u64)),
            _ => {}
        }
    }
    actions.push(Action::Settle);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_history_and_any_part_of_it_can_be_left_out() {
        let whole = History::of(5);
        assert_eq!(whole, History::of(5));
        assert_ne!(whole.actions, History::of(6).actions);
        let some: BTreeSet<u32> = whole.actions.iter().map(|(number, _)| *number).filter(|number| number % 3 == 0).collect();
        let part = whole.only(&some);
        assert!(part.actions.iter().all(|action| whole.actions.contains(action)));
        assert_eq!(part.actions.len(), some.len());
        assert!(part.replay().starts_with("--seed 5 --only 0,3,6,"));
        assert_eq!(whole.replay(), "--seed 5");
    }
}
