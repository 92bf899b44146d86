//! `stagewright cache`.

use clap::{Args, Subcommand, ValueEnum};

use super::values::parse_bytes;

/// What to do with the cache.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CacheVerb {
    /// Show what takes the store's room
    Du(DuArguments),
    /// Remove what has not been used for long, or is too much
    Prune(PruneArguments),
    /// Check everything in the store against its digests
    Verify(VerifyArguments),
}

/// Flags of `stagewright cache du`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DuArguments {
    /// List every item
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Flags of `stagewright cache prune`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PruneArguments {
    /// Keep up to so many bytes, such as 10g
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) keep_storage: Option<u64>,
    /// Remove only what has not been used for so long, such as 72h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub(crate) max_age: Option<u64>,
    /// Remove everything that no running build and no named image uses
    #[arg(short, long)]
    pub(crate) all: bool,
}

/// Flags of `stagewright cache verify`.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyArguments {
    /// Set aside what is damaged, so that it is built again
    #[arg(long)]
    pub(crate) repair: bool,
}

/// How a table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Parses a time with a unit: `90s`, `15m`, `72h`, `7d`, or several in a row.
fn parse_seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a time, such as 72h or 7d");
    let mut seconds: u64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..end].parse().map_err(|_| wrong())?;
        let unit = match rest[end..].chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            _ => return Err(wrong()),
        };
        seconds = number
            .checked_mul(unit)
            .and_then(|more| seconds.checked_add(more))
            .ok_or_else(wrong)?;
        rest = &rest[end + 1..];
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::parse_seconds;

    #[test]
    fn times_have_units() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("1h30m", Some(5400)),
            ("7d", Some(604_800)),
            ("", None),
            ("5", None),
            ("5y", None),
            ("h", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(parse_seconds(text).ok(), expected, "{text}");
        }
    }
}
