//! Processes of a devnet: started in a session of their own, found again by pid file and command line, ended by signal.
//!
//! A process is gone when its last thread is. Its command line goes earlier, with the first thread, while the others may
//! still hold its ports and the lock of its store; hence a descriptor of the process is waited on, which also makes sure
//! that a signal never reaches another process that was given the same number.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CONFIG_FILE: &str = "floe.toml";
const PID_FILE: &str = "node.pid";
const LOG_FILE: &str = "node.log";
/// How much of a log is looked at for its end.
const TAIL_BYTES: u64 = 8 << 10;
/// How many lines of it are shown.
const TAIL_LINES: usize = 8;

/// A process that runs the node of one directory.
#[derive(Debug)]
pub struct NodePid {
    pid: Pid,
    process: OwnedFd,
}

impl NodePid {
    /// The number.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    /// The system's refusal; that it is gone already is none.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Asks it to stop in order.
    ///
    /// # Errors
    /// The system's refusal; that it is gone already is none.
    pub fn ask_to_stop(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits until it is gone with all it held; `false` when it still runs after `patience`.
    #[must_use]
    pub fn gone_within(&self, patience: Duration) -> bool {
        let began = Instant::now();
        loop {
            let left = patience.saturating_sub(began.elapsed());
            // A patience that no clock can count is as good as one without end.
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::new(&self.process, PollFlags::IN)], timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(ready) => return ready > 0,
                Err(_) => return false,
            }
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.process, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }
}

/// A node that this process has just started.
#[derive(Debug)]
pub struct Started {
    child: Child,
    home: PathBuf,
}

impl Started {
    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(status) => status.map(|status| status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Kills it and forgets it.
    pub fn end(mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        forget(&self.home);
    }
}

/// Starts the node of `home` with the program that runs now, its output going to its log.
///
/// # Errors
/// The system's refusal.
pub fn start(home: &Path) -> io::Result<Started> {
    let log = OpenOptions::new().create(true).append(true).open(log_of(home))?;
    let child = Command::new(std::env::current_exe()?)
        .args(["node", "run", "--own-session", "--config"])
        .arg(home.join(CONFIG_FILE))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    fs::write(home.join(PID_FILE), format!("{}\n", child.id()))?;
    Ok(Started { child, home: home.to_owned() })
}

/// The process that runs the node of `home`, when one does.
#[must_use]
pub fn find(home: &Path) -> Option<NodePid> {
    let text = fs::read_to_string(home.join(PID_FILE)).ok()?;
    let pid = Pid::from_raw(text.trim().parse().ok()?)?;
    // The descriptor first: what is asked of the number afterwards is asked of the process that the descriptor holds.
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    runs(pid, home).then_some(NodePid { pid, process })
}

/// Removes the pid file of `home`.
pub fn forget(home: &Path) {
    // Absent when it was never started.
    drop(fs::remove_file(home.join(PID_FILE)));
}

/// Where the node of `home` logs.
#[must_use]
pub fn log_of(home: &Path) -> PathBuf {
    home.join(LOG_FILE)
}

/// Whether `pid` is the node of `home`: a number alone may have passed to another process. A zombie has no command line.
fn runs(pid: Pid, home: &Path) -> bool {
    let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
    let Ok(line) = fs::read(path) else { return false };
    let config = home.join(CONFIG_FILE);
    line.split(|byte| *byte == 0).any(|word| word == config.as_os_str().as_encoded_bytes())
}

/// The last lines of a log.
#[must_use]
pub fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            let shown = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
            shown.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
        }
        Err(error) => format!("    (cannot be read: {error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_that_is_now_another_process_is_not_the_node() {
        let home = tempfile::tempdir().unwrap();
        assert!(find(home.path()).is_none(), "no pid file");
        for stale in
            [std::process::id().to_string(), "1".to_owned(), "999999999".to_owned(), "x".to_owned(), String::new()]
        {
            fs::write(home.path().join(PID_FILE), &stale).unwrap();
            assert!(find(home.path()).is_none(), "{stale:?}");
        }
    }

    #[test]
    fn a_process_with_the_nodes_command_line_is_found_and_killed() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join(CONFIG_FILE);
        let script = "while true; do read -t 60 line; done";
        let mut child =
            Command::new("bash").args(["-c", script, "x"]).arg(&config).stdin(Stdio::piped()).spawn().unwrap();
        fs::write(home.path().join(PID_FILE), child.id().to_string()).unwrap();
        // A process that is just becoming another program has no command line for a moment.
        let found = (0..500).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            find(home.path())
        });
        let found = found.unwrap();
        assert!(!found.gone_within(Duration::from_millis(50)));
        found.kill().unwrap();
        assert!(found.gone_within(Duration::from_secs(5)));
        child.wait().unwrap();
        assert!(find(home.path()).is_none());
        forget(home.path());
        assert!(!home.path().join(PID_FILE).exists());
    }

    #[test]
    fn the_end_of_a_log_is_shown() {
        let home = tempfile::tempdir().unwrap();
        let log = log_of(home.path());
        assert!(tail(&log).contains("cannot be read"));
        fs::write(&log, (0..1_000).map(|line| format!("line {line}\n")).collect::<String>()).unwrap();
        let shown = tail(&log);
        assert_eq!(shown.lines().count(), TAIL_LINES);
        assert!(shown.ends_with("    line 999"), "{shown}");
    }
}
