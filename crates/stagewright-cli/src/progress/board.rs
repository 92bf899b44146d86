//! A picture of a build: which vertices there are and how they stand.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::log::LineCutter;
use super::{Ending, Happening, Update, VertexId};

/// As many lines of a step's output as are kept to be shown.
const TAIL_LINES: usize = 12;

/// The vertices in the order in which they began, and the warnings.
#[derive(Debug, Default)]
pub(crate) struct Board {
    vertices: BTreeMap<VertexId, BoardVertex>,
    began: Vec<VertexId>,
    pub(crate) warnings: Vec<String>,
}

/// One vertex.
#[derive(Debug, Default)]
pub(crate) struct BoardVertex {
    pub(crate) name: String,
    pub(crate) started: Option<Duration>,
    pub(crate) ended: Option<(Duration, Ending)>,
    pub(crate) tail: VecDeque<String>,
    /// What is being moved, in the order in which it began to.
    pub(crate) moved: Vec<BoardMoved>,
    cutter: LineCutter,
}

/// Something that a vertex moves.
#[derive(Debug)]
pub(crate) struct BoardMoved {
    pub(crate) label: String,
    pub(crate) bytes: u64,
    pub(crate) total: Option<u64>,
}

impl BoardVertex {
    /// Returns how long it has taken, or took.
    pub(crate) fn time(&self, now: Duration) -> Duration {
        let end = self.ended.as_ref().map_or(now, |(end, _)| *end);
        end.saturating_sub(self.started.unwrap_or(end))
    }

    /// Tells whether it began and has not ended.
    pub(crate) fn is_running(&self) -> bool {
        self.started.is_some() && self.ended.is_none()
    }
}

impl Board {
    /// Takes in what happened.
    pub(crate) fn update(&mut self, update: &Update) {
        let at = update.at;
        match &update.happening {
            Happening::Planned { id, name, .. } => {
                self.vertices.entry(*id).or_default().name.clone_from(name);
            }
            Happening::Started { id } => self.begin(*id, at),
            Happening::Log { id, bytes, .. } => {
                let vertex = self.vertices.entry(*id).or_default();
                let tail = &mut vertex.tail;
                vertex.cutter.push(bytes, |line| push_tail(tail, line));
            }
            Happening::Moved {
                id,
                label,
                bytes,
                total,
            } => {
                self.vertices
                    .entry(*id)
                    .or_default()
                    .moved(label, *bytes, *total);
            }
            Happening::Finished { id, ending } => {
                if *ending != Ending::Cancelled || self.began.contains(id) {
                    self.begin(*id, at);
                }
                let vertex = self.vertices.entry(*id).or_default();
                if let Some(line) = vertex.cutter.rest() {
                    push_tail(&mut vertex.tail, line);
                }
                vertex.ended = Some((at, ending.clone()));
            }
            Happening::Warning { message, line, .. } => self.warnings.push(match line {
                Some(line) => format!("{message} (line {line})"),
                None => message.clone(),
            }),
        }
    }

    fn begin(&mut self, id: VertexId, at: Duration) {
        let vertex = self.vertices.entry(id).or_default();
        if vertex.started.is_none() {
            vertex.started = Some(at);
            self.began.push(id);
        }
    }

    /// Returns the vertices that began, in that order.
    pub(crate) fn began(&self) -> impl Iterator<Item = &BoardVertex> {
        self.began.iter().filter_map(|id| self.vertices.get(id))
    }

    /// Returns how many vertices ended, and how many there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let ended = self
            .vertices
            .values()
            .filter(|vertex| vertex.ended.is_some())
            .count();
        (ended, self.vertices.len())
    }
}

impl BoardVertex {
    fn moved(&mut self, label: &str, bytes: u64, total: Option<u64>) {
        match self.moved.iter_mut().find(|moved| moved.label == label) {
            Some(moved) => (moved.bytes, moved.total) = (bytes, total),
            None => self.moved.push(BoardMoved {
                label: label.to_owned(),
                bytes,
                total,
            }),
        }
    }
}

fn push_tail(tail: &mut VecDeque<String>, line: String) {
    if tail.len() == TAIL_LINES {
        tail.pop_front();
    }
    tail.push_back(line);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::progress::Miss;

    pub(crate) fn update(at_ms: u64, happening: Happening) -> Update {
        Update {
            at: Duration::from_millis(at_ms),
            happening,
        }
    }

    fn planned(id: VertexId, name: &str, step: bool) -> Happening {
        Happening::Planned {
            id,
            name: name.to_owned(),
            stage: String::new(),
            line: None,
            step,
        }
    }

    /// A build with something of everything.
    pub(crate) fn lesson() -> Vec<Update> {
        let log = |id, text: &str| Happening::Log {
            id,
            bytes: text.into(),
            is_stderr: false,
        };
        let miss = || Miss {
            kind: "changed",
            text: "file package.json changed".to_owned(),
            changes: vec![],
        };
        let finished = |id, ending| Happening::Finished { id, ending };
        vec![
            update(
                0,
                planned(0, "[internal] load build definition from Dockerfile", false),
            ),
            update(0, Happening::Started { id: 0 }),
            update(12, finished(0, Ending::Executed(None))),
            update(13, planned(1, "[build 1/3] FROM node:12-stretch", true)),
            update(13, planned(2, "[build 2/3] COPY package.json ./", true)),
            update(13, planned(3, "[build 3/3] RUN npm ci", true)),
            update(
                13,
                planned(4, "[stage-1 2/3] RUN apk add --update nodejs", true),
            ),
            update(13, planned(5, "[stage-1 3/3] COPY --from=0 /build .", true)),
            update(20, finished(1, Ending::Cached)),
            update(21, Happening::Started { id: 2 }),
            update(30, finished(2, Ending::Executed(Some(miss())))),
            update(31, Happening::Started { id: 3 }),
            update(31, Happening::Started { id: 4 }),
            update(500, log(3, "npm WARN deprecated\nadd")),
            update(700, log(4, "fetch 1\r\nfetch 2\n")),
            update(2000, log(3, "ed 1 package\nno newline")),
            update(2100, finished(3, Ending::Executed(Some(miss())))),
            update(
                2200,
                Happening::Warning {
                    message: "the name is odd".to_owned(),
                    line: Some(7),
                    finding: None,
                },
            ),
            update(3000, finished(4, Ending::Shared)),
            update(3100, Happening::Started { id: 5 }),
            update(3200, finished(5, Ending::Executed(None))),
        ]
    }

    #[test]
    fn counts_and_order_follow_what_happened() {
        let mut board = Board::default();
        for update in lesson() {
            board.update(&update);
        }
        assert_eq!(board.counts(), (6, 6));
        assert_eq!(board.began().count(), 6);
        assert_eq!(board.warnings, ["the name is odd (line 7)"]);
        let npm = board.began().nth(3).unwrap();
        assert_eq!(
            npm.tail,
            ["npm WARN deprecated", "added 1 package", "no newline"]
        );
        assert_eq!(npm.time(Duration::ZERO), Duration::from_millis(2069));
    }
}
