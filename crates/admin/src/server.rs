//! The server's thread, its connections and their limits.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use crate::build_info::BuildInfo;
use crate::health::HealthState;
use crate::routes;

/// Connections served at a time; more wait in the backlog.
const MAX_CONNECTIONS: usize = 256;
/// Header of one request, and idle time between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is closed after this, in order, however busy it is.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(120);
/// The last answer of a connection that is being closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request line with its headers.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TARGET: &str = "sluicegate::http";

/// A bound admin port that does not answer yet. Connections wait in the backlog until [`AdminServer::start`].
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
}

impl AdminServer {
    /// Binds the port.
    ///
    /// # Errors
    /// Of the system; mostly that the port is in use.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// The bound address, for a port that the system chose.
    ///
    /// # Errors
    /// Of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers on a thread of its own until [`Handle::shutdown`].
    ///
    /// # Errors
    /// Of the system, when thread or runtime cannot be made.
    pub fn start(self, health: HealthState, build: BuildInfo) -> io::Result<Handle> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(self.listener)?
        };
        let router = routes::router(health, build);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, router) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Handle { stop, thread })
    }
}

/// A running admin server. Dropping the handle stops the server, too, without waiting for its thread.
#[derive(Debug)]
pub struct Handle {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Closes the port and all connections, and waits for the thread.
    pub fn shutdown(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!(target: TARGET, "the admin thread had panicked");
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, router: Router) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve(stream, peer, router).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(target: TARGET, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router) {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    let connection =
        server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let outcome = match tokio::time::timeout(MAX_CONNECTION_AGE, connection.as_mut()).await {
        Ok(outcome) => outcome,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(CLOSE_TIMEOUT, connection).await {
                Ok(outcome) => outcome,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(target: TARGET, %peer, %error, "connection closed");
    }
}
