//! What the system tells of a thread of this process.

use std::io;
use std::path::PathBuf;

/// A thread, by the file that tells of it.
#[derive(Debug)]
pub(crate) struct Thread(PathBuf);

/// What a thread does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Activity {
    /// It runs, or waits for nothing but a CPU.
    pub(crate) is_runnable: bool,
    /// CPU time that it has taken so far, in clock ticks.
    pub(crate) cpu: u64,
}

impl Thread {
    /// The calling one; `None` where the system does not tell.
    pub(crate) fn current() -> Option<Thread> {
        let link = std::fs::read_link("/proc/thread-self").ok()?;
        let path = PathBuf::from("/proc/self/task").join(link.file_name()?);
        Some(Thread(path.join("stat")))
    }

    /// What it does now.
    ///
    /// # Errors
    /// Of the system; [`io::ErrorKind::NotFound`] if the thread has ended.
    pub(crate) fn activity(&self) -> io::Result<Activity> {
        let text = std::fs::read_to_string(&self.0);
        // A thread that ends while it is looked at is no such process.
        let text = text.map_err(|error| match error.raw_os_error() {
            Some(NO_SUCH_PROCESS) => io::ErrorKind::NotFound.into(),
            _ => error,
        })?;
        parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

const NO_SUCH_PROCESS: i32 = 3;

/// `number (name) state ...`; CPU time in user and in system mode are the 14th and the 15th field. The name may hold anything.
fn parse(stat: &str) -> Option<Activity> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let is_runnable = fields.next()? == "R";
    let mut times = fields.skip(10).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(Activity {
        is_runnable,
        cpu: user + system,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_may_hold_anything() {
        let stat = "7 (a) R 1 (b)) S 1 7 7 0 -1 4194304 1 2 3 4 50 60 0 0 20";
        let expected = Activity {
            is_runnable: false,
            cpu: 110,
        };
        assert_eq!(parse(stat), Some(expected));
        assert_eq!(parse("7 (a) R 1 2"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_thread_runs() {
        let thread = Thread::current().expect("the system tells");
        assert!(thread.activity().expect("it runs").is_runnable);
    }
}
