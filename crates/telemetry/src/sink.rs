//! A bounded queue of lines and the thread that writes them.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const MAX_LINES: usize = 8192;
/// Bytes that may wait.
const MAX_BYTES: usize = 4 << 20;
/// Longest line; the rest is cut off.
const MAX_LINE: usize = 64 << 10;
/// How long the guard waits for standard output to be read.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes what is queued when it is dropped.
#[derive(Debug)]
pub struct LogGuard {
    queue: SyncSender<Message>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, wait) = sync_channel(1);
        // A full queue means that output is not read; its end would have to be waited for without limit.
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Accepts lines from any thread; never blocks.
#[derive(Clone)]
pub(crate) struct Sink {
    queue: SyncSender<Message>,
    state: Arc<State>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

#[derive(Default)]
struct State {
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
}

/// Starts the writer thread.
pub(crate) fn start(output: impl Write + Send + 'static) -> io::Result<(Sink, LogGuard)> {
    let (queue, lines) = sync_channel(MAX_LINES);
    let state = Arc::new(State::default());
    let of_writer = Arc::clone(&state);
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || write_lines(&lines, &of_writer, output))?;
    Ok((
        Sink {
            queue: queue.clone(),
            state,
        },
        LogGuard { queue },
    ))
}

fn write_lines(lines: &Receiver<Message>, state: &State, mut output: impl Write) {
    let mut pending: Option<Message> = None;
    while let Some(message) = pending.take().or_else(|| lines.recv().ok()) {
        // Nobody is left to tell when standard output fails, so its errors are dropped.
        match message {
            Message::Line(line) => {
                state.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
                let _ = output.write_all(&line);
            }
            Message::Flush(done) => {
                tell_dropped(state, &mut output);
                let _ = output.flush();
                let _ = done.send(());
            }
        }
        pending = lines.try_recv().ok();
        if pending.is_none() {
            tell_dropped(state, &mut output);
            let _ = output.flush();
        }
    }
}

fn tell_dropped(state: &State, output: &mut impl Write) {
    let dropped = state.dropped.swap(0, Ordering::Relaxed);
    if dropped > 0 {
        let _ = writeln!(
            output,
            "{dropped} log lines dropped because standard output was not read fast enough"
        );
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = &'a Sink;

    fn make_writer(&'a self) -> &'a Sink {
        self
    }
}

/// One call is one line.
impl Write for &Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut kept = line.get(..MAX_LINE).unwrap_or(line).to_vec();
        if kept.len() < line.len() {
            kept.push(b'\n');
        }
        let bytes = kept.len();
        let waiting = self.state.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = waiting.saturating_add(bytes) <= MAX_BYTES
            && match self.queue.try_send(Message::Line(kept)) {
                Ok(()) => true,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
            };
        if !sent {
            self.state.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("lock").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Output that nobody reads until `open` is dropped.
    struct Stalled {
        gate: Receiver<()>,
        out: Shared,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.gate.recv();
            self.out.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stalled() -> (Stalled, Sender<()>, Shared) {
        let (open, gate) = channel();
        let out = Shared::default();
        (
            Stalled {
                gate,
                out: out.clone(),
            },
            open,
            out,
        )
    }

    #[test]
    fn the_guard_writes_what_is_queued() {
        let out = Shared::default();
        let (sink, guard) = start(out.clone()).expect("thread");
        for i in 0..100 {
            (&sink)
                .write_all(format!("line {i}\n").as_bytes())
                .expect("queued");
        }
        drop(guard);
        assert_eq!(
            out.0
                .lock()
                .expect("lock")
                .iter()
                .filter(|b| **b == b'\n')
                .count(),
            100
        );
    }

    #[test]
    fn an_unread_output_blocks_nobody_and_drops_are_told() {
        let (output, open, out) = stalled();
        let (sink, guard) = start(output).expect("thread");
        let line = vec![b'x'; 1 << 20];
        for _ in 0..1000 {
            (&sink).write_all(&line).expect("never fails");
        }
        assert!(sink.state.waiting_bytes.load(Ordering::Relaxed) <= MAX_BYTES);
        drop(open);
        drop(guard);
        let text = String::from_utf8(out.0.lock().expect("lock").clone()).expect("UTF-8");
        assert!(
            text.lines().all(|line| line.len() <= MAX_LINE),
            "lines are cut"
        );
        let kept = text.lines().filter(|line| line.starts_with('x')).count();
        let all_told: u64 = text
            .lines()
            .filter_map(|line| {
                line.strip_suffix(
                    " log lines dropped because standard output was not read fast enough",
                )
            })
            .filter_map(|count| count.parse::<u64>().ok())
            .sum();
        assert_eq!(all_told, 1000 - kept as u64);
    }
}
