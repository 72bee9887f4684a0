//! Connections: taken until a signal comes, then finished within a time.

use crate::access::Access;
use crate::models::{Models, Room};
use crate::shared::Shared;
use crate::{Config, ServeError, routes, worker};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

/// Time for the last answers of a run that was left.
const LAST: Duration = Duration::from_secs(5);

/// A server that has its address, and answers once it runs.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Stopper,
    grace: Duration,
}

/// Stops a server, as a signal does; clones stop the same one.
#[derive(Clone, Default)]
pub struct Stopper(Arc<Notify>);

impl Stopper {
    /// Has the server leave.
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

impl Server {
    /// Looks at the models' headers, and takes the address.
    ///
    /// # Errors
    /// A model that cannot be served, an address that others reach without a token, one that cannot be had.
    pub fn bind(config: Config) -> Result<Self, ServeError> {
        let Config { models, device, threads, memory, host, port, token, insecure, grace, limits } = config;
        let access = Access::new(host, token, insecure)?;
        let models = Models::new(models)?;
        let address = SocketAddr::new(host, port);
        let listener = TcpListener::bind(address).map_err(|source| ServeError::Bind { address, source })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let room = Room { device, threads, memory, batch: limits.batch.max(1) };
        let shared = Arc::new(Shared::new(models, room, limits, access));
        Ok(Self { listener, address, shared, stop: Stopper::default(), grace })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops it from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stop.clone()
    }

    /// Answers until SIGTERM, SIGINT or a [`Stopper`]. Then nothing more is taken, what waits is refused, and what is being drawn
    /// is finished within [`Config::grace`], or left.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn run(self) -> Result<(), ServeError> {
        // Pictures are read and decoded on a few more threads.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
        let drawing = self.shared.clone();
        let drawing = std::thread::Builder::new().name("nijimi-draw".into()).spawn(move || worker::work(&drawing))?;
        let shared = self.shared.clone();
        let served = runtime.block_on(self.serve());
        // However it came to an end, the thread that draws has no more to do; one that is in the midst of a long step is not waited for.
        shared.queue.stop();
        if !shared.abort.load(Relaxed) {
            let _ = drawing.join();
        }
        runtime.shutdown_background();
        served
    }

    async fn serve(self) -> Result<(), ServeError> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let (shared, graceful) = (self.shared, GracefulShutdown::new());
        let app = routes::all(shared.clone());
        let connections = Arc::new(Semaphore::new(shared.limits.connections));
        let mut stop = pin!(stopped(self.stop)?);
        loop {
            let next = async {
                let permit = connections.clone().acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next => next,
            };
            let Ok((stream, _)) = accepted else {
                // Of one client that left at once, or too many open files: others may do better in a moment.
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let connection = connection(TokioIo::new(stream), app.clone(), shared.limits.patience);
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                // A client's fault, or its leaving, is nobody else's.
                let _ = connection.await;
                drop(permit);
            });
        }
        drop(listener);
        shared.queue.stop();
        let mut closing = pin!(graceful.shutdown());
        if timeout(self.grace, &mut closing).await.is_err() {
            shared.abort.store(true, Relaxed);
            let _ = timeout(LAST, closing).await;
        }
        Ok(())
    }
}

type Connection = http1::Connection<TokioIo<tokio::net::TcpStream>, TowerToHyperService<Router>>;

fn connection(stream: TokioIo<tokio::net::TcpStream>, app: Router, patience: Duration) -> Connection {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience);
    builder.serve_connection(stream, TowerToHyperService::new(app))
}

/// Ends when the server is to leave.
fn stopped(stop: Stopper) -> Result<impl Future<Output = ()>, ServeError> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
    };
    #[cfg(not(unix))]
    let signals = async {
        // Where it cannot be waited for, only the other way stops it.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    Ok(async move {
        tokio::select! {
            () = signals => {}
            () = stop.0.notified() => {}
        }
    })
}
