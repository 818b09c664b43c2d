//! `init`, `status`, `serve`.

use super::context;
use crate::cli;
use crate::out::Out;
use crate::system;
use asl_backend::Limits;
use asl_core::{Error, Kind, Result};
use asl_host::admission::{Keeper, Petition};
use asl_host::keystick::Signed;
use asl_host::{reserve, Domain, HostRoot, KeptKey};
use asl_net::{AdmissionEnvelope, AdmissionService, DecisionEnvelope, Server};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub fn init(path: &Path, out: Out) -> Result<()> {
    let root = HostRoot::init(path, &context(), KeptKey::Plain)?;
    reserve::keep(path, &context());
    let key = root.public_key();
    let limits = Limits::probe(path)?;
    for words in limits.words() {
        out.note(&words);
    }
    let text = format!(
        "Made the root at {}.\nThis host's key:   {}\nThis host's words: {}\n\
         Put the roots you trust into {}, edit {}, then run `asl-host serve`.",
        path.display(),
        key.to_openssh(""),
        key.words(),
        root.layout().trusted_roots().display(),
        root.layout().host_policy().display(),
    );
    out.result(&text, &json!({ "root": path, "host": root.id().to_string(), "key": key.to_openssh(""), "words": key.words(), "limits": limits }))
}

pub fn status(path: &Path, out: Out) -> Result<()> {
    let root = HostRoot::open(path)?;
    let mut domains = Vec::new();
    let mut text = format!(
        "Host {}\n  root  {}\n  words {}\n",
        root.id(),
        path.display(),
        root.public_key().words()
    );
    for id in root.domains()? {
        let described = match Domain::open(&root, &id) {
            Ok(domain) => domain.describe(),
            Err(e) => {
                json!({ "domain_id": id.to_string(), "error": e.to_string(), "next": e.what_next() })
            }
        };
        let state = described["state"].as_str().unwrap_or("unreadable");
        text.push_str(&format!("  domain {id}  {state}\n"));
        domains.push(described);
    }
    if domains.is_empty() {
        text.push_str("  no domains\n");
    }
    let strangers = match asl_host::admission::strangers(&root) {
        Ok((kept, most)) => {
            text.push_str(&format!(
                "  strangers  {kept} of {most} domains without a trusted root\n"
            ));
            json!({ "kept": kept, "most": most })
        }
        Err(e) => {
            text.push_str(&format!("  host-policy: {e}\n"));
            json!({ "error": e.to_string(), "next": e.what_next() })
        }
    };
    out.result(&text, &json!({ "host": root.id().to_string(), "words": root.public_key().words(), "domains": domains, "strangers": strangers }))
}

/// The keeper behind the wire.
struct Desk {
    keeper: Keeper,
    out: Out,
}

/// How often a serving host looks which leases have ended.
const LOOK_AT_LEASES: Duration = Duration::from_secs(60);

impl Desk {
    /// Suspends the domains whose leases are over.
    fn end_leases(&self) {
        match self.keeper.lapse() {
            Ok(over) => over.iter().for_each(|id| {
                self.out
                    .note(&format!("SUSPENDED {id}: its lease has expired"));
            }),
            Err(e) => self.out.note(&format!("cannot look at leases: {e}")),
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
            .and_then(|d| asl_auth::Decision::decode(&d.bytes))
        {
            Ok(d) => self.out.note(&format!(
                "{} request {}: {}",
                d.outcome, d.request, d.reason
            )),
            Err(e) => self.out.note(&format!("failed: {e}")),
        }
        decided.map(|d| DecisionEnvelope {
            decision: d.bytes,
            sig: d.sig,
        })
    }
}

pub fn serve(path: &Path, args: &cli::Serve, out: Out) -> Result<()> {
    let listen = args.listen.parse().map_err(|e| {
        Error::new(Kind::Usage, "listen on", &args.listen, e)
            .next("give ADDRESS:PORT, such as 127.0.0.1:7643")
    })?;
    let keeper = Keeper::open(HostRoot::open(path)?, context())?;
    let key = keeper.key().clone();
    let desk = Arc::new(Desk { keeper, out });
    desk.end_leases();
    let server = Server::start(listen, &key, desk.clone(), asl_net::Limits::default())?;
    let address = server.local_addr();
    out.result(
        &format!("Serving on {address} as {}\nwords {}\nEnd with Ctrl-C.", key.public().to_openssh(""), key.public().words()),
        &json!({ "listening": address.to_string(), "key": key.public().to_openssh(""), "words": key.public().words() }),
    )?;
    let mut looked = Instant::now();
    while !system::stopped() {
        std::thread::sleep(Duration::from_millis(100));
        if looked.elapsed() >= LOOK_AT_LEASES {
            desk.end_leases();
            looked = Instant::now();
        }
    }
    server.stop();
    out.note("Stopped.");
    Ok(())
}
