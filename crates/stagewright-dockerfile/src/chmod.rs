//! Modes of `--chmod`.

use std::fmt;

/// A mode: octal digits, or changes as `chmod(1)` takes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chmod {
    text: String,
    change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Change {
    Absolute(u32),
    Symbolic(Vec<Clause>),
}

/// `u+rwX`: who, what is done, and which bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Clause {
    /// The bits of those whom it is about, set-id and sticky bits among them.
    who: u32,
    operator: char,
    read: bool,
    write: bool,
    execute: bool,
    /// `X`: execute for directories, and for files that anyone may execute.
    execute_if_any: bool,
    set_id: bool,
    sticky: bool,
    /// `u`, `g` or `o`: the bits that these have.
    copy: Option<char>,
}

impl Chmod {
    /// Parses a mode.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "invalid chmod parameter: {text:?}: it must be octal between 0 and 07777, or as in u=rwX,go=rX"
            )
        };
        let change = if text.starts_with(|char: char| char.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777);
            Change::Absolute(mode.ok_or_else(wrong)?)
        } else {
            let mut clauses = Vec::new();
            for part in text.split(',') {
                clauses_of(part, &mut clauses).ok_or_else(wrong)?;
            }
            Change::Symbolic(clauses)
        };
        Ok(Self {
            text: text.to_owned(),
            change,
        })
    }

    /// Returns the mode that everything gets: nothing for changes.
    pub fn absolute(&self) -> Option<u32> {
        match &self.change {
            Change::Absolute(mode) => Some(*mode),
            Change::Symbolic(_) => None,
        }
    }

    /// Returns the mode that a file of mode `mode` gets.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match &self.change {
            Change::Absolute(mode) => *mode,
            Change::Symbolic(clauses) => clauses.iter().fold(mode & 0o7777, |mode, clause| {
                clause.apply(mode, is_directory)
            }),
        }
    }
}

impl fmt::Display for Chmod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn clauses_of(part: &str, clauses: &mut Vec<Clause>) -> Option<()> {
    let operators = part.find(['+', '-', '='])?;
    let (who, mut rest) = part.split_at(operators);
    let mut bits = 0;
    for char in who.chars() {
        bits |= match char {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o0007,
            'a' => 0o6777,
            _ => return None,
        };
    }
    if who.is_empty() {
        bits = 0o6777;
    }
    while let Some(operator) = rest.chars().next() {
        rest = &rest[1..];
        let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
        let mut clause = Clause {
            who: bits,
            operator,
            read: false,
            write: false,
            execute: false,
            execute_if_any: false,
            set_id: false,
            sticky: false,
            copy: None,
        };
        for char in rest[..end].chars() {
            match char {
                'r' => clause.read = true,
                'w' => clause.write = true,
                'x' => clause.execute = true,
                'X' => clause.execute_if_any = true,
                's' => clause.set_id = true,
                't' => clause.sticky = true,
                'u' | 'g' | 'o' => clause.copy = Some(char),
                _ => return None,
            }
        }
        clauses.push(clause);
        rest = &rest[end..];
    }
    Some(())
}

impl Clause {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let execute = self.execute || (self.execute_if_any && (is_directory || mode & 0o111 != 0));
        let mut three = u32::from(self.read) << 2 | u32::from(self.write) << 1 | u32::from(execute);
        three |= match self.copy {
            Some('u') => mode >> 6 & 7,
            Some('g') => mode >> 3 & 7,
            Some(_) => mode & 7,
            None => 0,
        };
        let set_id = if self.set_id { 0o6000 } else { 0 };
        let sticky = if self.sticky { 0o1000 } else { 0 };
        let bits = (three << 6 | three << 3 | three | set_id) & self.who | sticky;
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & !(self.who & 0o777) & !(self.who & 0o6000) | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_apply() {
        for (chmod, mode, is_directory, expected) in [
            ("755", 0o600, false, 0o755),
            ("0", 0o600, false, 0),
            ("04755", 0o600, false, 0o4755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("g=u", 0o640, false, 0o660),
            ("u+s", 0o755, false, 0o4755),
            ("+t", 0o755, true, 0o1755),
            ("o=", 0o755, false, 0o750),
            ("u+r-w", 0o200, false, 0o400),
        ] {
            let parsed = Chmod::parse(chmod).unwrap();
            assert_eq!(
                parsed.apply(mode, is_directory),
                expected,
                "{chmod} on {mode:o}"
            );
        }
    }

    #[test]
    fn wrong_modes_are_refused() {
        for wrong in ["", "8", "77777", "u", "z+x", "u+z", "755,u+x", "-1x"] {
            assert!(Chmod::parse(wrong).is_err(), "{wrong}");
        }
    }
}
