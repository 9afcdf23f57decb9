//! How a backend has been doing lately.

use std::time::Duration;

/// The state of each thing that a backend talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// At least one.
    pub endpoints: Vec<EndpointHealth>,
}

/// The state of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointHealth {
    /// A name for people, without credentials.
    pub name: String,
    /// How it is.
    pub state: EndpointState,
}

/// Whether it is worth asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// Yes.
    Available,
    /// It failed too often lately, and is left alone for this long.
    Resting(Duration),
    /// It answered what no honest one does. It is not used again by this process.
    Distrusted,
}

impl Health {
    /// One endpoint that is always worth asking.
    pub fn available(name: impl Into<String>) -> Self {
        Health { endpoints: vec![EndpointHealth { name: name.into(), state: EndpointState::Available }] }
    }

    /// True if something of it can be asked now.
    pub fn is_available(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.state == EndpointState::Available)
    }

    /// When it is worth asking again: at once where something is available, never where all are distrusted.
    pub fn available_in(&self) -> Option<Duration> {
        let wait = |endpoint: &EndpointHealth| match endpoint.state {
            EndpointState::Available => Some(Duration::ZERO),
            EndpointState::Resting(remaining) => Some(remaining),
            EndpointState::Distrusted => None,
        };
        self.endpoints.iter().filter_map(wait).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(states: &[EndpointState]) -> Health {
        Health { endpoints: states.iter().map(|state| EndpointHealth { name: "x".into(), state: *state }).collect() }
    }

    #[test]
    fn the_best_endpoint_counts() {
        let resting = |seconds| EndpointState::Resting(Duration::from_secs(seconds));
        assert!(of(&[resting(5), EndpointState::Available]).is_available());
        assert_eq!(
            of(&[resting(5), EndpointState::Distrusted, resting(3)]).available_in(),
            Some(Duration::from_secs(3))
        );
        assert!(!of(&[resting(5), EndpointState::Distrusted]).is_available());
        assert_eq!(of(&[EndpointState::Distrusted]).available_in(), None);
    }
}
