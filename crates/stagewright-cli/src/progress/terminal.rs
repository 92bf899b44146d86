//! The terminal that progress is drawn on.

use std::os::fd::BorrowedFd;

/// What is known of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) colour: bool,
}

impl Terminal {
    /// Looks at a descriptor: `None` when it is no terminal that can be drawn on.
    pub(crate) fn of(descriptor: BorrowedFd<'_>, colour: bool) -> Option<Self> {
        if !rustix::termios::isatty(descriptor) {
            return None;
        }
        let mut terminal = Self {
            columns: 80,
            rows: 24,
            colour,
        };
        terminal.measure(descriptor);
        Some(terminal)
    }

    /// Asks for the size again: a window may have been resized.
    pub(crate) fn measure(&mut self, descriptor: BorrowedFd<'_>) {
        if let Ok(size) = rustix::termios::tcgetwinsize(descriptor)
            && size.ws_col > 0
            && size.ws_row > 0
        {
            self.columns = size.ws_col.into();
            self.rows = size.ws_row.into();
        }
    }
}
