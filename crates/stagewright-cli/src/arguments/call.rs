//! `--call` of `stagewright build`.

use std::str::FromStr;

/// What is to be done with a Dockerfile, as buildx spells it: `METHOD[,format=json|text][,ignorestatus=BOOL]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallArgument {
    pub(crate) method: CallMethod,
    /// JSON rather than text.
    pub(crate) json: bool,
    /// Findings don't make the command fail.
    pub(crate) ignore_status: bool,
}

/// The methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallMethod {
    Build,
    Check,
    Outline,
    Targets,
}

impl CallArgument {
    /// What `--check` is short for.
    pub(crate) const CHECK: Self = Self {
        method: CallMethod::Check,
        json: false,
        ignore_status: false,
    };
}

impl FromStr for CallArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut call = Self {
            method: CallMethod::Build,
            json: false,
            ignore_status: false,
        };
        for (index, field) in text.split(',').enumerate() {
            match field.split_once('=') {
                None if index == 0 => call.method = method(field)?,
                Some(("method", value)) => call.method = method(value)?,
                Some(("format", "json")) => call.json = true,
                Some(("format", "text")) => call.json = false,
                Some(("format", other)) => {
                    return Err(format!(
                        "the format {other:?} is not known: it is json or text"
                    ));
                }
                None if field == "ignorestatus" => call.ignore_status = true,
                Some(("ignorestatus", "true" | "1")) => call.ignore_status = true,
                Some(("ignorestatus", "false" | "0")) => call.ignore_status = false,
                _ => {
                    return Err(format!(
                        "{field:?} is not known: a method is followed by format=json or ignorestatus=true"
                    ));
                }
            }
        }
        Ok(call)
    }
}

fn method(name: &str) -> Result<CallMethod, String> {
    match name {
        "build" => Ok(CallMethod::Build),
        "check" | "lint" => Ok(CallMethod::Check),
        "outline" => Ok(CallMethod::Outline),
        "targets" => Ok(CallMethod::Targets),
        other => Err(format!(
            "the method {other:?} is not known: it is build, check, outline or targets"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buildxs_ways_to_spell_a_call_work() {
        let call = |method, json, ignore_status| {
            Ok(CallArgument {
                method,
                json,
                ignore_status,
            })
        };
        for (text, expected) in [
            ("build", call(CallMethod::Build, false, false)),
            ("check", call(CallMethod::Check, false, false)),
            ("lint,format=json", call(CallMethod::Check, true, false)),
            (
                "outline,format=text",
                call(CallMethod::Outline, false, false),
            ),
            (
                "method=targets,format=json,ignorestatus=true",
                call(CallMethod::Targets, true, true),
            ),
        ] {
            assert_eq!(text.parse::<CallArgument>(), expected, "{text}");
        }
        for text in ["", "convert", "check,format=xml", "check,colour=red"] {
            assert!(text.parse::<CallArgument>().is_err(), "{text}");
        }
    }
}
