//! `serve`: the keeper behind the wire, and what it tells of its work.

use super::context;
use crate::cli::{self, LogForm};
use crate::out::{remark, time, Out};
use crate::system::{self, SystemClock};
use asl_auth::Decision;
use asl_core::{Error, HostClock, Kind, Result};
use asl_host::admission::{Keeper, News, Petition};
use asl_host::keystick::Signed;
use asl_host::HostRoot;
use asl_net::{
    AdmissionEnvelope, AdmissionService, DecisionEnvelope, Limits, Outcome, Seen, Server,
};
use serde_json::{json, Value};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a serving host looks which leases have ended.
const LOOK_AT_LEASES: Duration = Duration::from_secs(60);

/// How often it looks whether the keeper's files have changed.
const LOOK_AT_RULES: Duration = Duration::from_secs(2);

/// Lines a second at most about connections that were not answered: a flood must not become one
/// of the log.
const LINES_A_SECOND: u32 = 10;

/// What happens, told line by line.
struct Log {
    form: LogForm,
    idle: Mutex<Idle>,
}

/// Lines about connections that were not answered, within one second.
struct Idle {
    since: Instant,
    told: u32,
    untold: u64,
}

impl Log {
    fn new(form: LogForm, out: Out) -> Log {
        let form = match form {
            // With --json the result alone is the output, unless it is asked for.
            LogForm::Text if !out.is_text() => LogForm::None,
            form => form,
        };
        let idle = Mutex::new(Idle {
            since: Instant::now(),
            told: 0,
            untold: 0,
        });
        Log { form, idle }
    }

    fn tell(&self, event: &str, text: &str, mut object: Value) {
        match self.form {
            LogForm::None => {}
            LogForm::Text => remark(text),
            LogForm::Json => {
                object["time"] = json!(time(SystemClock.wall_ns()));
                object["event"] = json!(event);
                remark(&object.to_string());
            }
        }
    }

    fn failed(&self, doing: &str, e: &Error) {
        let object = json!({ "doing": doing, "error": e.to_string(), "next": e.what_next() });
        self.tell("failed", &format!("failed to {doing}: {e}"), object);
    }

    /// How many were left out before this line; `None` where it is left out too.
    fn may_tell(&self) -> Option<u64> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.since.elapsed() >= Duration::from_secs(1) {
            (idle.since, idle.told) = (Instant::now(), 0);
        }
        if idle.told >= LINES_A_SECOND {
            idle.untold += 1;
            return None;
        }
        idle.told += 1;
        Some(std::mem::take(&mut idle.untold))
    }

    fn connection(&self, seen: &Seen) {
        let untold = match seen.outcome {
            Outcome::Answered if seen.status == Some(200) => 0,
            _ => match self.may_tell() {
                Some(untold) => untold,
                None => return,
            },
        };
        let (what, asked) = (seen.outcome.code(), seen.asked.as_deref().unwrap_or("-"));
        let status = seen.status.map_or("-".to_string(), |s| s.to_string());
        let object = json!({ "from": seen.from.to_string(), "outcome": what, "asked": seen.asked,
            "status": seen.status, "ms": seen.lasted.as_millis() as u64, "untold_before": untold });
        let text = format!(
            "{what} {} {asked} {status} {} ms",
            seen.from,
            seen.lasted.as_millis()
        );
        self.tell("connection", &text, object);
    }
}

/// The keeper behind the wire.
struct Desk {
    keeper: Keeper,
    log: Log,
}

impl Desk {
    /// Suspends the domains whose leases are over.
    fn end_leases(&self) {
        match self.keeper.lapse() {
            Ok(over) => over.iter().for_each(|id| {
                let object = json!({ "domain": id.to_string() });
                let text = format!("SUSPENDED {id}: its lease has expired");
                self.log.tell("lapse", &text, object);
            }),
            Err(e) => self.log.failed("look at leases", &e),
        }
    }

    /// Takes up what the keeper has changed.
    fn look_at_rules(&self) {
        match self.keeper.reload() {
            Ok(None) => {}
            Ok(Some(News::Taken)) => {
                let text = "host-policy and trusted roots were changed and are in force";
                self.log.tell("policy", text, json!({ "taken": true }));
            }
            Ok(Some(News::Kept(e))) => {
                let object =
                    json!({ "taken": false, "error": e.to_string(), "next": e.what_next() });
                let text = format!("{e}; the rules before stay in force");
                self.log.tell("policy", &text, object);
            }
            Err(e) => self.log.failed("look at host-policy", &e),
        }
    }
}

impl AdmissionService for Desk {
    fn admit(&self, envelope: AdmissionEnvelope) -> Result<DecisionEnvelope> {
        let petition = Petition {
            dam: Signed {
                bytes: envelope.dam,
                sig: envelope.dam_sig,
            },
            request: Signed {
                bytes: envelope.request,
                sig: envelope.request_sig,
            },
        };
        let decided = self.keeper.admit(&petition);
        match decided
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|d| Decision::decode(&d.bytes))
        {
            Ok(d) => {
                let text = format!("{} request {}: {}", d.outcome, d.request, d.reason);
                let object = json!({ "outcome": d.outcome.code(),
                    "request": d.request.to_string(), "why": d.reason });
                self.log.tell("admission", &text, object);
            }
            Err(e) => self.log.failed("decide", &e),
        }
        decided.map(|d| DecisionEnvelope {
            decision: d.bytes,
            sig: d.sig,
        })
    }

    fn seen(&self, seen: &Seen) {
        self.log.connection(seen);
    }

    fn metrics(&self) -> String {
        let Ok(totals) = self.keeper.totals() else {
            return String::new();
        };
        let mut text = String::new();
        for (name, help, value) in [
            ("asl_domains", "Domains on this host.", totals.domains),
            (
                "asl_strangers",
                "Domains without a trusted root.",
                totals.strangers,
            ),
            (
                "asl_promised_bytes",
                "Bytes that leases promise.",
                totals.promised_bytes,
            ),
            (
                "asl_total_bytes",
                "Bytes that host-policy allows to promise.",
                totals.total_bytes,
            ),
        ] {
            text.push_str(&format!(
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"
            ));
        }
        text
    }
}

/// Serves until it is told to end.
///
/// # Errors
/// `Usage` for an address that is none; those of [`Keeper::open`] and [`Server::start`].
pub fn serve(path: &Path, args: &cli::Serve, out: Out) -> Result<()> {
    let listen = address(&args.listen)?;
    let metrics = args.metrics.as_deref().map(address).transpose()?;
    let keeper = Keeper::open(HostRoot::open(path)?, context())?;
    let key = keeper.key().clone();
    let log = Log::new(args.log, out);
    let desk = Arc::new(Desk { keeper, log });
    desk.end_leases();
    let server = Server::start(listen, &key, desk.clone(), Limits::default())?;
    let address = server.local_addr();
    let metrics = metrics.map(|at| server.serve_metrics(at)).transpose()?;
    let at = metrics.map(|at| format!("Metrics at http://{at}/metrics\n"));
    out.result(
        &format!("Serving on {address} as {}\nwords {}\n{}End with Ctrl-C.", key.public().to_openssh(""), key.public().words(), at.unwrap_or_default()),
        &json!({ "listening": address.to_string(), "key": key.public().to_openssh(""), "words": key.public().words(), "metrics": metrics.map(|m| m.to_string()) }),
    )?;
    let (mut leases, mut rules) = (Instant::now(), Instant::now());
    while !system::stopped() {
        std::thread::sleep(Duration::from_millis(100));
        if rules.elapsed() >= LOOK_AT_RULES {
            desk.look_at_rules();
            rules = Instant::now();
        }
        if leases.elapsed() >= LOOK_AT_LEASES {
            desk.end_leases();
            leases = Instant::now();
        }
    }
    server.stop();
    desk.log.tell("stopped", "Stopped.", json!({}));
    Ok(())
}

fn address(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(|e| {
        Error::new(Kind::Usage, "listen on", text, e)
            .next("give ADDRESS:PORT, such as 127.0.0.1:7643")
    })
}
