//! The serving side: bounded in connections, time, bytes and work.

mod connection;
mod gate;
mod seen;

pub use seen::{Outcome, Seen};

use crate::tls::server_config;
use crate::wire::{AdmissionEnvelope, DecisionEnvelope, ADMISSION_PATH, HEALTH_PATH, MAX_BODY};
use asl_auth::SigningKey;
use asl_core::{Error, Kind, Result};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::Router;
use connection::Served;
use gate::Gate;
use hyper::body::Body;
use seen::Metrics;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{watch, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const CBOR: &str = "application/cbor";

/// What decides on requests: the host.
pub trait AdmissionService: Send + Sync {
    /// Decides on one request; a rejection is a signed decision too.
    ///
    /// # Errors
    /// `Refused` where the domain asks too often; any other where this host cannot decide now. The
    /// asking side learns no more than that.
    fn admit(&self, envelope: AdmissionEnvelope) -> Result<DecisionEnvelope>;

    /// Hears of a connection that is over; must not wait for anything.
    fn seen(&self, seen: &Seen) {
        let _ = seen;
    }

    /// More for the metrics, in the Prometheus text format.
    fn metrics(&self) -> String {
        String::new()
    }
}

/// What strangers may cost this host.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; more wait to be taken.
    pub connections: usize,
    /// Connections of one address open at once; more are cut. An IPv6 network of 64 bits is one.
    pub per_address: usize,
    /// Connections of one address within a minute; more are cut.
    pub per_minute: u32,
    /// Decisions in work at once; more wait, within the time of their connection.
    pub decisions: usize,
    /// Time for the TLS handshake, and then for the head of the request.
    pub head_time: Duration,
    /// Time for the body of a request.
    pub body_time: Duration,
    /// Time for a whole connection.
    pub connection_time: Duration,
    /// Time that [`Server::stop`] leaves to what is in work.
    pub stop_time: Duration,
}

impl Default for Limits {
    /// 64 connections, 16 of one address and 120 within a minute, 4 decisions; 10 s for a head, 20 s
    /// for a body, 60 s for a connection, 10 s to stop.
    fn default() -> Self {
        Limits {
            connections: 64,
            per_address: 16,
            per_minute: 120,
            decisions: 4,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(20),
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
    metrics: Arc<Metrics>,
    service: Arc<dyn AdmissionService>,
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
        let metrics = Arc::new(Metrics::default());
        let accepting = Accepting {
            acceptor,
            router: router(service.clone(), &limits),
            gate: Gate::new(limits.per_address, limits.per_minute),
            limits,
            stopped,
            metrics: metrics.clone(),
            service: service.clone(),
        };
        let task = runtime.spawn(accepting.run(listener));
        Ok(Server {
            address,
            limits,
            stop,
            running: Some((runtime, task)),
            metrics,
            service,
        })
    }

    /// Gives the metrics at another address, without TLS: for this machine, so loopback.
    ///
    /// # Errors
    /// `Io` where the address cannot be listened on.
    pub fn serve_metrics(&self, listen: SocketAddr) -> Result<SocketAddr> {
        let failed = |e: std::io::Error| {
            Error::new(Kind::Io, "listen on", listen, e).next("choose another address or port")
        };
        let Some((runtime, _)) = &self.running else {
            return Ok(listen);
        };
        let listener = runtime
            .block_on(TcpListener::bind(listen))
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (metrics, service) = (self.metrics.clone(), self.service.clone());
        let text = move || {
            let (metrics, service) = (metrics.clone(), service.clone());
            async move {
                let more = tokio::task::spawn_blocking(move || service.metrics()).await;
                let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
                (kind, metrics.text(&more.unwrap_or_default()))
            }
        };
        let router = Router::new()
            .route("/metrics", get(text))
            .route(HEALTH_PATH, get(health));
        runtime.spawn(connection::serve_plain(
            listener,
            router,
            self.limits.head_time,
        ));
        Ok(address)
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
    body_time: Duration,
    turns: Arc<Semaphore>,
}

fn router(service: Arc<dyn AdmissionService>, limits: &Limits) -> Router {
    let desk = Desk {
        service,
        body_time: limits.body_time,
        turns: Arc::new(Semaphore::new(limits.decisions.max(1))),
    };
    Router::new()
        .route(ADMISSION_PATH, post(admission))
        .route(HEALTH_PATH, get(health))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(desk)
}

async fn health() -> &'static str {
    "asl/1 serving\n"
}

async fn admission(State(desk): State<Desk>, request: Request) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| kind != CBOR) {
        let text = "this host takes application/cbor\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    // What says it is too large is not waited for.
    if request.body().size_hint().lower() > MAX_BODY as u64 {
        return (StatusCode::PAYLOAD_TOO_LARGE, "too large\n").into_response();
    }
    let body = match timeout(desk.body_time, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(refused)) => return refused.into_response(),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "too slow\n").into_response(),
    };
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
            let kind = [(header::CONTENT_TYPE, CBOR)];
            (kind, answer.encode()).into_response()
        }
        Ok(Err(e)) if e.kind() == Kind::Refused => {
            let text = "too many requests of this domain, or of all; ask again later\n";
            (StatusCode::TOO_MANY_REQUESTS, text).into_response()
        }
        Ok(Err(_)) | Err(_) => busy(),
    }
}

fn busy() -> Response {
    let text = "this host cannot decide now; ask again later\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

#[derive(Clone)]
struct Accepting {
    acceptor: TlsAcceptor,
    router: Router,
    gate: Gate,
    limits: Limits,
    stopped: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    service: Arc<dyn AdmissionService>,
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
            let (Ok(place), Ok((tcp, from))) = (place, accepted) else {
                // Out of descriptors, or a peer gone before it was taken: neither ends the serving.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let begun = Instant::now();
            let inside = match self.gate.enter(from.ip(), begun) {
                Ok(inside) => inside,
                // Before the handshake: it costs nothing but the place in the queue.
                Err(refusal) => {
                    self.tell(from, begun, refusal.into());
                    continue;
                }
            };
            let this = self.clone();
            open.spawn(async move {
                this.metrics.begun();
                let (acceptor, router) = (this.acceptor.clone(), this.router.clone());
                let stopped = this.stopped.clone();
                let serving = connection::serve(tcp, acceptor, router, this.limits, stopped);
                let served = timeout(this.limits.connection_time, serving).await;
                this.metrics.ended();
                this.tell(from, begun, served.unwrap_or(Outcome::Slow.into()));
                drop((place, inside));
            });
        }
        drop(listener);
        while open.join_next().await.is_some() {}
    }

    fn tell(&self, from: SocketAddr, begun: Instant, served: Served) {
        let seen = Seen {
            from,
            outcome: served.outcome,
            asked: served.asked,
            status: served.status,
            lasted: begun.elapsed(),
        };
        self.metrics.count(&seen);
        self.service.seen(&seen);
    }
}
