//! Sends events to whoever listens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::age::ms;
use crate::event::{Event, EventKind, LogStream, Outcome, VertexInfo};

/// Receives the events of a build, on any thread, in the order in which they are sent.
pub type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// Stamps events with the time since the build began and hands them on.
#[derive(Clone)]
pub struct Reporter {
    sink: EventSink,
    began: Instant,
    next_id: Arc<AtomicU64>,
    /// Held while an event gets its time and is handed on: one that got an earlier time would else come later.
    turn: Arc<Mutex<()>>,
}

impl Reporter {
    /// Starts the clock.
    pub fn new(sink: EventSink) -> Self {
        Self {
            sink,
            began: Instant::now(),
            next_id: Arc::new(AtomicU64::new(0)),
            turn: Arc::default(),
        }
    }

    /// Makes a reporter that tells nobody.
    pub fn silent() -> Self {
        Self::new(Arc::new(|_| {}))
    }

    /// Reserves `count` ids for vertices and returns the first.
    pub fn reserve(&self, count: usize) -> u64 {
        self.next_id.fetch_add(count as u64, Ordering::Relaxed)
    }

    /// Sends an event. Whoever sends one meanwhile waits until it is handed on.
    pub fn send(&self, kind: EventKind) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let at_ms = ms(self.began.elapsed());
        (self.sink)(Event { at_ms, kind });
    }

    /// Announces one vertex outside the plan, as started, and returns its id.
    pub fn start_internal(&self, name: &str) -> u64 {
        let id = self.reserve(1);
        let info = VertexInfo {
            id,
            name: name.to_owned(),
            stage: String::new(),
            inputs: Vec::new(),
            line: None,
            step: false,
        };
        self.send(EventKind::Planned {
            vertices: vec![info],
        });
        self.send(EventKind::Started { vertex: id });
        id
    }

    /// Ends a vertex outside the plan.
    pub fn finish_internal<T, E: std::fmt::Display>(&self, id: u64, result: &Result<T, E>) {
        let outcome = match result {
            Ok(_) => Outcome::Executed { miss: None },
            Err(error) => Outcome::Failed {
                message: error.to_string(),
            },
        };
        self.send(EventKind::Finished {
            vertex: id,
            outcome,
        });
    }

    /// Sends what a step wrote.
    pub fn log(&self, vertex: u64, stream: LogStream, bytes: &[u8]) {
        self.send(EventKind::Log {
            vertex,
            stream,
            bytes: bytes.to_vec(),
        });
    }

    /// Sends a warning.
    pub fn warn(&self, message: impl Into<String>) {
        self.send(EventKind::Warning {
            message: message.into(),
            line: None,
            finding: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_never_go_back_whoever_sends() {
        let told: Arc<Mutex<Vec<u64>>> = Arc::default();
        let all = Arc::clone(&told);
        let reporter = Reporter::new(Arc::new(move |event| {
            all.lock().unwrap().push(event.at_ms);
        }));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..20_000).for_each(|_| reporter.send(EventKind::Started { vertex: 0 }))
                });
            }
        });
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 80_000);
        assert!(told.is_sorted());
    }
}
