//! Lengths of time, as people write them.

use std::time::Duration;

/// Reads a length of time: numbers with the units d, h, m and s, as in `1d12h`. Nothing for anything else, or for more
/// seconds than can be counted.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit())?;
        let unit = match rest[end..].chars().next()? {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let part = rest[..end].parse::<u64>().ok()?.checked_mul(unit)?;
        seconds = seconds.checked_add(part)?;
        rest = &rest[end + 1..];
    }
    (!text.is_empty()).then_some(Duration::from_secs(seconds))
}
