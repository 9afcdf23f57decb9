//! Sizes, counts and dates as people read them.

/// `12.3 MiB`
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1 tag`, `2 tags`
pub fn count(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// `2026-11-30`, in UTC, from milliseconds since the Unix epoch.
pub fn date(time_ms: u64) -> String {
    // In years that begin in March the leap day is the last day. This turns days into a proleptic Gregorian date.
    let day = time_ms / 86_400_000 + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{:02}", day_of_year - (153 * from_march + 2) / 5 + 1)
}

/// `2026-11-30T18:00:00Z` (RFC 3339), from seconds since the Unix epoch.
pub fn time(seconds: u64) -> String {
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", date(seconds.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_is_no_plural() {
        assert_eq!(super::count(0, "tag"), "0 tags");
        assert_eq!(super::count(1, "tag"), "1 tag");
        assert_eq!(super::count(2, "tag"), "2 tags");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (1_709_251_200, "2024-03-01"),
            (1_795_996_800, "2026-11-30"),
            (4_107_542_399, "2100-02-28"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(super::date(seconds * 1000), date);
        }
        assert_eq!(super::time(1_796_061_845), "2026-11-30T18:04:05Z");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(super::bytes(0), "0 B");
        assert_eq!(super::bytes(1023), "1023 B");
        assert_eq!(super::bytes(1536), "1.5 KiB");
        assert_eq!(super::bytes(20 * 1024 * 1024), "20.0 MiB");
    }
}
