//! The server: from sockets to requests, and its beginning and end.
//!
//! A connection has a place among as many as are allowed, a time to send each head, and a time to take each part of an
//! answer; bodies have their own limits where they are read. When it is told to stop it takes no more connections, lets
//! running requests end within their time, flushes every tenant, and closes the store.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use annals::vfs::{Clock, Entropy};
use annals::{Annals, WriteError};
use axum::Router;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::access::{AccessError, AccessStore};
use crate::app::{Gateway, router};
use crate::config::{Config, ConfigError, LogForm};
use crate::metrics::Peer;
use crate::pool::Pool;
use crate::stream::Watched;
use crate::tls;

/// How soon a token that was made or revoked is known.
const ACCESS_REFRESH: Duration = Duration::from_secs(1);
/// How long it waits before it accepts again where the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// As many headers at most.
const HEADERS_MAX: usize = 64;
/// What threads get to end after their requests were dropped.
const THREADS_END: Duration = Duration::from_secs(2);

/// Why it cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Tokens cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The certificate or its key cannot be used.
    #[error("{}: {what}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Threads, timers or signals.
    #[error("cannot start: {0}")]
    System(io::Error),
    /// The store could not be closed as it should; what was acknowledged is in its log.
    #[error("the store was not closed: {0}")]
    Close(WriteError),
}

/// What became of a server that was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Whether every request that was running had its answer.
    pub drained: bool,
    /// Tenants whose memory could not be made into blocks; the log has it.
    pub unflushed: usize,
}

/// A gateway that is serving.
pub struct Server {
    runtime: Runtime,
    gateway: Arc<Gateway>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    places: Arc<Semaphore>,
    connections: u32,
    acceptor: Arc<RwLock<Option<TlsAcceptor>>>,
}

impl Server {
    /// Serves a store. It is listening when this returns.
    pub fn start(
        config: Config,
        store: Annals,
        access: AccessStore,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Server, ServeError> {
        config.check()?;
        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let acceptor = Arc::new(RwLock::new(acceptor));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("annals-gateway")
            .max_blocking_threads(Pool::threads(&config.limits))
            .enable_all()
            .build()
            .map_err(ServeError::System)?;
        let address = config.listen;
        let listen = |source| ServeError::Listen { address, source };
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let connections = u32::try_from(config.limits.connections).unwrap_or(u32::MAX).min(1 << 20);
        let places = Arc::new(Semaphore::new(connections as usize));
        let gateway = Arc::new(Gateway::new(store, access, config, clock, entropy)?);
        let (stop, stopped) = watch::channel(false);
        let accepting = Accepting {
            router: router(gateway.clone()),
            gateway: gateway.clone(),
            places: places.clone(),
            acceptor: acceptor.clone(),
            stopped: stopped.clone(),
        };
        runtime.spawn(accepting.run(listener));
        runtime.spawn(refresh(gateway.clone(), stopped));
        Ok(Server { runtime, gateway, address, stop, places, connections, acceptor })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes another configuration: limits, rates, origins and the certificate. What is there stays where it cannot be
    /// taken. The address, and how many connections, writes and queries there are at one time, stay in any case.
    pub fn reload(&self, config: Config) -> Result<(), ServeError> {
        config.check()?;
        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
        self.gateway.reconfigure(config);
        Ok(())
    }

    /// Stops: no more connections, running requests end, tenants are flushed, the store is closed.
    pub fn stop(self) -> Result<Served, ServeError> {
        let Server { runtime, gateway, stop, places, connections, .. } = self;
        gateway.stop();
        // Nobody listens only where all have ended already.
        let _ = stop.send(true);
        let time = Duration::from_millis(gateway.config().limits.stop_ms);
        let all = async { tokio::time::timeout(time, places.acquire_many(connections)).await.is_ok() };
        let drained = runtime.block_on(all);
        runtime.shutdown_timeout(THREADS_END);
        let mut unflushed = 0;
        for tenant in gateway.store.tenants() {
            let flushed = gateway.store.tenant(&tenant.id).map(|tenant| tenant.flush());
            if let Ok(Err(error)) = flushed {
                tracing::warn!(tenant = tenant.id.as_str(), %error, "not flushed: the log has it");
                unflushed += 1;
            }
        }
        // A thread that could not be ended holds on to it: then the store closes with the process.
        if let Some(gateway) = Arc::into_inner(gateway) {
            gateway.store.close().map_err(ServeError::Close)?;
        }
        Ok(Served { drained, unflushed })
    }
}

/// Serves until SIGTERM or SIGINT; on SIGHUP `reload` is asked for the configuration. `started` hears where it listens.
pub fn run(
    server: Server,
    reload: &dyn Fn() -> Result<Config, String>,
    started: impl FnOnce(SocketAddr),
) -> Result<Served, ServeError> {
    let address = server.address();
    let signals = |kind| {
        let _entered = server.runtime.enter();
        signal(kind).map_err(ServeError::System)
    };
    let (mut terminate, mut interrupt) =
        (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let mut hangup = signals(SignalKind::hangup())?;
    tracing::info!(%address, "listening");
    started(address);
    loop {
        let again = server.runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => false,
                _ = hangup.recv() => true,
            }
        });
        if !again {
            break;
        }
        match reload().and_then(|config| server.reload(config).map_err(|error| error.to_string())) {
            Ok(()) => tracing::info!("configuration and certificate are read again"),
            Err(error) => tracing::error!(error, "the configuration stays as it was"),
        }
    }
    tracing::info!("stopping");
    server.stop()
}

/// Writes events to standard error from now on, in the whole process.
pub fn log_to_stderr(form: LogForm) {
    let lines = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(tracing::Level::INFO);
    match form {
        // A second call changes nothing.
        LogForm::Text => drop(tracing::subscriber::set_global_default(lines.finish())),
        LogForm::Json => drop(tracing::subscriber::set_global_default(lines.json().finish())),
        LogForm::Off => {}
    }
}

async fn refresh(gateway: Arc<Gateway>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(ACCESS_REFRESH) => {}
        }
        let gateway = gateway.clone();
        // Its own panic is its own report.
        let _ = tokio::task::spawn_blocking(move || gateway.refresh_access()).await;
    }
}

/// What takes connections.
struct Accepting {
    router: Router,
    gateway: Arc<Gateway>,
    places: Arc<Semaphore>,
    acceptor: Arc<RwLock<Option<TlsAcceptor>>>,
    stopped: watch::Receiver<bool>,
}

impl Accepting {
    async fn run(mut self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                _ = self.stopped.changed() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Without a place it is closed at once: nobody waits for an answer that nobody has time for.
            match self.places.clone().try_acquire_owned() {
                Ok(place) => drop(tokio::spawn(self.connection(stream, peer, place))),
                Err(_) => drop(self.gateway.counters.connections_refused.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }

    /// One connection, from its handshake to its end.
    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + use<> {
        let acceptor = self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (gateway, stopped) = (self.gateway.clone(), self.stopped.clone());
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            router.call(request)
        });
        async move {
            let _place = place;
            let _counted = Open::new(gateway.clone());
            let limits = gateway.config().limits.clone();
            // Small answers must not wait for more to be sent.
            let _ = stream.set_nodelay(true);
            let head = Duration::from_millis(limits.head_ms);
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(head)
                .max_buf_size(limits.head_bytes)
                .max_headers(HEADERS_MAX);
            let stall = Duration::from_millis(limits.stall_ms);
            match acceptor {
                None => serve(&http, Watched::new(stream, stall), service, stopped).await,
                Some(acceptor) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(head, acceptor.accept(stream)).await {
                        serve(&http, Watched::new(stream, stall), service, stopped).await;
                    }
                }
            }
        }
    }
}

/// A connection that is counted while it lives.
struct Open(Arc<Gateway>);

impl Open {
    fn new(gateway: Arc<Gateway>) -> Open {
        gateway.counters.connections.fetch_add(1, Ordering::Relaxed);
        Open(gateway)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve<S>(
    http: &http1::Builder,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: S,
    mut stopped: watch::Receiver<bool>,
) where
    S: Service<hyper::Request<Incoming>, Response = Response, Error = Infallible>,
{
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ends is its client's business: what it was answered stands in the log.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
