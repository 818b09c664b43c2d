//! One connection, from the handshake to its one answer.

use super::gate::Refusal;
use super::seen::Outcome;
use super::Limits;
use axum::Router;
use hyper::body::Incoming;
use hyper::service::{service_fn, Service};
use hyper::Request;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{watch, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// What became of a connection.
pub(super) struct Served {
    pub(super) outcome: Outcome,
    pub(super) asked: Option<String>,
    pub(super) status: Option<u16>,
}

impl From<Outcome> for Served {
    fn from(outcome: Outcome) -> Served {
        Served {
            outcome,
            asked: None,
            status: None,
        }
    }
}

impl From<Refusal> for Served {
    fn from(refusal: Refusal) -> Served {
        match refusal {
            Refusal::TooMany => Outcome::TooMany.into(),
            Refusal::TooOften => Outcome::TooOften.into(),
        }
    }
}

/// What was asked on a connection, and answered.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<(Option<String>, Option<u16>)>>);

impl Heard {
    fn asks(&self, request: &Request<Incoming>) {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let safe = |c: char| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        };
        let asked = asked.chars().take(80).map(safe).collect();
        self.with(|heard| heard.0 = Some(asked));
    }

    fn with<T>(&self, act: impl FnOnce(&mut (Option<String>, Option<u16>)) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Serves one request over TLS.
pub(super) async fn serve(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) -> Served {
    let handshake = timeout(limits.head_time, acceptor.accept(tcp));
    let tls = tokio::select! {
        _ = stopped.wait_for(|s| *s) => return Outcome::Left.into(),
        made = handshake => match made {
            Ok(Ok(tls)) => tls,
            Ok(Err(_)) => return Outcome::NoTls.into(),
            Err(_) => return Outcome::Slow.into(),
        },
    };
    let heard = Heard::default();
    let service = TowerToHyperService::new(router);
    let listening = heard.clone();
    let noting = service_fn(move |request: Request<Incoming>| {
        let heard = listening.clone();
        heard.asks(&request);
        let answer = service.call(request);
        async move {
            let answer = answer.await;
            if let Ok(answer) = &answer {
                heard.with(|heard| heard.1 = Some(answer.status().as_u16()));
            }
            answer
        }
    });
    let connection = http1(limits.head_time).serve_connection(TokioIo::new(tls), noting);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopped.wait_for(|s| *s) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        // Whoever has not yet asked is not waited for.
        None if heard.with(|heard| heard.0.is_none()) => return Outcome::Left.into(),
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    let (asked, status) = heard.with(std::mem::take);
    let outcome = match ended {
        _ if status == Some(408) => Outcome::Slow,
        Ok(()) if status.is_some() => Outcome::Answered,
        Ok(()) => Outcome::Left,
        Err(e) if e.is_timeout() => Outcome::Slow,
        Err(e) if e.is_parse() || e.is_parse_too_large() => Outcome::Malformed,
        // It was answered, and did not wait for the end of it.
        Err(_) if status.is_some() => Outcome::Answered,
        Err(_) => Outcome::Broken,
    };
    Served {
        outcome,
        asked,
        status,
    }
}

fn http1(head_time: Duration) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_headers(32)
        .max_buf_size(16 << 10)
        .keep_alive(false);
    builder
}

/// Serves small questions of this machine, four at once.
pub(super) async fn serve_plain(listener: TcpListener, router: Router, time: Duration) {
    let room = Arc::new(Semaphore::new(4));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let serving = http1(time).serve_connection(TokioIo::new(tcp), service);
            // What goes wrong here is the asker's own.
            let _ = timeout(2 * time, serving).await;
            drop(place);
        });
    }
}
