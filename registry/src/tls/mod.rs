//! TLS of listeners: a certificate with its key, the files that they come from, and the one in force.

mod certificate;
mod current;
mod files;
mod validity;

pub use certificate::{Certificate, InvalidCertificate};
pub use current::{Current, Tls};
pub use files::{Files, FilesError, Watch};
