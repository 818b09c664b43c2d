//! The federation wire: TLS client and server.
