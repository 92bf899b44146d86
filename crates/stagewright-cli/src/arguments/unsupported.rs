//! Flags of docker's that are known and not supported: refused by name, never ignored.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// One such flag.
struct Flag {
    /// With its dashes.
    typed: &'static str,
    takes: Takes,
    /// Values that ask for what happens anyway.
    granted: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Value,
    /// `--flag` or `--flag=VALUE`.
    OptionalValue,
}

const fn flag(typed: &'static str, takes: Takes, granted: &'static [&'static str]) -> Flag {
    Flag {
        typed,
        takes,
        granted,
    }
}

const FALSE: &[&str] = &["false", "0"];

/// What `docker build`, `buildx build` and `podman build` take and this command does not.
const FLAGS: &[Flag] = &[
    flag("--builder", Takes::Value, &[]),
    flag("--compress", Takes::OptionalValue, FALSE),
    flag("--debug", Takes::OptionalValue, FALSE),
    // Annotations of a base are never taken over.
    flag("--inherit-annotations", Takes::OptionalValue, FALSE),
    flag("--isolation", Takes::Value, &["default", ""]),
    flag("--policy", Takes::Value, &[]),
    flag("--resource", Takes::Value, &[]),
    flag("--security-opt", Takes::Value, &[]),
];

/// Which of the flags were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unsupported {
    given: Vec<&'static str>,
}

impl Unsupported {
    /// Returns the first such flag, as it is typed.
    pub(crate) fn first(&self) -> Option<&'static str> {
        self.given.first().copied()
    }
}

impl FromArgMatches for Unsupported {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let asked = |flag: &Flag| {
            matches
                .get_many::<String>(flag.typed)
                .is_some_and(|mut values| {
                    values.any(|value| !flag.granted.contains(&value.as_str()))
                })
        };
        let given = FLAGS
            .iter()
            .filter(|flag| asked(flag))
            .map(|flag| flag.typed)
            .collect();
        Ok(Self { given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Unsupported {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(|flag| {
            let arg = Arg::new(flag.typed)
                .long(flag.typed.trim_start_matches('-'))
                .hide(true)
                .action(ArgAction::Append);
            match flag.takes {
                Takes::Value => arg.num_args(1),
                Takes::OptionalValue => arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true"),
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
