//! `stagewright cache`.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use stagewright::{CacheItemKind, DiskSpace};

use super::values::parse_space;

/// What to do with the cache.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CacheVerb {
    /// Show what takes the store's room
    Du(DuArguments),
    /// Remove what nobody needs from the store, the least recently used first
    Prune(PruneArguments),
    /// Check everything in the store against its digests
    Verify(VerifyArguments),
}

/// Flags of `stagewright cache du`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DuArguments {
    /// List every layer, the least recently used first
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Flags of `stagewright cache verify`.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyArguments {
    /// Move what is damaged out of the way, so that it is built again
    #[arg(long)]
    pub(crate) repair: bool,
}

/// Flags of `stagewright cache prune`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PruneArguments {
    /// Also base images, and results of steps that made no files
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Stop when the store takes no more than this, such as 5g, or 10% of the disk
    #[arg(long, value_name = "SPACE", value_parser = parse_space)]
    pub(crate) max_used_space: Option<DiskSpace>,
    /// Stop when so much is free on the store's disk; if it is, nothing goes
    #[arg(long, value_name = "SPACE", value_parser = parse_space)]
    pub(crate) min_free_space: Option<DiskSpace>,
    /// What the store may keep in any case: stop there
    #[arg(long, value_name = "SPACE", value_parser = parse_space, visible_alias = "keep-storage")]
    pub(crate) reserved_space: Option<DiskSpace>,
    /// Only what no build has used for so long, such as 36h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) max_age: Option<Duration>,
    /// Only some things: `type=regular|exec.cachemount|source.local`, `id=NAME`, `until=TIME`,
    /// `unused-for=TIME`; may be repeated
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<PruneFilter>,
    /// How to print what was removed
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// A filter of `stagewright cache prune`, as `docker builder prune` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PruneFilter {
    Type(Vec<CacheItemKind>),
    Id(String),
    UnusedFor(Duration),
}

impl FromStr for PruneFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("type", name)) => {
                let kinds: Vec<CacheItemKind> = CacheItemKind::ALL
                    .into_iter()
                    .filter(|kind| kind.type_name() == name)
                    .collect();
                if kinds.is_empty() {
                    return Err(format!(
                        "there is no type {name:?}; there are regular, exec.cachemount and source.local"
                    ));
                }
                Ok(Self::Type(kinds))
            }
            Some(("id", id)) if !id.is_empty() => Ok(Self::Id(id.to_owned())),
            Some(("until" | "unused-for", time)) => parse_duration(time).map(Self::UnusedFor),
            _ => Err(format!(
                "{text:?} is none of type=, id=, until=, unused-for="
            )),
        }
    }
}

/// Reads a length of time: numbers with the units d, h, m and s, as in `1d12h`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    // Nothing has no unit either.
    let read = stagewright::parse_duration(if text == "0" { "0s" } else { text });
    read.ok_or_else(|| format!("{text:?} is no length of time, such as 36h or 7d"))
}

/// How a table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_units() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("1d12h", Some(129_600)),
            ("5m", Some(300)),
            ("0", Some(0)),
            ("", None),
            ("5", None),
            ("h", None),
            ("-1h", None),
            ("99999999999999999999d", None),
            ("9999999999999999999d", None),
        ] {
            let found = parse_duration(text).ok().map(|time| time.as_secs());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn filters_are_dockers() {
        let read = |text: &str| text.parse::<PruneFilter>();
        assert_eq!(
            read("type=exec.cachemount"),
            Ok(PruneFilter::Type(vec![CacheItemKind::CacheMount]))
        );
        assert_eq!(read("id=abc"), Ok(PruneFilter::Id("abc".to_owned())));
        let hour = Duration::from_secs(3600);
        assert_eq!(read("until=1h"), Ok(PruneFilter::UnusedFor(hour)));
        for wrong in ["type=x", "id=", "colour=blue", "until"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
