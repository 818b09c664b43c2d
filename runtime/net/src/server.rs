//! The serving side: bounded in connections, time, bytes and work.

use crate::tls::server_config;
use crate::wire::{AdmissionEnvelope, DecisionEnvelope, ADMISSION_PATH, HEALTH_PATH, MAX_BODY};
use asl_auth::SigningKey;
use asl_core::{Error, Kind, Result};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::Router;
use hyper::service::{service_fn, Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{watch, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// What decides on requests: the host.
pub trait AdmissionService: Send + Sync {
    /// Decides on one request; a rejection is a signed decision too.
    ///
    /// # Errors
    /// Where this host cannot decide now; the asking side learns no more than that.
    fn admit(&self, envelope: AdmissionEnvelope) -> Result<DecisionEnvelope>;
}

/// What strangers may cost this host.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; more wait to be taken.
    pub connections: usize,
    /// Decisions in work at once; more wait, within the time of their connection.
    pub decisions: usize,
    /// Time for the TLS handshake, and then for the head of the request.
    pub head_time: Duration,
    /// Time for a whole connection.
    pub connection_time: Duration,
    /// Time that [`Server::stop`] leaves to what is in work.
    pub stop_time: Duration,
}

impl Default for Limits {
    /// 64 connections, 4 decisions, 10 s for a head, 60 s for a connection, 10 s to stop.
    fn default() -> Self {
        Limits {
            connections: 64,
            decisions: 4,
            head_time: Duration::from_secs(10),
            connection_time: Duration::from_secs(60),
            stop_time: Duration::from_secs(10),
        }
    }
}

/// A running server; dropping it stops it at once.
pub struct Server {
    address: SocketAddr,
    limits: Limits,
    stop: watch::Sender<bool>,
    running: Option<(Runtime, JoinHandle<()>)>,
}

impl Server {
    /// Listens and serves on threads of its own.
    ///
    /// # Errors
    /// `Io` where the address cannot be listened on or no thread can be had.
    pub fn start(
        listen: SocketAddr,
        identity: &SigningKey,
        service: Arc<dyn AdmissionService>,
        limits: Limits,
    ) -> Result<Server> {
        let failed = |e: std::io::Error| {
            Error::new(Kind::Io, "listen on", listen, e)
                .next("choose another address or port, or stop what listens there")
        };
        let acceptor = TlsAcceptor::from(Arc::new(server_config(identity)?));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(limits.decisions.max(1))
            .thread_name("asl-net")
            .enable_all()
            .build()
            .map_err(failed)?;
        let listener = runtime
            .block_on(TcpListener::bind(listen))
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = watch::channel(false);
        let accepting = Accepting {
            acceptor,
            router: router(service, &limits),
            limits,
            stopped,
        };
        let task = runtime.spawn(accepting.run(listener));
        Ok(Server {
            address,
            limits,
            stop,
            running: Some((runtime, task)),
        })
    }

    /// Where it listens; the port is the real one where 0 was asked.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets those in work end, and returns.
    pub fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some((runtime, task)) = self.running.take() {
            // Either all ended, or their time is over; both are the end.
            let _ = runtime.block_on(async { timeout(self.limits.stop_time, task).await });
            runtime.shutdown_background();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some((runtime, _)) = self.running.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
struct Desk {
    service: Arc<dyn AdmissionService>,
    turns: Arc<Semaphore>,
}

fn router(service: Arc<dyn AdmissionService>, limits: &Limits) -> Router {
    let desk = Desk {
        service,
        turns: Arc::new(Semaphore::new(limits.decisions.max(1))),
    };
    Router::new()
        .route(ADMISSION_PATH, post(admission))
        .route(HEALTH_PATH, get(|| async { "asl/1 serving\n" }))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(desk)
}

async fn admission(State(desk): State<Desk>, body: Bytes) -> Response {
    let envelope = match AdmissionEnvelope::decode(&body) {
        Ok(envelope) => envelope,
        Err(e) => return (StatusCode::BAD_REQUEST, format!("{e}\n")).into_response(),
    };
    // A connection that ends early gives its turn up here; a decision once begun runs to its end.
    let Ok(turn) = desk.turns.clone().acquire_owned().await else {
        return busy();
    };
    let decided = tokio::task::spawn_blocking(move || {
        let decided = desk.service.admit(envelope);
        drop(turn);
        decided
    });
    match decided.await {
        Ok(Ok(answer)) => {
            let kind = [(header::CONTENT_TYPE, "application/cbor")];
            (kind, answer.encode()).into_response()
        }
        Ok(Err(_)) | Err(_) => busy(),
    }
}

fn busy() -> Response {
    let text = "this host cannot decide now; ask again later\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

struct Accepting {
    acceptor: TlsAcceptor,
    router: Router,
    limits: Limits,
    stopped: watch::Receiver<bool>,
}

impl Accepting {
    async fn run(self, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(self.limits.connections.max(1)));
        let mut stopped = self.stopped.clone();
        let mut open = JoinSet::new();
        loop {
            while open.try_join_next().is_some() {}
            let next = async {
                let place = room.clone().acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                _ = stopped.wait_for(|s| *s) => break,
                next = next => next,
            };
            let (Ok(place), Ok((tcp, _))) = (place, accepted) else {
                // Out of descriptors, or a peer gone before it was taken: neither ends the serving.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let serving = serve(
                tcp,
                self.acceptor.clone(),
                self.router.clone(),
                self.limits,
                self.stopped.clone(),
            );
            open.spawn(async move {
                // A peer's failure is its own; there is nobody here to tell.
                let _ = timeout(self.limits.connection_time, serving).await;
                drop(place);
            });
        }
        drop(listener);
        while open.join_next().await.is_some() {}
    }
}

async fn serve(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let handshake = timeout(limits.head_time, acceptor.accept(tcp));
    let tls = tokio::select! {
        _ = stopped.wait_for(|s| *s) => return,
        made = handshake => match made {
            Ok(Ok(tls)) => tls,
            _ => return,
        },
    };
    let began = AtomicBool::new(false);
    let service = TowerToHyperService::new(router);
    let noting = service_fn(|request| {
        began.store(true, Ordering::Relaxed);
        service.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(32)
        .max_buf_size(16 << 10)
        .keep_alive(false)
        .serve_connection(TokioIo::new(tls), noting);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|s| *s) => {}
    }
    // Whoever has not yet asked is not waited for.
    if began.load(Ordering::Relaxed) {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
