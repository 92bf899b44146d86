//! Making lines of what steps write.

/// Cuts a step's output into lines as a terminal would show them.
///
/// A carriage return starts the line again, so that a progress bar is its last state. Escape
/// sequences and control characters go: a step must not be able to draw on our screen.
#[derive(Debug, Default)]
pub(crate) struct LineCutter {
    partial: Vec<u8>,
}

/// A line longer than this is cut where it is.
const LINE_BYTES_MAX: usize = 16 * 1024;

impl LineCutter {
    /// Takes bytes in, and hands each line that they complete to `each`.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.split_last() {
                Some((b'\n', line)) => {
                    self.partial.extend(line);
                    each(clean(&self.partial));
                    self.partial.clear();
                }
                _ => self.partial.extend(piece),
            }
            if self.partial.len() > LINE_BYTES_MAX {
                each(clean(&self.partial));
                self.partial.clear();
            }
        }
    }

    /// Returns what was written after the last line's end.
    pub(crate) fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.partial);
        Some(clean(&rest)).filter(|line| !line.is_empty())
    }
}

/// Returns a line as a terminal would show it, without colours.
fn clean(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let visible = line.rsplit(|byte| *byte == b'\r').next().unwrap_or(line);
    let text = String::from_utf8_lossy(visible);
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\x1b' => skip_escape(&mut chars),
            '\t' => {
                let width = 8 - shown.chars().count() % 8;
                shown.extend(std::iter::repeat_n(' ', width));
            }
            char if char.is_control() => {}
            char => shown.push(char),
        }
    }
    shown
}

/// Skips an escape sequence whose escape character was taken.
fn skip_escape(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        // A control sequence ends at its first letter or the like.
        Some('[') => {
            chars.find(|char| ('@'..='~').contains(char));
        }
        // An operating system command ends at a bell or at escape, backslash.
        Some(']') => {
            let end = chars.find(|char| matches!(char, '\x07' | '\x1b'));
            if end == Some('\x1b') {
                chars.next();
            }
        }
        Some('(' | ')' | '#' | '%') => {
            chars.next();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::LineCutter;

    fn check(pieces: &[&str], expected: &[&str], rest: Option<&str>) {
        let mut cutter = LineCutter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            cutter.push(piece.as_bytes(), |line| lines.push(line));
        }
        assert_eq!(lines, expected, "{pieces:?}");
        assert_eq!(cutter.rest().as_deref(), rest, "{pieces:?}");
    }

    #[test]
    fn lines_are_what_a_terminal_shows() {
        check(&["a\nb\n"], &["a", "b"], None);
        check(&["a", "b\nc"], &["ab"], Some("c"));
        check(&["a\r\nb\r\n"], &["a", "b"], None);
        check(&["10%\r50%\r100%\n"], &["100%"], None);
        check(
            &["\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b(By\n"],
            &["red xy"],
            None,
        );
        check(&["\x1b[2J\x07\x00z\n"], &["z"], None);
        check(&["ab\tc\n"], &["ab      c"], None);
        check(&["\n\n"], &["", ""], None);
        check(&["\x1b["], &[], None);
    }

    #[test]
    fn endless_lines_are_cut() {
        let mut cutter = LineCutter::default();
        let mut lines = 0;
        for _ in 0..100 {
            cutter.push(&[b'x'; 1000], |_| lines += 1);
        }
        assert!(lines > 3);
    }
}
