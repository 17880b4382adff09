//! Work that would hold up the other connections of a worker: it is done aside, by a few threads that give way to workers.
//!
//! A request may name a hundred thousand things, each of which has to be looked at. Most work is not worth a way to another thread; what
//! takes longer than [`LONG`] waits for its turn here. A client has one turn at a time, over however many connections, so that
//! nobody waits for the whole queue of another.

use std::collections::HashMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use telemetry::targets::NETWORK;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Elements of a message that are worked on where it came in: less than a millisecond's worth.
pub(crate) const LONG: usize = 1024;

/// Does long work.
pub(crate) struct Aside {
    jobs: mpsc::Sender<Job>,
    /// One place for each thread, given in the order of the clients' coming.
    places: Arc<Semaphore>,
    clients: Arc<Mutex<HashMap<Who, Arc<Semaphore>>>>,
}

type Job = Box<dyn FnOnce() + Send>;

/// A virtual cluster and a user of it.
type Who = (Arc<str>, Arc<str>);

impl Aside {
    /// Starts `threads` threads. They end when this is gone and all has been done.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start(threads: usize) -> io::Result<Aside> {
        let threads = threads.max(1);
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for index in 0..threads {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name(format!("aside-{index}"))
                .spawn(move || {
                    give_way();
                    loop {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(job) = job else { return };
                        // Whoever waits for it hears that nothing came of it.
                        let _ = std::panic::catch_unwind(AssertUnwindSafe(job));
                    }
                })?;
        }
        Ok(Aside {
            jobs,
            places: Arc::new(Semaphore::new(threads)),
            clients: Arc::default(),
        })
    }

    /// Does `work` for a client when it is its turn. `None`: it came to nothing, which is a fault of ours.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        (vcluster, user): (&Arc<str>, &Arc<str>),
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let turn = self.turn((vcluster.clone(), user.clone())).await;
        let (reply, answer) = oneshot::channel();
        // No more jobs than threads: those who wait do it before they have one.
        let job = Box::new(move || {
            let turn = turn; // given back if the work comes to nothing, too
            let done = work();
            drop(turn);
            let _ = reply.send(done);
        });
        self.jobs.send(job).ok()?;
        answer.await.ok()
    }

    async fn turn(&self, who: Who) -> Turn {
        let own = {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            let own = clients.entry(who.clone());
            Arc::clone(own.or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        // Tidies up if this is given up while waiting, too.
        let mut turn = Turn {
            client: None,
            place: None,
            who,
            own: Arc::clone(&own),
            clients: Arc::clone(&self.clients),
        };
        turn.client = own.acquire_owned().await.ok();
        turn.place = Arc::clone(&self.places).acquire_owned().await.ok();
        turn
    }
}

/// The right to one thread.
struct Turn {
    client: Option<OwnedSemaphorePermit>,
    place: Option<OwnedSemaphorePermit>,
    who: Who,
    own: Arc<Semaphore>,
    clients: Arc<Mutex<HashMap<Who, Arc<Semaphore>>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        (self.client, self.place) = (None, None);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        // Here and in the map: nobody else has one or waits for one.
        if Arc::strong_count(&self.own) == 2 {
            clients.remove(&self.who);
        }
    }
}

/// Lets workers go first, where threads have a priority of their own.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        /// Of 19: about a third of a worker's share of a busy core.
        const NICE: i32 = 5;
        let this = rustix::thread::gettid();
        if let Err(error) = rustix::process::setpriority_process(Some(this), NICE) {
            tracing::debug!(target: NETWORK, %error, "long work has the priority of everything else");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Barrier;
    use std::task::Poll;

    use super::*;

    fn who(user: &str) -> Who {
        ("v".into(), user.into())
    }

    #[tokio::test]
    async fn work_is_done_and_faults_are_told() {
        let aside = Aside::start(1).expect("there are threads");
        let (vcluster, user) = who("u");
        let who = (&vcluster, &user);
        assert_eq!(aside.run(who, || 7).await, Some(7));
        let broken = aside.run(who, || -> u8 { panic!("to be told as none") });
        assert_eq!(broken.await, None);
        assert_eq!(aside.run(who, || 8).await, Some(8));
        drop(aside.turn((vcluster.clone(), user.clone())).await);
        assert!(aside.clients.lock().expect("no panic").is_empty());
    }

    #[tokio::test]
    async fn a_client_has_one_turn_at_a_time() {
        let aside = Aside::start(2).expect("there are threads");
        let first = aside.turn(who("many")).await;
        let mut second = Box::pin(aside.turn(who("many")));
        let at_once = poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_ready()));
        assert!(!at_once.await, "there is a thread, but not for this one");
        // The other thread is for somebody else.
        let other = aside.turn(who("one")).await;
        drop(first);
        let second = second.await;
        drop(second);
        drop(other);
        assert!(aside.clients.lock().expect("no panic").is_empty());
    }

    #[tokio::test]
    async fn threads_work_side_by_side() {
        let aside = Aside::start(2).expect("there are threads");
        let barrier = Arc::new(Barrier::new(2));
        let (one, other) = (who("a"), who("b"));
        let meet = || {
            let barrier = Arc::clone(&barrier);
            move || {
                barrier.wait();
            }
        };
        let (one, other) = tokio::join!(
            aside.run((&one.0, &one.1), meet()),
            aside.run((&other.0, &other.1), meet())
        );
        assert_eq!((one, other), (Some(()), Some(())));
    }
}
