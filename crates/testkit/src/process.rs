//! Child processes that cannot outlive the test.
//!
//! Every child runs under a small shell that kills it as soon as the shell's standard input closes. The
//! kernel closes that pipe however the test process ends, by SIGKILL too.

use crate::{Error, Result, wait};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The signals tests send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Orderly stop.
    Term,
    /// Interrupt, as Ctrl-C.
    Int,
    /// Sudden death.
    Kill,
    /// Look at the files again.
    Hangup,
    /// Freeze.
    Stop,
    /// Thaw.
    Cont,
}

/// What to start.
#[derive(Debug)]
pub struct Spec {
    name: String,
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    drop_env_prefixes: Vec<&'static str>,
    log: PathBuf,
    input: Option<PathBuf>,
}

impl Spec {
    /// A program whose standard error goes to the end of `log`.
    pub fn new(
        name: impl Into<String>,
        program: impl AsRef<OsStr>,
        log: impl Into<PathBuf>,
    ) -> Spec {
        Spec {
            name: name.into(),
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            drop_env_prefixes: Vec::new(),
            log: log.into(),
            input: None,
        }
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Spec {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Spec {
        self.env
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Hides inherited environment variables that begin with `prefix` from the child.
    pub fn without_env(mut self, prefix: &'static str) -> Spec {
        self.drop_env_prefixes.push(prefix);
        self
    }

    /// Gives the child a file as standard input (default: nothing).
    pub fn input(mut self, file: impl Into<PathBuf>) -> Spec {
        self.input = Some(file.into());
        self
    }

    /// Starts it with standard output going to the log too.
    ///
    /// # Errors
    /// The shell or the program could not be started.
    pub fn start(self) -> Result<Process> {
        self.launch(false)
    }

    /// Starts it with standard output read line by line through [`Process::lines`].
    ///
    /// # Errors
    /// As [`Spec::start`].
    pub fn start_with_lines(self) -> Result<Process> {
        self.launch(true)
    }

    fn launch(self, keep_lines: bool) -> Result<Process> {
        let mut command = Command::new("sh");
        command
            .args(["-c", SUPERVISOR, "sh"])
            .arg(if keep_lines { "/dev/fd/1" } else { "/dev/fd/2" })
            .arg(self.input.as_deref().unwrap_or(Path::new("/dev/null")))
            .arg(&self.log)
            .arg(&self.program)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if self.drop_env_prefixes.iter().any(|p| name.starts_with(p)) {
                command.env_remove(&key);
            }
        }
        command.envs(self.env);
        let mut supervisor = command
            .spawn()
            .map_err(Error::io(format!("start {}", self.name)))?;
        let stdout = supervisor.stdout.take().map(BufReader::new);
        let (sender, lines) = sync_channel(LINE_QUEUE);
        std::thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|out| out.lines()) {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let pid = lines
            .recv()
            .ok()
            .and_then(|line| line.trim().parse().ok())
            .ok_or_else(|| Error::Answer(format!("the shell did not start {}", self.name)))?;
        Ok(Process {
            name: self.name,
            pid,
            supervisor,
            log: self.log,
            lines: Mutex::new(lines),
        })
    }
}

/// Lines of output kept for a slow reader; then the child waits in `write`.
const LINE_QUEUE: usize = 10_000;

/// Arguments: where standard output goes, standard input, the log, the program and its arguments.
/// The inner shell prints its process id and becomes the program.
const SUPERVISOR: &str = r#"
out=$1 in=$2 log=$3; shift 3
exec 3<&0
sh -c 'out=$1; shift; echo $$; exec "$@" >>"$out"' sh "$out" "$@" <"$in" 2>>"$log" 3<&- &
child=$!
( exec >/dev/null 2>&1; while read -r _ <&3; do :; done; kill -KILL "$child" ) &
watch=$!
exec >/dev/null
wait "$child"; status=$?
kill -KILL "$watch"
exit "$status"
"#;

/// A running (or ended) child. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    supervisor: Child,
    log: PathBuf,
    /// Locked while somebody reads: a process may be looked at by many threads.
    lines: Mutex<Receiver<String>>,
}

impl Process {
    /// Process id of the program itself (not of the shell that watches it).
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where standard error (and output, unless read as lines) goes.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Lines of standard output; the iterator ends with the program. Only for
    /// [`Spec::start_with_lines`].
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        std::iter::from_fn(|| self.receiver().recv().ok())
    }

    /// Hands the lines over, for a reader of its own; [`Process::lines`] is empty from now on.
    pub fn take_lines(&mut self) -> Receiver<String> {
        let (_, closed) = sync_channel(0);
        std::mem::replace(&mut *self.receiver(), closed)
    }

    /// The next line of standard output, if one comes within `limit`.
    pub fn next_line(&self, limit: Duration) -> Option<String> {
        self.receiver().recv_timeout(limit).ok()
    }

    fn receiver(&self) -> MutexGuard<'_, Receiver<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a signal; no error if the program has ended already.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            send_signal(self.pid, signal);
        }
    }

    /// True until the program has ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.supervisor.try_wait(), Ok(None))
    }

    /// Exit status if the program has ended; 128 + n after signal n.
    pub fn exit_status(&mut self) -> Option<i32> {
        let status = self.supervisor.try_wait().ok().flatten()?;
        Some(status.code().unwrap_or(-1))
    }

    /// Waits for the end of the program.
    ///
    /// # Errors
    /// [`Error::Timeout`] if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<i32> {
        let what = format!("the end of {}", self.name);
        wait::until(&what, limit, || Ok(self.exit_status()))
    }

    /// Kills the program (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        drop(self.supervisor.stdin.take());
        // Output that nobody reads must not keep the reader thread, and so the pipe, alive.
        drop(self.take_lines());
        let _ = self.supervisor.wait();
    }

    /// Resident memory now, bytes (`VmRSS`).
    pub fn resident_bytes(&self) -> Option<u64> {
        self.status_kib("VmRSS:")
    }

    /// Highest resident memory so far, bytes (`VmHWM`).
    pub fn peak_resident_bytes(&self) -> Option<u64> {
        self.status_kib("VmHWM:")
    }

    /// Number of open file descriptors.
    pub fn open_files(&self) -> Option<usize> {
        Some(fs::read_dir(format!("/proc/{}/fd", self.pid)).ok()?.count())
    }

    /// User plus system time used so far, in clock ticks of the kernel (1/100 s on Linux).
    pub fn cpu_ticks(&self) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
        let user: u64 = fields.get(11)?.parse().ok()?;
        let system: u64 = fields.get(12)?.parse().ok()?;
        Some(user + system)
    }

    fn status_kib(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find(|line| line.starts_with(field))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a text, for error messages.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn send_signal(pid: u32, signal: Signal) {
    let name = match signal {
        Signal::Term => "TERM",
        Signal::Int => "INT",
        Signal::Hangup => "HUP",
        Signal::Kill => "KILL",
        Signal::Stop => "STOP",
        Signal::Cont => "CONT",
    };
    // The shell's own kill: the program `kill` is not installed everywhere.
    let _ = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Spec {
        Spec::new("script", "sh", "/dev/null").args(["-c", script])
    }

    fn exists(pid: u32) -> bool {
        // A zombie waits for its parent only; it runs no more.
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn output_and_status_are_those_of_the_program() {
        let mut child = shell("echo one; echo two; exit 7")
            .start_with_lines()
            .unwrap();
        assert_eq!(child.lines().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(child.wait(LIMIT).unwrap(), 7);
    }

    #[test]
    fn signals_reach_the_program() {
        let mut child = shell("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")
            .start_with_lines()
            .unwrap();
        assert_eq!(child.next_line(LIMIT).as_deref(), Some("ready"));
        child.signal(Signal::Term);
        assert_eq!(child.wait(LIMIT).unwrap(), 9);
    }

    #[test]
    fn dropping_kills_even_a_frozen_program() {
        let mut child = shell("exec sleep 1000").start().unwrap();
        let pid = child.pid();
        child.signal(Signal::Stop);
        assert!(exists(pid));
        drop(child);
        wait::until_true("the child to be gone", LIMIT, || !exists(pid)).unwrap();
    }

    #[test]
    fn a_killed_test_process_leaves_no_children() {
        // A stand-in for a test process: it holds the pipe and is killed with SIGKILL.
        let mut owner = Command::new("sh")
            .args([
                "-c",
                "sleep 1000 | sh -c \"$0\" sh /dev/fd/1 /dev/null /dev/null sleep 2000",
            ])
            .arg(SUPERVISOR)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(owner.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let pid: u32 = line.trim().parse().unwrap();
        assert!(exists(pid));
        let holder = children_of(owner.id())
            .into_iter()
            .find(|child| command_of(*child).contains("sleep"))
            .unwrap();
        send_signal(holder, Signal::Kill);
        wait::until_true("the grandchild to be gone", LIMIT, || !exists(pid)).unwrap();
        let _ = owner.kill();
        let _ = owner.wait();
    }

    fn children_of(pid: u32) -> Vec<u32> {
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .unwrap()
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    }

    fn command_of(pid: u32) -> String {
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
    }
}
