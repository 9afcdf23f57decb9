//! The configuration: one struct per section, every limit with its unit.
//!
//! Every key has a default, where 0 or an empty text means "off". So the serialized default configuration lists every
//! key. Environment variables and suggestions are made from that list.

mod attached;
mod auth;
mod byte_size;
mod distribution;
mod environment;
mod error;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gateway;
mod gc;
mod keys;
mod listen;
mod load;
mod log_filter;
mod portal;
mod registry;
mod run_as;
mod secret;
mod server;
mod skynet;
mod source;
mod storage;
mod telemetry;
mod time_span;
mod tls;
mod validate;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use auth::{Anonymous, Auth, Challenge};
pub use byte_size::{ByteSize, InvalidByteSize};
pub use environment::variable_name;
pub use error::ConfigError;
pub use gateway::Gateway;
pub use gc::Gc;
pub use listen::{InvalidListenAddress, ListenAddress, OptionalAddress};
pub use load::{Flags, Loaded, Program, Setting};
pub use log_filter::{InvalidLogFilter, LogFilter};
pub use portal::Portal;
pub use registry::{DescriptorSizes, Registry};
pub use run_as::{Identity, InvalidRunAs, RunAs};
pub use secret::Secret;
pub use server::{Locations, Server};
pub use skynet::Skynet;
pub use source::Source;
pub use storage::{Acknowledge, Backend, Storage, UnknownBackend};
pub use telemetry::{Log, LogFormat, Metrics};
pub use time_span::{InvalidTimeSpan, TimeSpan};
pub use tls::Tls;
pub use validate::Fault;

use source::Override;
use validate::Faults;

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The listening socket.
    pub server: Server,
    /// Users, and what callers without a login may do.
    pub auth: Auth,
    /// Where content is stored.
    pub storage: Storage,
    /// What the registry accepts.
    pub registry: Registry,
    /// Garbage collection.
    pub gc: Gc,
    /// Log lines.
    pub log: Log,
    /// The metrics page.
    pub metrics: Metrics,
    /// The Skynet portal.
    pub portal: Portal,
    /// The read-only portal over the registry's content.
    pub gateway: Gateway,
}

impl Config {
    /// Checks all values and returns every fault, not only the first.
    pub fn validate(&self) -> Result<(), Vec<Fault>> {
        let mut faults = Faults::default();
        self.find_faults(&mut faults);
        if faults.0.is_empty() { Ok(()) } else { Err(faults.0) }
    }

    fn find_faults(&self, faults: &mut Faults) {
        self.server.validate(faults);
        self.auth.validate(faults);
        self.storage.validate(self.portal.attached, faults);
        self.registry.validate(faults);
        self.gc.validate(faults);
        self.log.validate(faults);
        self.portal.validate(faults);
        self.gateway.validate(faults);
        self.validate_attached(faults);
    }
}
