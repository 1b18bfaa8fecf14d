//! A program that runs beside the test, with its output in a file.

use crate::wait;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// Of the processor times that the kernel tells.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running program. It is killed when this goes away.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Most memory it ever had, in bytes.
    pub memory_peak: u64,
    /// CPU time, in clock ticks (1/100 s).
    pub cpu_ticks: u64,
    /// How often it gave up the CPU to wait, over all its threads: its wake-ups.
    pub wake_ups: u64,
}

impl Running {
    /// Starts it; what it prints is appended to `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log file can be made");
        let copy = file.try_clone().expect("a file can be opened twice");
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        Self { child, log: log.to_path_buf() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `Some` when it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM) and waits until it did.
    ///
    /// # Panics
    /// If it does not.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        wait::until("the program ends when asked", || self.ended().ok_or_else(|| self.log_tail()))
    }

    /// Sends a signal; nothing happens if it has ended.
    pub fn signal(&self, signal: rustix::process::Signal) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// The last lines that it printed.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        usage_of(self.pid())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process has used so far; zeros if it is gone.
pub fn usage_of(pid: u32) -> Usage {
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let number = |text: &str, key: &str| -> u64 {
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    let stat = read(format!("/proc/{pid}/stat"));
    // After the name in brackets: state is field 3, utime 14, stime 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let field = |at: usize| fields.get(at - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    Usage {
        memory_peak: number(&read(format!("/proc/{pid}/status")), "VmHWM:") * 1024,
        cpu_ticks: field(14) + field(15),
        wake_ups: tasks
            .map(|task| number(&read(task.path().join("status").display().to_string()), "voluntary_ctxt_switches:"))
            .sum(),
    }
}

/// Processor time that a process and all that it started and that lives have used so far, in seconds.
pub fn processor_seconds(pid: u32) -> f64 {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: HashMap<u32, u32> = processes.filter_map(|process| Some((process, parent_of(process)?))).collect();
    let is_below = |process: u32| std::iter::successors(Some(process), |at| parents.get(at).copied()).any(|at| at == pid);
    let ticks: u64 = parents.keys().filter(|process| is_below(**process)).map(|process| usage_of(*process).cpu_ticks).sum();
    ticks as f64 / TICKS_PER_SECOND
}

/// Processor time that this very process has used so far, without those that it started, in seconds.
pub fn own_seconds() -> f64 {
    usage_of(std::process::id()).cpu_ticks as f64 / TICKS_PER_SECOND
}

/// From now on the most memory that a process ever had counts anew.
pub fn forget_memory_peak(pid: u32) {
    // Without it the peak is that since the start.
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Memory that a process has now, in bytes.
pub fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

/// The process whose number a script left in this file.
///
/// # Panics
/// If it did not.
pub fn pid_in(file: &Path) -> u32 {
    let text = std::fs::read_to_string(file).expect("the script left the number of the process");
    text.trim().parse().expect("a number")
}

/// Runs a program to its end.
///
/// # Panics
/// If it cannot be started, or does not end within `patience`.
pub fn run(mut command: Command, patience: Duration) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let what = format!("{command:?}");
    let child = command.spawn().unwrap_or_else(|error| panic!("{what} cannot be started: {error}"));
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = send.send(child.wait_with_output());
    });
    let Ok(output) = receive.recv_timeout(patience) else {
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::ABORT);
        }
        let printed = receive.recv().ok().and_then(Result::ok).map(|output| printed(&output)).unwrap_or_default();
        panic!("{what} did not end within {} s; it printed:\n{printed}", patience.as_secs());
    };
    output.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Both outputs as text.
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The last lines of a file.
pub fn tail(file: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
