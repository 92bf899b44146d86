//! How old a result may be to be used.

use std::time::{Duration, Instant};

use stagewright_plan::{Op, Vertex};

use crate::services::SolveOptions;

/// What time it is for a build: when it began, and how long ago that was.
#[derive(Debug, Clone, Copy)]
pub struct BuildClock {
    started_unix_ms: u64,
    started: Instant,
}

impl BuildClock {
    /// Starts at this time, in milliseconds since 1970.
    pub fn start(unix_ms: u64) -> Self {
        Self {
            started_unix_ms: unix_ms,
            started: Instant::now(),
        }
    }

    /// Returns the time that was so long ago when it began; 0 where there is no limit.
    pub fn oldest_unix_ms(&self, limit: Option<Duration>) -> u64 {
        limit.map_or(0, |limit| self.started_unix_ms.saturating_sub(ms(limit)))
    }

    pub(crate) fn now_unix_ms(&self) -> u64 {
        self.started_unix_ms
            .saturating_add(ms(self.started.elapsed()))
    }
}

impl SolveOptions {
    /// Returns the time before which no result of a command may be made. What this build made is young enough for any limit.
    pub(crate) fn oldest_unix_ms(&self) -> u64 {
        self.clock.oldest_unix_ms(self.cache_ttl)
    }

    /// Returns the time before which no result of a vertex may be made; nothing where none will do. What a copy makes follows
    /// from what its key is made of, which was compared just now: it is as old as that.
    pub(crate) fn oldest_for(&self, vertex: &Vertex) -> Option<u64> {
        match &vertex.op {
            _ if vertex.no_cache => None,
            Op::Exec(_) => Some(self.oldest_unix_ms()),
            Op::File(_) | Op::Source(_) => Some(0),
        }
    }

    /// Returns how old something is for the build.
    pub(crate) fn age_ms(&self, made_unix_ms: u64) -> u64 {
        self.clock.now_unix_ms().saturating_sub(made_unix_ms)
    }
}

pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

/// Writes a length of time as people say it, in one unit: `3 days`, `47 h`.
pub(crate) fn rough(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Writes a length of time as it is given to the command: `1d12h`.
pub(crate) fn exact(ms: u64) -> String {
    let mut rest = ms / 1000;
    let mut text = String::new();
    for (length, unit) in UNITS {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if text.is_empty() {
        format!("{ms}ms")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_easily() {
        for (seconds, roughly, exactly) in [
            (0, "0 s", "0ms"),
            (119, "119 s", "1m59s"),
            (120, "2 min", "2m"),
            (7_199, "119 min", "1h59m59s"),
            (129_600, "36 h", "1d12h"),
            (172_800, "2 days", "2d"),
            (400 * 86_400, "400 days", "400d"),
        ] {
            assert_eq!(rough(seconds * 1000), roughly);
            assert_eq!(exact(seconds * 1000), exactly);
        }
        assert_eq!(exact(20), "20ms");
    }
}
