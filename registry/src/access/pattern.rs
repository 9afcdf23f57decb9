//! Patterns of repository names: `team-a/**`, `{user}/*`, `library/nginx`.
//!
//! `*` is one component, `**` at the end is one or more, and `{user}` is the caller's own name. All else stands for itself.

use std::fmt;
use std::str::FromStr;

use super::identity::UserName;
use crate::oci::RepositoryName;

/// Most components of a pattern. A name of 255 bytes has 128 at most.
const MOST: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Exact(String),
    One,
    User,
}

/// A pattern that names can match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// True if more components may follow, at least one.
    has_rest: bool,
}

/// The text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no pattern of repositories: write components such as a, * or {{user}}, with / between them, and ** at the end"
)]
pub(super) struct InvalidPattern(String);

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPattern(text.chars().take(100).collect());
        let (body, has_rest) = match text.strip_suffix("**") {
            Some("") => ("", true),
            Some(body) => (body.strip_suffix('/').filter(|body| !body.is_empty()).ok_or_else(invalid)?, true),
            None => (text, false),
        };
        let part = |part: &str| match part {
            "*" => Ok(Part::One),
            "{user}" => Ok(Part::User),
            exact if is_component(exact) => Ok(Part::Exact(exact.to_owned())),
            _ => Err(invalid()),
        };
        let parts = if body.is_empty() && has_rest {
            Vec::new()
        } else {
            body.split('/').map(part).collect::<Result<_, _>>()?
        };
        if parts.len() > MOST { Err(invalid()) } else { Ok(Pattern { parts, has_rest }) }
    }
}

impl Pattern {
    /// True if it matches only for some callers.
    pub(super) fn depends_on_user(&self) -> bool {
        self.parts.contains(&Part::User)
    }

    /// True if the repository matches for this caller.
    pub(super) fn matches(&self, repository: &RepositoryName, caller: Option<&UserName>) -> bool {
        let mut components = repository.as_str().split('/');
        let is_one = |part: &Part, component: &str| match part {
            Part::Exact(text) => text == component,
            Part::One => true,
            // Only a name that is a component itself: another one could match more than its own part.
            Part::User => caller.is_some_and(|name| name.as_str() == component && is_component(name.as_str())),
        };
        let fits = self.parts.iter().all(|part| components.next().is_some_and(|component| is_one(part, component)));
        fits && (components.next().is_some() == self.has_rest)
    }
}

fn is_component(text: &str) -> bool {
    !text.contains('/') && text.parse::<RepositoryName>().is_ok()
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |part: &Part| match part {
            Part::Exact(text) => text.clone(),
            Part::One => "*".to_owned(),
            Part::User => "{user}".to_owned(),
        };
        let rest = self.has_rest.then(|| "**".to_owned());
        f.write_str(&self.parts.iter().map(word).chain(rest).collect::<Vec<_>>().join("/"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str, caller: Option<&str>) -> bool {
        let caller: Option<UserName> = caller.map(|name| name.parse().unwrap());
        pattern.parse::<Pattern>().unwrap().matches(&name.parse().unwrap(), caller.as_ref())
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, good, bad) in [
            ("a", &["a"][..], &["b", "a/b", "aa"][..]),
            ("a/**", &["a/b", "a/b/c"], &["a", "ab/c", "b/a/c"]),
            ("**", &["a", "a/b/c"], &[]),
            ("*", &["a", "b"], &["a/b"]),
            ("*/x", &["a/x"], &["x", "a/b/x", "a/y"]),
            ("a/*/**", &["a/b/c", "a/b/c/d"], &["a/b", "a"]),
        ] {
            assert!(good.iter().all(|name| matches(pattern, name, None)), "{pattern}");
            assert!(!bad.iter().any(|name| matches(pattern, name, None)), "{pattern}");
        }
    }

    /// A user whose name is `*`, `**` or `a/b` must not match more than one component.
    #[test]
    fn a_user_is_one_component() {
        assert!(matches("{user}/**", "ann/x", Some("ann")));
        for (name, caller) in
            [("ann/x", None), ("bob/x", Some("ann")), ("x/y", Some("**")), ("x/y", Some("*")), ("a/b/x", Some("a/b"))]
        {
            assert!(!matches("{user}/**", name, caller), "{name} {caller:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "/",
            "/**",
            "a/",
            "/a",
            "a//b",
            "**/a",
            "a**",
            "a/***",
            "A",
            "a*",
            "{User}",
            "a/{user}b",
            "..",
            "a/../b",
        ] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_its_own_pattern(name in "[a-c]{1,2}(/[a-c]{1,2}){0,3}", other in "[a-c]{1,2}(/[a-c]{1,2}){0,3}") {
            prop_assert!(matches(&name, &name, None));
            prop_assert_eq!(matches(&name, &other, None), name == other);
            prop_assert_eq!(matches(&format!("{name}/**"), &other, None), other.starts_with(&format!("{name}/")));
        }

        #[test]
        fn patterns_are_written_as_they_were_read(text in "(a|\\*|\\{user\\}|/|\\*\\*){1,6}") {
            if let Ok(pattern) = text.parse::<Pattern>() {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
