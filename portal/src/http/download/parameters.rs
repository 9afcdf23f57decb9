//! The query of a download, checked against skyd's rules.

use std::time::Duration;

use http::HeaderMap;
use http::header::RANGE;
use serving::Query;

use super::format::Format;
use crate::http::error::HttpError;

/// Longest timeout that can be requested.
const MAX_TIMEOUT_SECONDS: u64 = 900;

/// The options in a download's query.
#[derive(Debug)]
pub(super) struct Parameters {
    /// Save the content instead of showing it.
    pub(super) attachment: bool,
    pub(super) format: Format,
    /// Send `Skynet-File-Layout`.
    pub(super) include_layout: bool,
    /// The value of `Range`, or `start` and `end` in that syntax.
    pub(super) range: Option<String>,
    /// The time limit for the first byte.
    pub(super) timeout: Duration,
}

impl Parameters {
    /// Parses the query. Unknown parameters are ignored: clients send `skykeyname` and the like.
    pub(super) fn parse(query: &Query, headers: &HeaderMap) -> Result<Self, HttpError> {
        let format = Format::parse(query.get("format").unwrap_or_default()).ok_or_else(|| {
            let allowed = "allowed values are: 'concat', 'tar', 'targz' and 'zip'";
            HttpError::bad_request(format!("unable to parse 'format' parameter, {allowed}"))
        })?;
        Ok(Parameters {
            attachment: flag(query, "attachment")?,
            format,
            include_layout: flag(query, "include-layout")?,
            range: range(query, headers)?,
            timeout: timeout(query)?,
        })
    }
}

/// The timeout, within the limit for downloads.
pub(super) fn timeout(query: &Query) -> Result<Duration, HttpError> {
    crate::http::timeout::timeout(query, MAX_TIMEOUT_SECONDS)
}

/// A parameter without a value counts as absent.
fn given<'a>(query: &'a Query, name: &'a str) -> Option<&'a str> {
    query.get(name).filter(|text| !text.is_empty())
}

/// A boolean in the syntax of Go's `ParseBool`.
fn flag(query: &Query, name: &str) -> Result<bool, HttpError> {
    match given(query, name) {
        None | Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some(_) => Err(HttpError::bad_request(format!("unable to parse '{name}' parameter"))),
    }
}

fn range(query: &Query, headers: &HeaderMap) -> Result<Option<String>, HttpError> {
    let header = headers.get(RANGE).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
    let (start, end) = match (given(query, "start"), given(query, "end")) {
        (None, None) => return Ok(header.map(str::to_owned)),
        (Some(start), Some(end)) => (start, end),
        _ => {
            let message = "the 'start' and 'end' params must be both blank or provided";
            return Err(HttpError::bad_request(message));
        }
    };
    if header.is_some() {
        let message = "range request should use either the Header or the query params but not both";
        return Err(HttpError::bad_request(message));
    }
    let (start, end) = (offset(start, "start")?, offset(end, "end")?);
    if start > end {
        return Err(HttpError::bad_request("'start' param should be less than or equal to 'end' param"));
    }
    // `end` is exclusive, but equal values mean one byte.
    Ok(Some(format!("bytes={start}-{}", end.saturating_sub(1).max(start))))
}

fn offset(text: &str, name: &str) -> Result<u64, HttpError> {
    text.parse().map_err(|_| HttpError::bad_request(format!("unable to parse '{name}' parameter")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(query: &str) -> Result<Parameters, HttpError> {
        Parameters::parse(&Query::parse(Some(query)), &HeaderMap::new())
    }

    #[test]
    fn nothing_given_is_nothing_asked() {
        for query in ["", "foo=bar&skykeyname=&skykeyid=", "attachment=&format=&include-layout=&timeout=&start=&end="] {
            let parameters = parse(query).unwrap();
            assert!(!parameters.attachment && !parameters.include_layout, "{query}");
            assert_eq!((parameters.format, parameters.range), (Format::Unspecified, None), "{query}");
            assert_eq!(parameters.timeout, Duration::from_secs(30));
        }
    }

    #[test]
    fn values_are_read_as_skyd_reads_them() {
        let parameters = parse("attachment=T&format=TarGz&include-layout=1&timeout=900&start=3&end=7").unwrap();
        assert!(parameters.attachment && parameters.include_layout);
        assert_eq!(parameters.format, Format::TarGz);
        assert_eq!(parameters.range.as_deref(), Some("bytes=3-6"));
        assert_eq!(parameters.timeout, Duration::from_mins(15));
        assert_eq!(parse("start=5&end=5").unwrap().range.as_deref(), Some("bytes=5-5"));
        assert_eq!(parse("start=0&end=0").unwrap().range.as_deref(), Some("bytes=0-0"));
        assert_eq!(parse("start=0&end=1").unwrap().range.as_deref(), Some("bytes=0-0"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for query in [
            "attachment=yes",
            "format=rar",
            "include-layout=2",
            "timeout=0",
            "timeout=901",
            "timeout=-1",
            "timeout=x",
            "timeout=99999999999999999999",
            "start=1",
            "end=1",
            "start=2&end=1",
            "start=a&end=b",
            "start=-1&end=2",
        ] {
            assert!(parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_range_is_given_once() {
        let headers = HeaderMap::from_iter([(RANGE, "bytes=0-1".parse().unwrap())]);
        let with = |query| Parameters::parse(&Query::parse(Some(query)), &headers);
        assert_eq!(with("").unwrap().range.as_deref(), Some("bytes=0-1"));
        assert!(with("start=0&end=1").is_err());
    }

    proptest! {
        #[test]
        fn start_and_end_cover_what_they_say(start: u64, end: u64) {
            match parse(&format!("start={start}&end={end}")) {
                Ok(parameters) if start < end => {
                    prop_assert_eq!(parameters.range, Some(format!("bytes={start}-{}", end - 1)));
                }
                Ok(_) => prop_assert_eq!(start, end),
                Err(_) => prop_assert!(start > end),
            }
        }
    }
}
