//! What a person sees while `sync` runs: one moving line on a terminal, a plain line for each turn elsewhere.

use super::out::Out;
use crate::driver::{Overview, Stay};
use crate::home::Home;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// The moving line is drawn so often.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// The rate is taken over the last so many seconds.
const RATE_S: f64 = 5.0;

/// Shows until finished.
pub struct Watching {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Watching {
    /// Shows no more.
    pub async fn finish(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Starts to show. `--once` shows nothing but on a terminal; JSON shows nothing at all.
pub fn watch(home: &Home, overview: watch::Receiver<Overview>, stay: Stay, out: Out) -> Watching {
    let (stop, stopped) = oneshot::channel();
    let terminal = std::io::stderr().is_terminal();
    let root = home.config().map(|config| config.root.display().to_string()).unwrap_or_default();
    let task = match (out, terminal, stay) {
        (Out::Text, true, _) => tokio::spawn(draw(overview, stopped)),
        (Out::Text, false, Stay::ForGood) => tokio::spawn(tell(overview, root, stopped)),
        (Out::Text, false, Stay::Once) | (Out::Json, _, _) => tokio::spawn(async {}),
    };
    Watching { task, stop }
}

async fn draw(overview: watch::Receiver<Overview>, mut stopped: oneshot::Receiver<()>) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let mut pace = Pace::default();
    let start = Instant::now();
    loop {
        let now = overview.borrow().clone();
        pace.note(start.elapsed().as_secs_f64(), &now);
        bar.set_message(line(&now, &pace));
        bar.tick();
        tokio::select! {
            _ = &mut stopped => break,
            () = tokio::time::sleep(DRAW_EVERY) => {}
        }
    }
    bar.finish_and_clear();
}

/// A line whenever the state turns, not for every file.
async fn tell(mut overview: watch::Receiver<Overview>, root: String, mut stopped: oneshot::Receiver<()>) {
    let mut told = String::new();
    loop {
        let turn = turn(&overview.borrow_and_update());
        if let Some(turn) = turn.filter(|turn| *turn != told) {
            eprintln!("{root}: {turn}");
            told = turn;
        }
        tokio::select! {
            _ = &mut stopped => return,
            changed = overview.changed() => if changed.is_err() { return },
        }
    }
}

/// The state in a few words; `None` while it is on its way to another one.
fn turn(now: &Overview) -> Option<String> {
    let settled = now.workspaces.iter().all(|(_, snapshot)| snapshot.settled);
    let held: usize = now.workspaces.iter().map(|(_, snapshot)| snapshot.held).sum();
    let problems: usize = now.workspaces.iter().map(|(_, snapshot)| snapshot.problems.len()).sum();
    if now.paused {
        return Some("paused".into());
    }
    if !now.connected {
        return (!now.trouble.is_empty()).then(|| format!("not connected: {}", now.trouble));
    }
    if held > 0 {
        return Some(format!("{held} deletions are held; `stacksync approve` or `stacksync restore`"));
    }
    if settled && problems > 0 {
        return Some(format!("{problems} problems; `stacksync status` lists them"));
    }
    now.in_sync().then(|| "in sync".into())
}

/// How fast it goes: items and bytes per second.
#[derive(Clone, Debug, Default, PartialEq)]
struct Pace {
    at_s: f64,
    done_items: f64,
    bytes: u64,
    open_before: usize,
    items_per_s: f64,
    bytes_per_s: f64,
}

impl Pace {
    fn note(&mut self, at_s: f64, now: &Overview) {
        let passed = at_s - self.at_s;
        if passed <= 0.0 {
            return;
        }
        let bytes = now.sent_bytes + now.received_bytes;
        let done = self.open_before.saturating_sub(now.open_items()) as f64;
        let weight = (passed / RATE_S).min(1.0);
        self.items_per_s += (done / passed - self.items_per_s) * weight;
        self.bytes_per_s += (bytes.saturating_sub(self.bytes) as f64 / passed - self.bytes_per_s) * weight;
        self.done_items += done;
        (self.at_s, self.bytes, self.open_before) = (at_s, bytes, now.open_items());
    }

    /// Seconds until nothing is open, if that can be told.
    fn left_s(&self) -> Option<u64> {
        (self.open_before > 0 && self.items_per_s > 0.1).then(|| (self.open_before as f64 / self.items_per_s) as u64)
    }
}

fn line(now: &Overview, pace: &Pace) -> String {
    if let Some(turn) = turn(now) {
        return if turn == "in sync" { format!("in sync, {} items", now.items()) } else { turn };
    }
    let open = now.open_items();
    let (up, down) = (size(now.sent_bytes as f64), size(now.received_bytes as f64));
    let mut text =
        if open == 0 { "looking at the folder".to_owned() } else { format!("{open} items to do, {} done", pace.done_items) };
    text += &format!(" | {up} up, {down} down, {}/s", size(pace.bytes_per_s));
    if let Some(left) = pace.left_s() {
        text += &format!(" | {} left", indicatif::HumanDuration(Duration::from_secs(left)));
    }
    text
}

fn size(bytes: f64) -> String {
    indicatif::BinaryBytes(bytes.max(0.0) as u64).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Snapshot;

    fn overview(open: usize, sent_bytes: u64) -> Overview {
        let snapshot = Snapshot { online: true, items: 7, open, settled: open == 0, ..Snapshot::default() };
        Overview { connected: true, sent_bytes, workspaces: vec![("default".into(), snapshot)], ..Overview::default() }
    }

    #[test]
    fn the_line_tells_items_bytes_rate_and_time_left() {
        let mut pace = Pace::default();
        pace.note(1.0, &overview(1_000, 0));
        for second in 2..60_u32 {
            pace.note(f64::from(second), &overview(1_000 - 10 * second as usize, u64::from(second) * 1_048_576));
        }
        let line = line(&overview(410, 59 * 1_048_576), &pace);
        assert!(line.starts_with("410 items to do, 590 done | 59.00 MiB up"), "{line}");
        assert!(line.contains("1024.00 KiB/s") && line.ends_with(" seconds left"), "{line}");
    }

    #[test]
    fn turns_are_told_and_nothing_in_between() {
        assert_eq!(turn(&overview(0, 0)).as_deref(), Some("in sync"));
        assert_eq!(turn(&overview(3, 0)), None);
        assert_eq!(turn(&Overview { paused: true, ..overview(3, 0) }).as_deref(), Some("paused"));
        let away = Overview { connected: false, trouble: "no route".into(), ..overview(0, 0) };
        assert_eq!(turn(&away).as_deref(), Some("not connected: no route"));
        assert_eq!(turn(&Overview::default()), None);
    }
}
