//! What a step wrote: how much of it is shown, and its last lines.

use std::borrow::Cow;
use std::collections::VecDeque;

/// How many of a step's last lines an error carries.
const TAIL_LINES: usize = 20;
/// A line longer than this is cut in an error.
const TAIL_LINE_BYTES: usize = 4096;
/// As in BuildKit.
const LOG_BYTES_MAX: u64 = 2 << 20;

/// Lets through what a step writes until it is too much, and says so then.
#[derive(Debug)]
pub(crate) struct Clip {
    limit: u64,
    left: u64,
    clipped: bool,
    /// What was let through last ended a line.
    at_line_start: bool,
}

/// Something to show.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown<'b> {
    pub(crate) bytes: Cow<'b, [u8]>,
    /// The step did not write it.
    pub(crate) is_ours: bool,
}

impl Clip {
    /// Takes a limit in bytes, or the usual one; 0 is none.
    pub(crate) fn new(limit: Option<u64>) -> Self {
        let limit = match limit.unwrap_or(LOG_BYTES_MAX) {
            0 => u64::MAX,
            limit => limit,
        };
        Self {
            limit,
            left: limit,
            clipped: false,
            at_line_start: true,
        }
    }

    /// Returns what is shown of a piece, and after it what is to be said.
    pub(crate) fn shown<'b>(&mut self, bytes: &'b [u8]) -> [Option<Shown<'b>>; 2] {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (kept, rest) = bytes.split_at(room.min(bytes.len()));
        self.left -= kept.len() as u64;
        if let Some(last) = kept.last() {
            self.at_line_start = *last == b'\n';
        }
        let said = (!rest.is_empty() && !self.clipped).then(|| {
            self.clipped = true;
            let start = if self.at_line_start { "" } else { "\n" };
            let limit = self.limit;
            let text = format!(
                "{start}[output clipped: the step wrote more than the log limit of {limit} bytes]\n"
            );
            Shown {
                bytes: Cow::Owned(text.into_bytes()),
                is_ours: true,
            }
        });
        let kept = (!kept.is_empty()).then_some(Shown {
            bytes: Cow::Borrowed(kept),
            is_ours: false,
        });
        [kept, said]
    }
}

/// The last lines of what a step wrote.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: VecDeque<Vec<u8>>,
    /// The last line has not ended yet.
    open: bool,
}

impl Tail {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.open {
                self.lines.push_back(Vec::new());
                if self.lines.len() > TAIL_LINES {
                    self.lines.pop_front();
                }
            }
            let ended = piece.ends_with(b"\n");
            if let Some(line) = self.lines.back_mut() {
                let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                let room = TAIL_LINE_BYTES.saturating_sub(line.len());
                line.extend_from_slice(&text[..text.len().min(room)]);
            }
            self.open = !ended;
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines
            .iter()
            .map(|line| {
                String::from_utf8_lossy(line)
                    .trim_end_matches('\r')
                    .to_owned()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_keeps_whole_last_lines_however_they_come() {
        let mut tail = Tail::default();
        for number in 0..TAIL_LINES {
            tail.add(format!("line {number}\r\n").as_bytes());
        }
        tail.add(b"the l");
        tail.add(b"ast\nno end");
        let lines = tail.lines();
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines[0], "line 2");
        assert_eq!(lines[TAIL_LINES - 2..], ["the last", "no end"]);
    }

    fn through(limit: Option<u64>, pieces: &[&[u8]]) -> String {
        let mut clip = Clip::new(limit);
        let mut all = Vec::new();
        for piece in pieces {
            for shown in clip.shown(piece).into_iter().flatten() {
                all.extend_from_slice(&shown.bytes);
            }
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn what_is_too_much_is_left_out_and_told_once() {
        let said = |limit| {
            format!("[output clipped: the step wrote more than the log limit of {limit} bytes]\n")
        };
        assert_eq!(through(Some(4), &[b"ab", b"cd"]), "abcd");
        assert_eq!(
            through(Some(4), &[b"ab", b"cde", b"f"]),
            format!("abcd\n{}", said(4))
        );
        assert_eq!(through(Some(2), &[b"a\n", b"b"]), format!("a\n{}", said(2)));
        let much = vec![b'x'; 3 << 20];
        assert_eq!(through(Some(0), &[&much]).len(), 3 << 20);
        assert!(through(None, &[&much]).ends_with(&said(2 << 20)));
    }
}
