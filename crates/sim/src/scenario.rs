//! What a world is like: everything that a run depends on, written as the arguments that run it again.

use crate::disk::Flavour;
use crate::random::Random;
use std::collections::BTreeSet;
use std::fmt;

/// Of the worlds that could be very large, which are one in a thousand, one in so many is.
const GIANT_ONE_IN: u64 = 16;

/// Something that can go wrong, with how often in [`Rates`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A call never reaches the service.
    CallLost,
    /// A call reaches the service, its answer never comes.
    AnswerLost,
    /// A call reaches the service twice.
    CallDuplicated,
    /// A call or an answer takes long, others overtake it.
    Delayed,
    /// The connection is cut; calls under way have no answer.
    Cut,
    /// A notice is lost.
    NoticeLost,
    /// A notice comes twice.
    NoticeDuplicated,
    /// A notice is overtaken.
    NoticeReordered,
    /// The client dies and starts again.
    LaptopKilled,
    /// The laptop loses power.
    LaptopPower,
    /// The service dies and starts again.
    ServiceKilled,
    /// Both at once.
    BothKilled,
    /// The service's metadata is replaced by an older copy.
    ServiceRestored,
    /// A laptop's database of its state is gone.
    StateLost,
    /// A laptop's clock jumps.
    ClockJump,
    /// A hint of the watcher is lost.
    EventLost,
    /// A hint of the watcher comes late.
    EventLate,
    /// The watcher could not keep up.
    EventOverflow,
    /// The chunk storage takes long.
    StorageSlow,
    /// The chunk storage fails.
    StorageFails,
    /// The chunk storage loses a chunk that it acknowledged.
    ChunkLost,
    /// A bit of a stored chunk flips.
    ChunkFlipped,
    /// A bit of a chunk flips on its way.
    TransferFlipped,
    /// A disk is full for a while.
    DiskFull,
    /// A write is short.
    ShortWrite,
    /// Reading or writing a file fails.
    FileBroken,
    /// A file or folder cannot be read.
    Unreadable,
    /// The workspace's folder is not there for a while.
    RootLost,
    /// A person edits in the middle of an action on the disk.
    EditDuring,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::CallLost,
        Self::AnswerLost,
        Self::CallDuplicated,
        Self::Delayed,
        Self::Cut,
        Self::NoticeLost,
        Self::NoticeDuplicated,
        Self::NoticeReordered,
        Self::LaptopKilled,
        Self::LaptopPower,
        Self::ServiceKilled,
        Self::BothKilled,
        Self::ServiceRestored,
        Self::StateLost,
        Self::ClockJump,
        Self::EventLost,
        Self::EventLate,
        Self::EventOverflow,
        Self::StorageSlow,
        Self::StorageFails,
        Self::ChunkLost,
        Self::ChunkFlipped,
        Self::TransferFlipped,
        Self::DiskFull,
        Self::ShortWrite,
        Self::FileBroken,
        Self::Unreadable,
        Self::RootLost,
        Self::EditDuring,
    ];

    const fn index(self) -> usize {
        self as usize
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.to_string() == text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How often each fault happens when it can, in 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates([u16; Fault::ALL.len()]);

impl Rates {
    /// Nothing goes wrong.
    pub const NONE: Self = Self([0; Fault::ALL.len()]);

    /// How often.
    pub const fn of(&self, fault: Fault) -> u16 {
        self.0[fault.index()]
    }

    /// Changes how often.
    pub const fn set(&mut self, fault: Fault, per_ten_thousand: u16) {
        self.0[fault.index()] = per_ten_thousand;
    }

    /// The faults that happen at all.
    pub fn some(&self) -> impl Iterator<Item = (Fault, u16)> + '_ {
        Fault::ALL.into_iter().map(|fault| (fault, self.of(fault))).filter(|&(_, rate)| rate > 0)
    }
}

/// A workspace of a world and the people who share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The laptops that follow it, by number. Each laptop belongs to one user; the first one's user owns it.
    pub laptops: Vec<usize>,
}

/// A world. Two equal ones run alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Everything random comes out of it.
    pub seed: u64,
    /// What each laptop's file system is like; there are 1 to 5 laptops.
    pub flavours: Vec<Flavour>,
    /// The user of each laptop.
    pub users: Vec<usize>,
    /// The workspaces.
    pub workspaces: Vec<Share>,
    /// Steps of people.
    pub steps: u32,
    /// Steps that are left out. The others do what they would have done.
    pub skip: BTreeSet<u32>,
    /// Items in the folder of the first laptop of each workspace when the world begins.
    pub start: u32,
    /// Steps of the scheduler between two steps of people, at most.
    pub pause: u32,
    /// What goes wrong.
    pub rates: Rates,
    /// The bug that is planted, by name.
    pub planted: Option<String>,
}

impl Scenario {
    /// The world of this seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::stream(seed, "scenario", 0);
        let laptops = [1, 2, 2, 2, 2, 3, 3, 3, 4, 5][random.below(10)];
        let mut users: Vec<usize> = vec![0];
        for _ in 1..laptops {
            let most = users.iter().max().map_or(0, |user| user + 1);
            users.push(if random.one_in(2) { 0 } else { random.below(most + 1) });
        }
        let flavours = (0..laptops).map(|_| Flavour::draw(&mut random)).collect();
        let mut workspaces = vec![Share { laptops: (0..laptops).collect() }];
        for _ in 0..[0, 0, 0, 1, 2][random.below(5)] {
            workspaces.push(Share { laptops: (0..laptops).filter(|_| random.one_in(2)).collect() });
        }
        workspaces.retain(|share| !share.laptops.is_empty());
        let size = random.below(1_000);
        let (steps, start) = match size {
            // Each has thousands of times the work of a small one, and finds hardly more: so they are few.
            0 if random.one_in(GIANT_ONE_IN) => (20, random.between(400, 1_500) as u32),
            1..6 => (60, random.between(60, 250) as u32),
            _ => (random.between(3, 40) as u32, random.below(12) as u32),
        };
        let pause = [3, 20, 60, 200][random.below(4)];
        Self {
            seed,
            flavours,
            users,
            workspaces,
            steps,
            skip: BTreeSet::new(),
            start,
            pause,
            rates: rates(&mut random),
            planted: None,
        }
    }

    /// Parses what [`Scenario`] shows itself as.
    ///
    /// # Errors
    /// Names the argument that makes no sense.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let mut scenario: Option<Self> = None;
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} has no value"))?;
            if word == "--seed" {
                scenario = Some(Self::of(number(word, value)?));
                continue;
            }
            scenario.as_mut().ok_or("--seed comes first")?.change(word, value)?;
        }
        scenario.ok_or_else(|| "--seed is missing".into())
    }

    fn change(&mut self, word: &str, value: &str) -> Result<(), String> {
        let bad = || format!("{word} {value} makes no sense");
        match word {
            "--users" => self.users = numbers(word, value)?,
            "--flavours" => {
                self.flavours = value.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?;
            }
            "--workspaces" => {
                let share = |text: &str| numbers(word, text).map(|laptops| Share { laptops });
                self.workspaces = value.split('/').map(share).collect::<Result<_, _>>()?;
            }
            "--steps" => self.steps = number(word, value)?,
            "--start" => self.start = number(word, value)?,
            "--pause" => self.pause = number(word, value)?,
            "--skip" => self.skip = numbers(word, value)?.into_iter().collect(),
            "--planted" => self.planted = Some(value.to_owned()),
            "--faults" => {
                self.rates = Rates::NONE;
                for one in value.split(',').filter(|one| *one != "none") {
                    let (fault, rate) = one.split_once('=').ok_or_else(bad)?;
                    self.rates.set(Fault::parse(fault).ok_or_else(bad)?, number(word, rate)?);
                }
            }
            _ => return Err(format!("{word} is unknown")),
        }
        let fits = self.users.len() == self.flavours.len()
            && self.workspaces.iter().all(|share| share.laptops.iter().all(|&laptop| laptop < self.flavours.len()));
        // Several arguments may have to come together; what does not fit at the end cannot run.
        if fits || matches!(word, "--users" | "--flavours" | "--workspaces") { Ok(()) } else { Err(bad()) }
    }
}

/// In most worlds a few things go wrong, in some nothing, in some everything.
fn rates(random: &mut Random) -> Rates {
    let mut rates = Rates::NONE;
    let share = match random.below(10) {
        0 | 1 => 0,
        2..=7 => 4,
        8 => 2,
        _ => 1,
    };
    for fault in Fault::ALL {
        if random.one_in(share) {
            rates.set(fault, [20, 50, 100, 300][random.below(4)]);
        }
    }
    rates
}

fn number<T: std::str::FromStr>(word: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{word} {value} is not a number"))
}

fn numbers<T: std::str::FromStr>(word: &str, value: &str) -> Result<Vec<T>, String> {
    value.split(',').map(|one| number(word, one)).collect()
}

fn list<T: fmt::Display>(of: impl IntoIterator<Item = T>) -> String {
    of.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(",")
}

/// The arguments that run it again: the seed, and what differs from the seed's own world.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::of(self.seed);
        write!(f, "--seed {}", self.seed)?;
        if self.users != usual.users {
            write!(f, " --users {}", list(&self.users))?;
        }
        if self.flavours != usual.flavours {
            write!(f, " --flavours {}", list(&self.flavours))?;
        }
        if self.workspaces != usual.workspaces {
            let shares: Vec<String> = self.workspaces.iter().map(|share| list(&share.laptops)).collect();
            write!(f, " --workspaces {}", shares.join("/"))?;
        }
        for (word, mine, of_seed) in
            [("steps", self.steps, usual.steps), ("start", self.start, usual.start), ("pause", self.pause, usual.pause)]
        {
            if mine != of_seed {
                write!(f, " --{word} {mine}")?;
            }
        }
        if !self.skip.is_empty() {
            write!(f, " --skip {}", list(&self.skip))?;
        }
        if self.rates != usual.rates {
            let some = list(self.rates.some().map(|(fault, rate)| format!("{fault}={rate}")));
            write!(f, " --faults {}", if some.is_empty() { "none" } else { &some })?;
        }
        self.planted.as_ref().map_or(Ok(()), |bug| write!(f, " --planted {bug}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_runs_again() {
        for seed in 0..200 {
            let mut scenario = Scenario::of(seed);
            assert_eq!(scenario.to_string(), format!("--seed {seed}"));
            scenario.flavours = vec![Flavour::default()];
            scenario.users = vec![0];
            scenario.workspaces = vec![Share { laptops: vec![0] }, Share { laptops: vec![0] }];
            scenario.skip = BTreeSet::from([1, 5]);
            scenario.rates = Rates::NONE;
            scenario.rates.set(Fault::Cut, 70);
            scenario.steps += 1;
            assert_eq!(Scenario::parse(&scenario.to_string()), Ok(scenario));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "--seed x", "--seed 1 --steps", "--seed 1 --what 3", "--seed 1 --faults Cut", "--steps 1 --seed 1"] {
            assert!(Scenario::parse(text).is_err(), "{text}");
        }
    }
}
