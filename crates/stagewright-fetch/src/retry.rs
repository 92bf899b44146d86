//! Attempts that fail, and whether and when another follows.

use std::fmt::Display;
use std::time::Duration;

use reqwest::StatusCode;

use crate::options::RetryOptions;

/// An attempt that failed, and whether another may help.
#[derive(Debug)]
pub(crate) struct Failure<E> {
    pub(crate) error: E,
    pub(crate) retry: Retry,
}

/// Whether another attempt may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Never,
    /// After the wait that the server asks for, if it does.
    After(Option<Duration>),
}

impl Retry {
    /// Says whether what a status means may pass.
    pub(crate) fn of_status(status: StatusCode, asked: Option<Duration>) -> Self {
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::After(asked),
            _ => Self::Never,
        }
    }

    /// Says whether another connection may come about. A name that does not exist and a port that is closed stay so; a
    /// broken connection may not.
    pub(crate) fn of_connection(error: &reqwest::Error) -> Self {
        match error.is_connect() && !error.is_timeout() {
            true => Self::Never,
            false => Self::After(None),
        }
    }
}

impl<E> From<E> for Failure<E> {
    fn from(error: E) -> Self {
        Self {
            error,
            retry: Retry::Never,
        }
    }
}

/// How the wait between attempts grows.
#[derive(Debug)]
pub(crate) struct Backoff<'a> {
    options: &'a RetryOptions,
    attempts: u32,
}

impl<'a> Backoff<'a> {
    pub(crate) fn new(options: &'a RetryOptions) -> Self {
        Self {
            options,
            attempts: 0,
        }
    }

    /// Forgets the failures, because something got through.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Counts a failure and returns how long to wait before trying again, or nothing if enough
    /// has been tried. `asked` is the wait that the server asks for.
    fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.attempts += 1;
        if self.attempts >= self.options.attempts_max {
            return None;
        }
        let doubled = self
            .options
            .delay_first
            .saturating_mul(1 << (self.attempts - 1).min(16));
        match asked {
            Some(asked) if asked > self.options.delay_max => None,
            Some(asked) => Some(asked.max(self.options.delay_first)),
            None => Some(doubled.min(self.options.delay_max)),
        }
    }

    /// Waits before another attempt, or gives the failure back if there should be none.
    pub(crate) async fn pause<E: Display>(&mut self, failure: Failure<E>) -> Result<(), E> {
        let wait = match failure.retry {
            Retry::Never => None,
            Retry::After(asked) => self.next(asked),
        };
        let Some(wait) = wait else {
            return Err(failure.error);
        };
        tracing::debug!("trying again in {wait:?}: {}", failure.error);
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let options = RetryOptions {
            attempts_max: 5,
            delay_first: Duration::from_secs(1),
            delay_max: Duration::from_secs(3),
        };
        let mut backoff = Backoff::new(&options);
        let waits: Vec<_> = std::iter::from_fn(|| backoff.next(None)).collect();
        assert_eq!(waits, [1, 2, 3, 3].map(Duration::from_secs));
        let mut backoff = Backoff::new(&options);
        assert_eq!(
            backoff.next(Some(Duration::ZERO)),
            Some(Duration::from_secs(1))
        );
        assert_eq!(
            backoff.next(Some(Duration::from_secs(2))),
            Some(Duration::from_secs(2))
        );
        assert_eq!(backoff.next(Some(Duration::from_secs(60))), None);
    }
}
