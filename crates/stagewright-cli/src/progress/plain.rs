//! Progress as lines, for logs: what was written stays.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use super::log::LineCutter;
use super::{Ending, Happening, Renderer, Update, VertexId};

/// Writes a line for each thing that happens, each with its vertex's number.
///
/// A number is given when a vertex first has something to say, so that numbers ascend.
#[derive(Debug)]
pub(crate) struct Plain<W> {
    out: W,
    vertices: BTreeMap<VertexId, Vertex>,
    /// The numbers that have been given, by those before it too: what is shown after a build goes on with its numbers.
    numbers: Rc<Cell<usize>>,
    /// What the build checks found, for the end.
    findings: Vec<String>,
}

#[derive(Debug, Default)]
struct Vertex {
    name: String,
    number: Option<usize>,
    started: Option<Duration>,
    cutter: LineCutter,
    moved: BTreeMap<String, Moved>,
}

/// The movement of one thing, and when it was last told of.
#[derive(Debug, Default)]
struct Moved {
    told: Option<Duration>,
    done: bool,
}

/// Movements are told of so often.
const MOVED_PAUSE: Duration = Duration::from_secs(5);

impl<W: Write> Plain<W> {
    pub(crate) fn new(out: W, numbers: Rc<Cell<usize>>) -> Self {
        Self {
            out,
            vertices: BTreeMap::new(),
            numbers,
            findings: Vec::new(),
        }
    }

    /// Writes the vertex's heading if it has none yet, and returns its number.
    fn number(&mut self, id: VertexId) -> io::Result<usize> {
        let vertex = self.vertices.entry(id).or_default();
        if let Some(number) = vertex.number {
            return Ok(number);
        }
        if self.numbers.get() > 0 {
            writeln!(self.out)?;
        }
        let number = self.numbers.get() + 1;
        self.numbers.set(number);
        vertex.number = Some(number);
        writeln!(self.out, "#{number} {}", vertex.name)?;
        Ok(number)
    }

    /// Writes the lines that bytes complete, each with the time since the vertex began.
    fn log(&mut self, id: VertexId, at: Duration, bytes: &[u8]) -> io::Result<()> {
        let number = self.number(id)?;
        let vertex = self.vertices.entry(id).or_default();
        let since = at.saturating_sub(vertex.started.unwrap_or(at));
        let mut lines = Vec::new();
        vertex.cutter.push(bytes, |line| lines.push(line));
        for line in lines {
            writeln!(self.out, "#{number} {:.3} {line}", since.as_secs_f64())?;
        }
        Ok(())
    }

    fn moved(
        &mut self,
        id: VertexId,
        at: Duration,
        label: &str,
        bytes: u64,
        total: Option<u64>,
    ) -> io::Result<()> {
        let number = self.number(id)?;
        let vertex = self.vertices.entry(id).or_default();
        let moved = vertex.moved.entry(label.to_owned()).or_default();
        let done = total == Some(bytes);
        let due = moved
            .told
            .is_none_or(|told| at.saturating_sub(told) >= MOVED_PAUSE);
        if moved.done || !(done || due) {
            return Ok(());
        }
        *moved = Moved {
            told: Some(at),
            done,
        };
        let since = at
            .saturating_sub(vertex.started.unwrap_or(at))
            .as_secs_f64();
        let amount = amount(bytes, total);
        let end = if done { " done" } else { "" };
        writeln!(self.out, "#{number} {since:.3} {label} {amount}{end}")
    }

    fn finished(&mut self, id: VertexId, at: Duration, ending: &Ending) -> io::Result<()> {
        let number = self.number(id)?;
        let vertex = self.vertices.entry(id).or_default();
        let since = at
            .saturating_sub(vertex.started.unwrap_or(at))
            .as_secs_f64();
        if let Some(line) = vertex.cutter.rest() {
            writeln!(self.out, "#{number} {since:.3} {line}")?;
        }
        match ending {
            Ending::Cached => writeln!(self.out, "#{number} CACHED"),
            Ending::Executed(None) => writeln!(self.out, "#{number} DONE {since:.1}s"),
            Ending::Executed(Some(miss)) => {
                writeln!(self.out, "#{number} DONE {since:.1}s ({})", miss.text)
            }
            Ending::Shared => writeln!(
                self.out,
                "#{number} DONE {since:.1}s (another build ran it)"
            ),
            Ending::Failed(message) => writeln!(self.out, "#{number} ERROR: {message}"),
            Ending::Cancelled => writeln!(self.out, "#{number} CANCELED"),
        }
    }
}

impl<W: Write> Renderer for Plain<W> {
    fn update(&mut self, update: &Update) -> io::Result<()> {
        let at = update.at;
        match &update.happening {
            Happening::Planned { id, name, .. } => {
                self.vertices.entry(*id).or_default().name.clone_from(name);
                Ok(())
            }
            Happening::Started { id } => {
                self.vertices.entry(*id).or_default().started = Some(at);
                self.number(*id).map(drop)
            }
            Happening::Log { id, bytes, .. } => self.log(*id, at, bytes),
            Happening::Moved {
                id,
                label,
                bytes,
                total,
            } => self.moved(*id, at, label, *bytes, *total),
            Happening::Finished { id, ending } => {
                // What never began and was stopped with the rest is of no interest.
                let unseen = self
                    .vertices
                    .get(id)
                    .is_none_or(|vertex| vertex.number.is_none());
                match ending {
                    Ending::Cancelled if unseen => Ok(()),
                    ending => self.finished(*id, at, ending),
                }
            }
            Happening::Warning {
                message,
                line,
                finding,
            } => {
                let place = line.map_or_else(String::new, |line| format!(" (line {line})"));
                // They are many and none is urgent: at the end, as BuildKit does it.
                if finding.is_some() {
                    self.findings.push(format!("{message}{place}"));
                    return Ok(());
                }
                writeln!(self.out, "WARNING: {message}{place}")
            }
        }
    }

    fn tick(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: Duration, _: bool) -> io::Result<()> {
        match self.findings.len() {
            0 => {}
            1 => writeln!(self.out, "\n1 warning found:")?,
            count => writeln!(self.out, "\n{count} warnings found:")?,
        }
        for finding in std::mem::take(&mut self.findings) {
            writeln!(self.out, " - {finding}")?;
        }
        self.out.flush()
    }
}

/// Writes bytes as people read them: `1.2MB / 3.4MB`.
pub(super) fn amount(bytes: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{} / {}", human(bytes), human(total)),
        None => human(bytes),
    }
}

/// Writes a number of bytes with a unit, in powers of 1000 as docker does.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes}B")
    } else {
        format!("{value:.2}{}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::board::tests::{lesson, update};

    #[test]
    fn a_build_reads_from_top_to_bottom() {
        let mut plain = Plain::new(Vec::new(), Rc::default());
        for update in lesson() {
            plain.update(&update).unwrap();
        }
        plain.finish(Duration::from_secs(4), true).unwrap();
        insta::assert_snapshot!(String::from_utf8(plain.out).unwrap());
    }

    #[test]
    fn movements_are_told_of_now_and_then() {
        let mut plain = Plain::new(Vec::new(), Rc::default());
        let moved = |at, bytes| {
            let label = "sha256:abc".to_owned();
            update(
                at,
                Happening::Moved {
                    id: 1,
                    label,
                    bytes,
                    total: Some(2_500_000),
                },
            )
        };
        plain
            .update(&update(0, Happening::Started { id: 1 }))
            .unwrap();
        for (at, bytes) in [
            (0, 0),
            (1000, 500),
            (5000, 1_200_000),
            (6000, 2_500_000),
            (7000, 2_500_000),
        ] {
            plain.update(&moved(at, bytes)).unwrap();
        }
        insta::assert_snapshot!(String::from_utf8(plain.out).unwrap(), @r"
        #1 
        #1 0.000 sha256:abc 0B / 2.50MB
        #1 5.000 sha256:abc 1.20MB / 2.50MB
        #1 6.000 sha256:abc 2.50MB / 2.50MB done
        ");
    }
}
