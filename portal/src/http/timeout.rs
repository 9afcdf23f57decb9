//! `timeout`: the seconds that a client allows the portal.

use std::time::Duration;

use serving::Query;

use super::error::HttpError;

const DEFAULT: Duration = Duration::from_secs(30);

/// The client's timeout, up to `most` seconds.
pub(super) fn timeout(query: &Query, most: u64) -> Result<Duration, HttpError> {
    let Some(text) = query.get("timeout").filter(|text| !text.is_empty()) else { return Ok(DEFAULT) };
    match text.parse() {
        Ok(0) => Err(HttpError::bad_request("can't specify a zero timeout")),
        Ok(seconds) if seconds <= most => Ok(Duration::from_secs(seconds)),
        Ok(_) => {
            let message = format!("maximum allowed timeout is {most}s: 'timeout' parameter too high");
            Err(HttpError::bad_request(message))
        }
        Err(error) => Err(HttpError::bad_request(format!("unable to parse 'timeout': {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn timeouts_are_whole_seconds() {
        let of = |text: &str| timeout(&Query::parse(Some(&format!("timeout={text}"))), 300).ok();
        assert_eq!(timeout(&Query::default(), 300).ok(), Some(DEFAULT));
        assert_eq!(of(""), Some(DEFAULT));
        assert_eq!(of("1"), Some(Duration::from_secs(1)));
        assert_eq!(of("300"), Some(Duration::from_mins(5)));
        for refused in ["0", "301", "18446744073709551616", "-1", "1.5", "a"] {
            assert_eq!(of(refused), None, "{refused}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = timeout(&Query::parse(Some(&format!("timeout={text}"))), 300);
        }
    }
}
