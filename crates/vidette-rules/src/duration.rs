//! Durations as rule files write them: `1h`, `14d`, `5m`, or ISO 8601 (`PT1H`, `P14D`).

const TICKS_PER_SECOND: i64 = 10_000_000;

/// Ticks of a duration text.
pub fn ticks(text: &str) -> Option<i64> {
    let upper = text.trim().to_uppercase();
    let iso = upper.strip_prefix('P');
    let (mut rest, mut in_time) = match iso {
        Some(rest) => (rest, false),
        None => (upper.as_str(), true),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        if iso.is_some()
            && let Some(after) = rest.strip_prefix('T')
        {
            in_time = true;
            rest = after;
            continue;
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let amount: i64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let seconds = match (unit, in_time) {
            ('W', false) => 7 * 86_400,
            ('D', _) => 86_400,
            ('H', true) => 3600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return None,
        };
        total = total.checked_add(amount.checked_mul(seconds)?)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    total.checked_mul(TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn both_notations_are_read() {
        assert_eq!(ticks("1h"), ticks("PT1H"));
        assert_eq!(ticks("14d"), ticks("P14D"));
        assert_eq!(ticks("P1DT12H"), ticks("36h"));
        assert_eq!(ticks("soon"), None);
    }
}
