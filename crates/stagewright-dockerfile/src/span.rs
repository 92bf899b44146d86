//! Places in a Dockerfile.

use serde::Serialize;

/// A place: line and column, both from 1. Columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// A stretch of a Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Span {
    /// Its first character.
    pub start: Position,
    /// What follows its last character.
    pub end: Position,
}

impl Span {
    /// Returns the span of some columns of one line.
    pub fn on_line(line: u32, from_column: u32, to_column: u32) -> Self {
        Self {
            start: Position {
                line,
                column: from_column,
            },
            end: Position {
                line,
                column: to_column.max(from_column + 1),
            },
        }
    }
}
