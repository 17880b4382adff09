//! The server's thread, its connections and their limits.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use auth::tls::server::ReloadingConfig;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use telemetry::targets::HTTP;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::access::Peer;
use crate::api::Resources;
use crate::build_info::BuildInfo;
use crate::guests::{Guests, Holding, Seat};
use crate::health::HealthState;
use crate::routes;
use crate::services::Services;

/// Connections served at a time; for more, others have to make room.
const MAX_CONNECTIONS: usize = 128;
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

    /// Answers for health and version only.
    ///
    /// # Errors
    /// As [`AdminServer::serve`].
    pub fn start(self, health: HealthState, build: BuildInfo) -> io::Result<Handle> {
        self.serve(Services::new(health, build))
    }

    /// Answers on a thread of its own until [`Handle::shutdown`].
    ///
    /// # Errors
    /// Of the system, when thread or runtime cannot be made.
    pub fn serve(self, mut services: Services) -> io::Result<Handle> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(self.listener)?
        };
        let resources = Arc::default();
        let (build, tls) = (&services.build, services.tls.clone());
        services
            .metrics
            .build_info(&build.product_version, &build.commit, BuildInfo::COMPILER);
        let exporter = services.exporter.take();
        let (router, keeping) = routes::router(services, Arc::clone(&resources));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                runtime.block_on(async {
                    if let Some(exporter) = exporter {
                        tokio::spawn(exporter.run());
                    }
                    tokio::spawn(keeping);
                    tokio::select! {
                        () = accept(listener, tls, router) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Handle {
            stop,
            thread,
            resources,
        })
    }
}

/// A running admin server. Dropping the handle stops the server, too, without waiting for its thread.
pub struct Handle {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    resources: Arc<OnceLock<Arc<dyn Resources>>>,
}

impl Handle {
    /// The stored resources have been read: the API answers with them from now on, and with 503 before. Later calls change nothing.
    pub fn resources_ready(&self, resources: Arc<dyn Resources>) {
        let _ = self.resources.set(resources);
    }

    /// Closes the port and all connections, and waits for the thread.
    pub fn shutdown(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!(target: HTTP, "the admin thread had panicked");
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    tls: Option<Arc<ReloadingConfig>>,
    router: Router,
) {
    let guests = Guests::new(MAX_CONNECTIONS);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some((seat, leave)) = guests.enter(peer.ip(), Instant::now()) else {
                    tracing::debug!(target: HTTP, %peer, "refused: all connections are busy");
                    continue;
                };
                let (router, tls) = (router.clone(), tls.as_ref().map(|tls| tls.current()));
                tokio::spawn(async move {
                    let serve = async {
                        match tls {
                            None => serve(stream, peer, router, &seat).await,
                            Some(config) => serve_tls(stream, config, peer, router, &seat).await,
                        }
                    };
                    tokio::select! {
                        biased;
                        _ = leave => tracing::debug!(target: HTTP, %peer, "closed: others need the place"),
                        () = serve => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(target: HTTP, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_tls(
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
    peer: SocketAddr,
    router: Router,
    seat: &Arc<Seat>,
) {
    let handshake = TlsAcceptor::from(config).accept(stream);
    match tokio::time::timeout(HEADER_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => serve(stream, peer, router, seat).await,
        Ok(Err(error)) => tracing::debug!(target: HTTP, %peer, %error, "no TLS connection"),
        Err(_) => tracing::debug!(target: HTTP, %peer, "the TLS handshake took too long"),
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    router: Router,
    seat: &Arc<Seat>,
) {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let busy = seat.begin();
        request.extensions_mut().insert(Peer(peer));
        if let Some(uri) = routes::normalised(request.uri()) {
            *request.uri_mut() = uri;
        }
        let answer = router.call(request);
        async move {
            let answer = answer.await?;
            Ok::<_, Infallible>(answer.map(|body| Holding::new(body, busy)))
        }
    });
    let connection = server.serve_connection(TokioIo::new(stream), service);
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
        tracing::debug!(target: HTTP, %peer, %error, "connection closed");
    }
}
