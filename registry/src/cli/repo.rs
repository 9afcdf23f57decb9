//! `skyberth repo`: makes repositories public or private.

use clap::Subcommand;

use super::{Json, Settings, access, audit, operate, warn};
use crate::access::Everybody;
use crate::admin::Command;
use crate::catalog::fact::Visibility;
use crate::config::{Backend, Config};
use crate::oci::RepositoryName;

#[derive(Subcommand)]
pub(super) enum RepoAction {
    /// Let everybody pull from a repository, as far as auth.anonymous allows.
    Public {
        /// Name of the repository.
        name: RepositoryName,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Let only users with a right pull from a repository.
    Private {
        /// Name of the repository.
        name: RepositoryName,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
}

/// Runs the command.
pub(super) fn run(action: RepoAction) -> anyhow::Result<bool> {
    let (repository, visibility, json, settings) = match action {
        RepoAction::Public { name, json, settings } => (name, Visibility::Public, json, settings),
        RepoAction::Private { name, json, settings } => (name, Visibility::Private, json, settings),
    };
    let loaded = settings.load_to_operate()?;
    let everybody = access::everybody(&loaded.config, &access::sources(&loaded.config, &loaded.config.storage.data)?)?;
    let command = Command::Visibility { repository: repository.clone(), visibility };
    let done = operate::change(&loaded, command, json.form())?;
    let action = match visibility {
        Visibility::Public => "make public",
        Visibility::Private => "make private",
    };
    audit::keep(&loaded.config.storage.data, action, Some(repository.to_string()), None);
    // After the node has confirmed it.
    for warning in warnings(&loaded.config, everybody, visibility) {
        warn(warning);
    }
    Ok(done)
}

fn warnings(config: &Config, everybody: Everybody, visibility: Visibility) -> Vec<&'static str> {
    let mut found = Vec::new();
    match visibility {
        Visibility::Public if everybody < Everybody::Pull => {
            found.push("auth.anonymous is \"none\", so callers without a login still cannot pull it");
        }
        Visibility::Private if everybody >= Everybody::Push => {
            found.push("auth.anonymous lets callers without a login push to all repositories, also to this one");
            found.push("clients log in only where auth.anonymous is \"none\" or \"pull\", so they may not find it");
        }
        Visibility::Public | Visibility::Private => {}
    }
    if visibility == Visibility::Private && config.storage.backend != Backend::Fs {
        found.push("copies that portals have stay there, and all that know their address can read them");
    }
    if visibility == Visibility::Private && config.gateway.listen.0.is_some() {
        found.push("others may have kept what the gateway served");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody who made a repository public, or private, must not believe more than is true.
    #[test]
    fn what_a_visibility_does_not_do_is_said() {
        let mut config = Config::default();
        let counts = |config: &Config| {
            [Everybody::None, Everybody::Pull, Everybody::All].map(|everybody| {
                let of = |visibility| warnings(config, everybody, visibility).len();
                (of(Visibility::Public), of(Visibility::Private))
            })
        };
        assert_eq!(counts(&config), [(1, 0), (0, 0), (0, 2)]);
        config.storage.backend = Backend::Skynet;
        assert_eq!(counts(&config), [(1, 1), (0, 1), (0, 3)]);
    }
}
