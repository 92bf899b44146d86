//! Texts by the columns that they take on a terminal.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Returns how many columns a text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// Cuts a text to a number of columns.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut taken = String::new();
    let mut width = 0;
    for char in text.chars() {
        width += char.width().unwrap_or(0);
        if width >= columns {
            break;
        }
        taken.push(char);
    }
    taken.push('…');
    taken
}
