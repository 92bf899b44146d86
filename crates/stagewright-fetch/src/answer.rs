//! What an answer says besides what was asked for.

use std::time::{Duration, SystemTime};

use reqwest::Response;
use reqwest::header::{CONTENT_RANGE, HeaderMap, RETRY_AFTER};

/// What is said of an error is read up to this length.
pub(crate) const ERROR_BYTES_MAX: usize = 64 * 1024;
/// An error text is shown up to this length.
pub(crate) const MESSAGE_LENGTH_MAX: usize = 300;

/// Returns a header's text.
pub(crate) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Returns at which byte a part begins that was sent.
pub(crate) fn part_begin(response: &Response) -> Option<u64> {
    let range = header(response, CONTENT_RANGE.as_str())?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

/// Reads an answer up to a length. A connection that breaks leaves it short.
pub(crate) async fn up_to(mut response: Response, bytes_max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > bytes_max {
            break;
        }
    }
    bytes
}

/// Makes a text of others one line that can be shown.
pub(crate) fn one_line(text: &str) -> String {
    let clean = text.trim().chars().map(|character| match character {
        character if character.is_control() => ' ',
        character => character,
    });
    clean.take(MESSAGE_LENGTH_MAX).collect()
}

/// Reads `Retry-After` in seconds; the form with a date is read too.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = crate::http_date::parse(value)?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}
