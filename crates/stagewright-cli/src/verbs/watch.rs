//! A build while it runs: its events shown, signals heard.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use stagewright::{Build, ErrorKind, Event, EventKind, Image, LogStream, Outcome};

use super::interrupts::Interrupts;
use crate::arguments::ProgressMode;
use crate::failure::Failure;
use crate::progress::{
    Ending, Happening, Miss, MissChange, Plain, Quiet, RawJson, Renderer, Terminal, Tty, Update,
};
use crate::settings::wants_colour;

/// How often a picture of the build is drawn anew.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Where one thing after the other is shown while it happens.
pub(crate) struct Screen {
    mode: ProgressMode,
    numbers: Rc<Cell<usize>>,
}

impl Screen {
    pub(crate) fn new(mode: ProgressMode) -> Self {
        Self {
            mode,
            numbers: Rc::default(),
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.mode == ProgressMode::Quiet
    }

    /// Returns what shows the next thing.
    pub(super) fn renderer(&self) -> Box<dyn Renderer> {
        let stderr = std::io::stderr();
        let terminal = Terminal::of(stderr.as_fd(), wants_colour());
        match (self.mode, terminal) {
            (ProgressMode::Quiet | ProgressMode::None, _) => Box::new(Quiet),
            (ProgressMode::Rawjson, _) => Box::new(RawJson::new(std::io::stdout())),
            (ProgressMode::Auto | ProgressMode::Tty, Some(mut terminal)) => {
                Box::new(Tty::new(std::io::stderr(), move || {
                    terminal.measure(std::io::stderr().as_fd());
                    terminal
                }))
            }
            (ProgressMode::Plain | ProgressMode::Auto | ProgressMode::Tty, _) => {
                Box::new(Plain::new(std::io::stderr(), Rc::clone(&self.numbers)))
            }
        }
    }
}

/// Shows a build until it ends, and returns its image.
pub(crate) fn watch(mut build: Build, screen: &Screen) -> Result<Image, Failure> {
    let canceller = build.canceller();
    let signals = Interrupts::listen(move || canceller.cancel())?;
    let mut renderer = screen.renderer();
    let started = Instant::now();
    let (sender, updates) = channel();
    let events = build.events();
    let forwarder = thread::spawn(move || {
        let Some(mut events) = events else { return };
        while let Some(event) = events.next_blocking() {
            for update in updates_of(event) {
                if sender.send(update).is_err() {
                    return;
                }
            }
        }
    });
    loop {
        match updates.recv_timeout(TICK) {
            Ok(update) => renderer.update(&update)?,
            Err(RecvTimeoutError::Timeout) => renderer.tick(started.elapsed())?,
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let result = build.wait();
    renderer.finish(started.elapsed(), result.is_ok())?;
    // It ended when the events did; what it could have panicked about is in the result.
    let _ = forwarder.join();
    match (result, signals.heard()) {
        (Err(error), Some(signal)) if error.kind == ErrorKind::Cancelled => {
            Err(Failure::Signal(signal))
        }
        (result, _) => Ok(result?),
    }
}

pub(super) fn updates_of(event: Event) -> Vec<Update> {
    let at = Duration::from_millis(event.at_ms);
    let happenings = match event.kind {
        EventKind::Planned { vertices } => vertices
            .into_iter()
            .map(|vertex| Happening::Planned {
                id: vertex.id,
                name: vertex.name,
                stage: vertex.stage,
                line: vertex.line,
                step: vertex.step,
            })
            .collect(),
        EventKind::Started { vertex } => vec![Happening::Started { id: vertex }],
        EventKind::Log {
            vertex,
            stream,
            bytes,
        } => vec![Happening::Log {
            id: vertex,
            bytes,
            is_stderr: stream == LogStream::Stderr,
        }],
        EventKind::Progress {
            vertex,
            label,
            current_bytes,
            total_bytes,
        } => {
            vec![Happening::Moved {
                id: vertex,
                label,
                bytes: current_bytes,
                total: total_bytes,
            }]
        }
        EventKind::Finished { vertex, outcome } => {
            vec![Happening::Finished {
                id: vertex,
                ending: ending(outcome),
            }]
        }
        EventKind::Warning {
            message,
            line,
            finding,
        } => vec![Happening::Warning {
            message,
            line,
            finding,
        }],
        // A kind that is newer than this command changes nothing that it shows.
        _ => Vec::new(),
    };
    happenings
        .into_iter()
        .map(|happening| Update { at, happening })
        .collect()
}

fn ending(outcome: Outcome) -> Ending {
    match outcome {
        Outcome::Hit => Ending::Cached,
        Outcome::Executed { miss } => Ending::Executed(miss.map(missed)),
        Outcome::Shared => Ending::Shared,
        Outcome::Failed { message } => Ending::Failed(message),
        Outcome::Cancelled => Ending::Cancelled,
        other => Ending::Failed(format!(
            "it ended in a way that this command does not know: {other:?}"
        )),
    }
}

fn missed(miss: stagewright::MissReason) -> Miss {
    use stagewright::MissReason;
    let text = miss.to_string();
    let (kind, changes) = match miss {
        MissReason::FirstRun => ("first_run", Vec::new()),
        MissReason::NoCache => ("no_cache", Vec::new()),
        MissReason::Evicted => ("evicted", Vec::new()),
        MissReason::TooOld { .. } => ("too_old", Vec::new()),
        MissReason::Changed(changes) => ("changed", changes),
        _ => ("other", Vec::new()),
    };
    let changes = changes
        .into_iter()
        .map(|change| MissChange {
            input: change.input,
            name: change.name,
            before: change.before,
            after: change.after,
        })
        .collect();
    Miss {
        kind,
        text,
        changes,
    }
}
