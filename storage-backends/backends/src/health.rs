//! The recent health of a backend.

use std::time::Duration;

/// The state of each endpoint of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// At least one.
    pub endpoints: Vec<EndpointHealth>,
}

/// The state of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointHealth {
    /// A readable name, without credentials.
    pub name: String,
    /// How it is.
    pub state: EndpointState,
}

/// Whether it is worth asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// Yes.
    Available,
    /// It failed too often lately, and is not asked for this time.
    Resting(Duration),
    /// It gave an answer that no honest endpoint gives. This process does not use it again.
    Distrusted,
}

impl Health {
    /// One endpoint that is always worth asking.
    pub fn available(name: impl Into<String>) -> Self {
        Health { endpoints: vec![EndpointHealth { name: name.into(), state: EndpointState::Available }] }
    }

    /// True if some endpoint can be asked now.
    pub fn is_available(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.state == EndpointState::Available)
    }

    /// The time until an endpoint can be asked: zero if one is available, `None` if all are distrusted.
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
