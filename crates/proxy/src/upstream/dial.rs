//! Opening an upstream leg: resolve, connect, TLS, SASL.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth::UpstreamAuth;
use config::Cluster;
use telemetry::metrics::{Held, Metrics};
use thiserror::Error;
use tokio::net::{TcpSocket, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{TlsConnector, TlsStream};

use super::measure::{BrokerTimes, Dials, Established, Phase};
use super::sasl::{self, LoginError};
use crate::conn::Metered;
use crate::socket::Socket;

/// Why a broker could not be reached.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    #[error("cannot resolve {host}: {error}")]
    Resolve { host: String, error: io::Error },
    #[error("cannot connect to {host}:{port}: {error}")]
    Connect {
        host: String,
        port: u16,
        error: io::Error,
    },
    #[error("TLS handshake with {host}:{port} failed: {error}")]
    Tls {
        host: String,
        port: u16,
        error: io::Error,
    },
    #[error("login at {host}:{port} failed: {error}")]
    Login {
        host: String,
        port: u16,
        error: LoginError,
    },
    #[error("connecting to {host}:{port} took longer than {after:?}")]
    TimedOut {
        host: String,
        port: u16,
        after: Duration,
    },
}

impl DialError {
    /// Whether the configuration is to blame (credentials, certificates) rather than the network.
    pub(crate) fn is_security(&self) -> bool {
        match self {
            DialError::Tls { error, .. } => error.kind() == io::ErrorKind::InvalidData,
            DialError::Login { error, .. } => error.is_rejection(),
            _ => false,
        }
    }
}

/// Everything needed to open legs to the brokers of one cluster.
pub(crate) struct Dialer {
    auth: UpstreamAuth,
    client_id: String,
    setup_timeout: Duration,
    send_buffer: Option<u32>,
    receive_buffer: Option<u32>,
    dials: Arc<Dials>,
}

/// Whose credentials a leg is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// The gateway's own.
    Own,
    /// The client's, which are relayed over it.
    Relayed,
}

/// An open connection to a broker.
pub(crate) struct Leg {
    pub(crate) socket: Socket,
    /// When to authenticate again (KIP-368), well before the broker ends the session. `None`: never.
    pub(crate) reauthenticate_at: Option<Instant>,
    /// How long the broker behind it takes; `None`: which one it is does not matter.
    pub(crate) times: Option<BrokerTimes>,
    brokered: Option<Held>,
    _counted: Option<Counted>,
    established: Established,
}

impl Leg {
    /// It carries requests of clients from now on.
    pub(crate) fn carries_requests(&mut self, held: Held) {
        self.brokered = Some(held);
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.brokered = None;
        self.established.ending();
    }
}

/// Counts one leg for as long as it lives.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(crate) fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Counted(counter.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Dialer {
    pub(crate) fn new(
        cluster: &Cluster,
        auth: UpstreamAuth,
        client_id: String,
        metrics: &Metrics,
    ) -> Self {
        Dialer {
            auth,
            client_id,
            setup_timeout: cluster.connection_setup_timeout,
            send_buffer: cluster.send_buffer,
            receive_buffer: cluster.receive_buffer,
            dials: Dials::new(metrics),
        }
    }

    /// The client id of the gateway's own requests.
    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(crate) fn auth(&self) -> &UpstreamAuth {
        &self.auth
    }

    /// What is counted about connections.
    pub(crate) fn dials(&self) -> &Arc<Dials> {
        &self.dials
    }

    /// Opens a leg; `count` is raised while it lives. All addresses of the host are tried in turn
    /// (`client.dns.lookup=use_all_dns_ips`) within `socket.connection.setup.timeout.ms`.
    pub(crate) async fn dial(
        &self,
        host: &str,
        port: u16,
        login: Login,
        count: Option<&Arc<AtomicUsize>>,
    ) -> Result<Leg, DialError> {
        let deadline = Instant::now() + self.setup_timeout;
        let opened = timeout_at(deadline, self.open(host, port, login)).await;
        let opened = opened.unwrap_or_else(|_| {
            Err(DialError::TimedOut {
                host: host.to_owned(),
                port,
                after: self.setup_timeout,
            })
        });
        match opened {
            Ok(mut leg) => {
                leg._counted = count.map(Counted::new);
                Ok(leg)
            }
            Err(error) => {
                self.dials.failed(&error);
                Err(error)
            }
        }
    }

    /// Renews the session of a leg on which nothing is awaited. Returns when to do it again.
    pub(crate) async fn log_in_again(&self, leg: &Leg) -> Result<Option<Instant>, LoginError> {
        match self.auth.sasl() {
            Some(login) => sasl::login(&leg.socket, login, &self.client_id).await,
            None => Ok(None),
        }
    }

    /// An open socket without TLS, whatever the settings say: to find out what is wrong with them.
    pub(crate) async fn without_tls(&self, host: &str, port: u16) -> Result<Socket, DialError> {
        let (stream, _) = self.connect(host, port).await?;
        Ok(Socket::plain(stream))
    }

    async fn open(&self, host: &str, port: u16, login: Login) -> Result<Leg, DialError> {
        let (stream, established) = self.connect(host, port).await?;
        let socket = match self.auth.tls() {
            None => Socket::plain(stream),
            Some(config) => {
                let tls = |error| DialError::Tls {
                    host: host.to_owned(),
                    port,
                    error,
                };
                let name = self
                    .auth
                    .server_name(host)
                    .map_err(|e| tls(io::Error::new(io::ErrorKind::InvalidData, e)))?;
                let began = std::time::Instant::now();
                let stream = TlsConnector::from(config)
                    .connect(name, Metered::free(stream))
                    .await
                    .map_err(tls)?;
                self.dials.passed(Phase::Tls, began);
                Socket::tls(TlsStream::Client(stream))
            }
        };
        let mut leg = Leg {
            socket,
            reauthenticate_at: None,
            times: None,
            brokered: None,
            _counted: None,
            established,
        };
        if let Some(login) = self.auth.sasl().filter(|_| login == Login::Own) {
            let began = std::time::Instant::now();
            leg.reauthenticate_at = sasl::login(&leg.socket, login, &self.client_id)
                .await
                .map_err(|error| DialError::Login {
                    host: host.to_owned(),
                    port,
                    error,
                })?;
            self.dials.passed(Phase::Sasl, began);
        }
        Ok(leg)
    }

    async fn connect(
        &self,
        host: &str,
        port: u16,
    ) -> Result<(tokio::net::TcpStream, Established), DialError> {
        let addresses: Vec<SocketAddr> = lookup_host((host, port))
            .await
            .map_err(|error| DialError::Resolve {
                host: host.to_owned(),
                error,
            })?
            .collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            let began = std::time::Instant::now();
            match self.connect_to(address).await {
                Ok(stream) => return Ok((stream, self.dials.established(began))),
                Err(error) => last = error,
            }
        }
        Err(DialError::Connect {
            host: host.to_owned(),
            port,
            error: last,
        })
    }

    async fn connect_to(&self, address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(size) = self.send_buffer {
            socket.set_send_buffer_size(size)?;
        }
        if let Some(size) = self.receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        socket.set_keepalive(true)?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
