//! A program that runs beside the test, with its output in a file.

use crate::wait;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

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
