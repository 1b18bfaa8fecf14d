//! What goes wrong by itself: power, processes, clocks, backups, the storage's disks.

use super::World;
use super::happened::Happened;
use crate::scenario::Fault;

/// A laptop or the service is away so long at most, in milliseconds.
const AWAY_MAX_MS: u64 = 5_000;
/// A clock jumps so far at most, in nanoseconds.
const JUMP_MAX_NS: u64 = 400 * 24 * 3_600 * 1_000_000_000;
/// Misfortunes are rarer than what may go wrong with a single message: one in so many draws counts.
const RARER: u64 = 8;
/// And these are rarer still.
const RARE: u64 = 4;

/// What may happen at any moment.
const MISFORTUNES: [Fault; 9] = [
    Fault::LaptopKilled,
    Fault::LaptopPower,
    Fault::ServiceKilled,
    Fault::BothKilled,
    Fault::ServiceRestored,
    Fault::StateLost,
    Fault::ClockJump,
    Fault::ChunkLost,
    Fault::ChunkFlipped,
];

impl World {
    /// Perhaps something goes wrong.
    pub(super) fn misfortune(&mut self) {
        if !self.random.one_in(RARER) {
            return;
        }
        let fault = MISFORTUNES[self.random.below(MISFORTUNES.len())];
        // Going back takes a copy first, and is rare enough by that.
        let rare = matches!(fault, Fault::StateLost | Fault::BothKilled);
        if !self.faulty(fault) || (rare && !self.random.one_in(RARE)) {
            return;
        }
        let laptop = self.random.below(self.laptops.len());
        match fault {
            Fault::LaptopKilled | Fault::LaptopPower | Fault::StateLost if self.laptops[laptop].is_up() => {
                self.note_fault(fault, Some(laptop));
                self.kill_laptop(laptop, fault);
            }
            Fault::ServiceKilled if self.service_down_until.is_none() => {
                self.note_fault(fault, None);
                self.kill_service();
            }
            Fault::BothKilled if self.laptops[laptop].is_up() && self.service_down_until.is_none() => {
                self.note_fault(fault, Some(laptop));
                self.kill_laptop(laptop, Fault::LaptopPower);
                self.kill_service();
            }
            Fault::ServiceRestored if self.service_down_until.is_none() => self.restore_service(),
            Fault::ClockJump => {
                self.note_fault(fault, Some(laptop));
                let far = self.random.between(0, JUMP_MAX_NS) >> self.random.below(50);
                self.laptops[laptop].clock_ns += if self.random.one_in(2) { far as i64 } else { -(far as i64) };
                self.pass(0);
            }
            Fault::ChunkLost | Fault::ChunkFlipped => self.harm_chunk(fault),
            _ => {}
        }
    }

    /// The client dies, perhaps with the laptop; it starts again with what is durable.
    fn kill_laptop(&mut self, laptop: usize, how: Fault) {
        self.cut(laptop);
        // Nobody waits for what is still on its way.
        self.laptops[laptop].down_until = Some(self.now.ms + self.random.between(0, AWAY_MAX_MS));
        self.laptops[laptop].saves.clear();
        self.laptops[laptop].boots += 1;
        let (boots, now) = (self.laptops[laptop].boots, self.now_of(laptop));
        for number in self.members_of(laptop) {
            match how {
                Fault::LaptopPower => self.members[number].disk.crash(),
                _ => self.members[number].disk.restart_process(),
            }
            if how == Fault::StateLost {
                self.members[number].remembered = Default::default();
            }
            self.members[number].die(boots, now);
        }
        for call in &mut self.calls {
            if call.laptop == laptop {
                call.gives_up_at = None;
            }
        }
    }

    fn kill_service(&mut self) {
        (0..self.laptops.len()).for_each(|laptop| self.cut(laptop));
        self.service_down_until = Some(self.now.ms + self.random.between(0, AWAY_MAX_MS));
        self.calls.clear();
        self.service.restart(&self.storage);
    }

    /// The metadata goes back to the operator's copy; without one, he makes one now.
    fn restore_service(&mut self) {
        if !self.service.has_backup() || self.random.one_in(3) {
            return self.service.back_up();
        }
        self.note_fault(Fault::ServiceRestored, None);
        self.kill_service();
        self.service.restore(&self.storage);
        for workspace in 0..self.views.len() {
            self.views[workspace] = self.service.view(workspace);
        }
        self.answers.clear();
        let revisions = self.views.iter().map(|view| view.revision).collect();
        self.happened.push(Happened::WentBack { revisions });
    }

    fn harm_chunk(&mut self, fault: Fault) {
        let workspace = self.random.below(self.views.len());
        let (id, pick) = (self.workspace_id(workspace), self.random.next());
        let harmed = match fault {
            Fault::ChunkLost => self.storage.lose(id, pick),
            _ => self.storage.flip(id, pick),
        };
        if let Some(name) = harmed {
            self.note_fault(fault, None);
            self.trace.add(format_args!("  chunk {name}"));
        }
    }
}
