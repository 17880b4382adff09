//! One broker: its address and its listener.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::cluster::Cluster;
use crate::connection;
use crate::options::Options;
use crate::sync::lock;

#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) node_id: i32,
    pub(crate) rack: Option<String>,
    bind: IpAddr,
    advertised_host: Option<String>,
    advertised_port: Option<u16>,
    slots: Arc<Semaphore>,
    net: Mutex<Net>,
}

#[derive(Debug, Default)]
struct Net {
    /// Listened on now, or last.
    port: u16,
    /// Whether metadata shows the broker.
    up: bool,
    listener: Option<Listener>,
}

#[derive(Debug)]
struct Listener {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Where clients are told to find a broker.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) node_id: i32,
    pub(crate) host: String,
    pub(crate) port: i32,
    pub(crate) rack: Option<String>,
}

impl Broker {
    pub(crate) fn new(index: usize, options: &Options) -> Self {
        Broker {
            node_id: index as i32 + 1,
            rack: options.racks.get(index).cloned(),
            bind: options.bind,
            advertised_host: options.advertised_host.clone(),
            advertised_port: options.advertised_ports.get(index).copied(),
            slots: Arc::new(Semaphore::new(options.max_connections)),
            net: Mutex::new(Net {
                port: options.port_of(index),
                up: true,
                listener: None,
            }),
        }
    }

    /// Begins to listen; returns the port. Listening already is fine if it is on that port.
    pub(crate) async fn open(
        self: &Arc<Self>,
        cluster: &Arc<Cluster>,
        port: Option<u16>,
    ) -> io::Result<u16> {
        let wanted = {
            let net = lock(&self.net);
            if net.listener.is_some() && port.is_none_or(|p| p == net.port) {
                return Ok(net.port);
            }
            port.unwrap_or(net.port)
        };
        self.close().await;
        let listener = TcpListener::bind((self.bind, wanted)).await?;
        let port = listener.local_addr()?.port();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, self.clone(), cluster.clone(), stopped));
        let mut net = lock(&self.net);
        net.port = port;
        net.listener = Some(Listener { stop, task });
        Ok(port)
    }

    /// Closes the listener and all connections; returns when they are closed.
    pub(crate) async fn close(&self) {
        let listener = lock(&self.net).listener.take();
        if let Some(Listener { stop, task }) = listener {
            drop(stop);
            // An error means that the task has ended in another way, which is as good.
            let _ = task.await;
        }
    }

    /// Like `close`, without waiting.
    pub(crate) fn abort(&self) {
        if let Some(listener) = lock(&self.net).listener.take() {
            listener.task.abort();
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        lock(&self.net).up
    }

    pub(crate) fn set_up(&self, up: bool) {
        lock(&self.net).up = up;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, lock(&self.net).port)
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        let port = self.advertised_port.unwrap_or_else(|| lock(&self.net).port);
        let host = self
            .advertised_host
            .clone()
            .unwrap_or_else(|| self.bind.to_string());
        Endpoint {
            node_id: self.node_id,
            host,
            port: i32::from(port),
            rack: self.rack.clone(),
        }
    }
}

async fn accept(
    listener: TcpListener,
    broker: Arc<Broker>,
    cluster: Arc<Cluster>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Ok(slot) = broker.slots.clone().try_acquire_owned() else { continue };
                    let (broker, cluster) = (broker.clone(), cluster.clone());
                    connections.spawn(async move {
                        connection::serve(stream, peer.ip(), &broker, &cluster).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, or a client that has already gone: neither is helped by trying again at once.
                    tracing::debug!(broker = broker.node_id, %error, "accept failed");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}
