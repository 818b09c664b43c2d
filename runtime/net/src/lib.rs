//! The federation wire: TLS client and server.
//!
//! HTTP/1.1 over TLS 1.3; the server shows a self-signed certificate of the host's Ed25519 key,
//! and the client dials by key: it pins that key and looks at neither names nor dates
//! (formats.md, "Wire"). So far it carries admission. Async stays inside; what it serves is a
//! trait, so it knows no local policy (architecture.md, "The floors").

mod client;
mod server;
mod tls;
mod wire;

pub use client::submit;
pub use server::{AdmissionService, Limits, Outcome, Seen, Server};
pub use wire::{AdmissionEnvelope, DecisionEnvelope, ADMISSION_PATH, HEALTH_PATH, MAX_BODY};
