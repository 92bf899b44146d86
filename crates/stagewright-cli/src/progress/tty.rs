//! Progress as a table that is drawn anew in place.

use std::io::{self, Write};
use std::time::Duration;

use unicode_width::UnicodeWidthStr as _;

use super::board::{Board, BoardVertex};
use super::plain::amount;
use super::{Ending, Renderer, Terminal, Update, cut};

/// As many lines of a running step's output as are shown.
const LOG_LINES: usize = 6;
/// The table gets no narrower than this.
const COLUMNS_MIN: usize = 20;

const BLUE: &str = "\x1b[34m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const FAINT: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// Draws the vertices that began, one a line, with the latest output of those that run.
pub(crate) struct Tty<W> {
    out: W,
    measure: Box<dyn FnMut() -> Terminal>,
    board: Board,
    /// The lines of the last drawing, each with the columns that it takes.
    drawn: Vec<usize>,
}

/// A line to be drawn.
struct Line {
    text: String,
    right: String,
    colour: Option<&'static str>,
}

impl<W: Write> Tty<W> {
    /// Draws to `out`, asking `measure` for the terminal's size before each drawing.
    pub(crate) fn new(out: W, measure: impl FnMut() -> Terminal + 'static) -> Self {
        Self {
            out,
            measure: Box::new(measure),
            board: Board::default(),
            drawn: Vec::new(),
        }
    }

    fn draw(&mut self, now: Duration, end: Option<bool>) -> io::Result<()> {
        let terminal = (self.measure)();
        let lines = match end {
            None => lines(&self.board, now, terminal.rows.saturating_sub(1)),
            Some(succeeded) => last_lines(&self.board, now, succeeded),
        };
        // One write a drawing: a terminal that shows half of one flickers.
        let mut text = String::new();
        self.go_back(&terminal, &mut text);
        self.drawn.clear();
        for line in lines {
            let width = line.draw(&terminal, &mut text);
            self.drawn.push(width);
        }
        text.push_str("\x1b[J");
        if end.is_some() {
            text.push_str("\x1b[?25h");
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Moves to the first line of the last drawing. On a terminal that got narrower, its lines
    /// have been broken into several.
    fn go_back(&self, terminal: &Terminal, text: &mut String) {
        let rows: usize = self
            .drawn
            .iter()
            .map(|width| width.div_ceil(terminal.columns).max(1))
            .sum();
        text.push_str("\x1b[?25l\r");
        if rows > 0 {
            text.push_str(&format!("\x1b[{rows}A"));
        }
    }
}

impl<W: Write> Renderer for Tty<W> {
    fn update(&mut self, update: &Update) -> io::Result<()> {
        self.board.update(update);
        Ok(())
    }

    fn tick(&mut self, now: Duration) -> io::Result<()> {
        self.draw(now, None)
    }

    fn finish(&mut self, now: Duration, succeeded: bool) -> io::Result<()> {
        self.draw(now, Some(succeeded))
    }
}

impl Line {
    /// Appends the line, cut to the terminal's width; returns the columns that it takes.
    fn draw(&self, terminal: &Terminal, text: &mut String) -> usize {
        // The last column stays free: some terminals go to the next line when it is written.
        let columns = terminal.columns.max(COLUMNS_MIN) - 1;
        let right = self.right.width();
        let space = columns.saturating_sub(if right > 0 { right + 1 } else { 0 });
        let left = cut(&self.text, space);
        let padding = if right > 0 {
            columns - right - left.width()
        } else {
            0
        };
        let colour = self.colour.filter(|_| terminal.colour);
        text.push_str(colour.unwrap_or_default());
        text.push_str(&left);
        text.extend(std::iter::repeat_n(' ', padding));
        text.push_str(&self.right);
        if colour.is_some() {
            text.push_str(RESET);
        }
        text.push_str("\x1b[K\n");
        left.width() + padding + right
    }
}

/// Lays out a running build on so many rows.
fn lines(board: &Board, now: Duration, rows: usize) -> Vec<Line> {
    let vertices: Vec<&BoardVertex> = board.began().collect();
    let running = vertices.iter().filter(|vertex| vertex.is_running()).count();
    let space = rows.saturating_sub(1);
    // What runs comes first, then its output, then what ended last.
    let details_max = match running {
        0 => 0,
        running => (space.saturating_sub(running) / running).min(LOG_LINES),
    };
    let body: usize = vertices
        .iter()
        .map(|vertex| 1 + details(vertex, details_max).len())
        .sum();
    let mut too_many = body.saturating_sub(space);
    let mut lines = vec![heading(board, now, None)];
    for vertex in vertices {
        if too_many > 0 && !vertex.is_running() {
            too_many -= 1;
            continue;
        }
        lines.push(vertex_line(vertex, now));
        lines.extend(details(vertex, details_max));
    }
    lines.truncate(rows.max(1));
    lines
}

/// Lays out a build that ended: everything is shown, and may scroll.
fn last_lines(board: &Board, now: Duration, succeeded: bool) -> Vec<Line> {
    let mut lines = vec![heading(board, now, Some(succeeded))];
    lines.extend(board.began().map(|vertex| vertex_line(vertex, now)));
    for warning in &board.warnings {
        lines.push(Line {
            text: format!(" ! {warning}"),
            right: String::new(),
            colour: Some(YELLOW),
        });
    }
    lines
}

fn heading(board: &Board, now: Duration, end: Option<bool>) -> Line {
    let (ended, all) = board.counts();
    let end = match end {
        None => "",
        Some(true) => " FINISHED",
        Some(false) => " FAILED",
    };
    let seconds = now.as_secs_f64();
    Line {
        text: format!("[+] Building {seconds:.1}s ({ended}/{all}){end}"),
        right: String::new(),
        colour: None,
    }
}

fn vertex_line(vertex: &BoardVertex, now: Duration) -> Line {
    let (word, colour) = match vertex.ended.as_ref().map(|(_, ending)| ending) {
        None => ("", None),
        Some(Ending::Cached) => ("CACHED ", Some(BLUE)),
        Some(Ending::Executed(_) | Ending::Shared) => ("", Some(BLUE)),
        Some(Ending::Failed(_)) => ("ERROR ", Some(RED)),
        Some(Ending::Cancelled) => ("CANCELED ", Some(YELLOW)),
    };
    // A warm build shows what the cache gave, a changed one what was not in it.
    let why = match vertex.ended.as_ref().map(|(_, ending)| ending) {
        Some(Ending::Executed(Some(miss))) => format!("  ({})", miss.text),
        _ => String::new(),
    };
    Line {
        text: format!(" => {word}{}{why}", vertex.name),
        right: format!("{:.1}s", vertex.time(now).as_secs_f64()),
        colour,
    }
}

/// What a running vertex is doing: what it moves, or the last lines of its output.
fn details(vertex: &BoardVertex, max: usize) -> Vec<Line> {
    if !vertex.is_running() {
        return Vec::new();
    }
    let faint = |text| Line {
        text,
        right: String::new(),
        colour: Some(FAINT),
    };
    let moved = vertex
        .moved
        .iter()
        .filter(|moved| moved.total != Some(moved.bytes))
        .map(|moved| {
            faint(format!(
                " => => {} {}",
                moved.label,
                amount(moved.bytes, moved.total)
            ))
        });
    let skipped = vertex.tail.len().saturating_sub(max);
    let tail = vertex
        .tail
        .iter()
        .skip(skipped)
        .map(|line| faint(format!(" => => # {line}")));
    moved.chain(tail).take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Happening;
    use crate::progress::board::tests::{lesson, update};

    /// Shows what a terminal would, with colours as `{34}`.
    fn screen(lines: &[Line], columns: usize, colour: bool) -> String {
        let mut text = String::new();
        for line in lines {
            let width = line.draw(
                &Terminal {
                    columns,
                    rows: 24,
                    colour,
                },
                &mut text,
            );
            assert!(width < columns.max(COLUMNS_MIN), "{}", line.text);
        }
        text.replace("\x1b[K", "").replace("\x1b[", "{")
    }

    fn board(until_ms: u64) -> Board {
        let mut board = Board::default();
        for update in lesson() {
            if update.at <= Duration::from_millis(until_ms) {
                board.update(&update);
            }
        }
        board
    }

    #[test]
    fn a_running_build_shows_its_steps_and_their_output() {
        let lines = lines(&board(1000), Duration::from_millis(1000), 23);
        insta::assert_snapshot!(screen(&lines, 72, false));
    }

    #[test]
    fn a_small_terminal_shows_what_runs() {
        let lines = lines(&board(1000), Duration::from_millis(1000), 5);
        insta::assert_snapshot!(screen(&lines, 40, false));
    }

    #[test]
    fn a_finished_build_shows_everything() {
        let lines = last_lines(&board(9000), Duration::from_millis(3200), true);
        insta::assert_snapshot!(screen(&lines, 72, true));
    }

    #[test]
    fn movements_are_shown_while_they_last() {
        let mut board = board(13);
        let moved = |label: &str, bytes| {
            let label = label.to_owned();
            update(
                40,
                Happening::Moved {
                    id: 1,
                    label,
                    bytes,
                    total: Some(5_000_000),
                },
            )
        };
        board.update(&update(30, Happening::Started { id: 1 }));
        board.update(&moved("sha256:aaa", 5_000_000));
        board.update(&moved("sha256:bbb", 1_500_000));
        let lines = lines(&board, Duration::from_millis(100), 23);
        insta::assert_snapshot!(screen(&lines, 72, false));
    }

    #[test]
    fn every_size_of_terminal_is_kept_to() {
        for rows in 1..12 {
            for columns in [1, 5, 20, 33, 200] {
                let lines = lines(&board(1000), Duration::from_millis(1000), rows);
                assert!(lines.len() <= rows, "{rows} rows");
                screen(&lines, columns, true);
            }
        }
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 2), "a…");
    }

    #[test]
    fn a_narrower_terminal_is_cleared_whole() {
        let sizes = std::cell::RefCell::new(vec![80, 40]);
        let measure = move || {
            let columns = sizes.borrow_mut().remove(0);
            Terminal {
                columns,
                rows: 24,
                colour: false,
            }
        };
        let mut tty = Tty::new(Vec::new(), measure);
        for update in lesson().into_iter().take(2) {
            tty.update(&update).unwrap();
        }
        tty.tick(Duration::from_millis(5)).unwrap();
        tty.out.clear();
        tty.finish(Duration::from_millis(15), true).unwrap();
        let text = String::from_utf8(tty.out).unwrap();
        // The heading took one row; the vertex, 79 columns wide, now takes two.
        assert!(text.starts_with("\x1b[?25l\r\x1b[3A"), "{text:?}");
        assert!(text.ends_with("\x1b[J\x1b[?25h"), "{text:?}");
    }
}
