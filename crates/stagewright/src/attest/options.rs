//! What a build is asked to attest.

use std::str::FromStr;

use crate::csv::csv_fields;
use crate::error::{Error, ErrorKind};

/// How provenance is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProvenanceOptions {
    /// How much is told.
    pub mode: ProvenanceMode,
    /// Who builds, as a URI: a job of a CI service. Stagewright itself if absent.
    pub builder_id: Option<String>,
    /// The caller says that the build gives the same bytes each time.
    pub reproducible: bool,
    /// The name of the file in outputs of files: `provenance.json` if absent.
    pub filename: Option<String>,
    /// It is no file in outputs of files.
    pub inline_only: bool,
}

/// How much provenance tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProvenanceMode {
    /// When, by whom and of which sources; nothing of the build's arguments.
    Min,
    /// Also the build arguments, labels, names of secrets, steps, and the Dockerfile.
    #[default]
    Max,
}

/// What `--attest` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttestArgument {
    /// Provenance, or none.
    Provenance(Option<ProvenanceOptions>),
    /// An SBOM, or none.
    Sbom(bool),
}

impl FromStr for ProvenanceOptions {
    type Err = Error;

    /// Reads what `--provenance` takes beside `true` and `false`:
    /// `mode=min|max,builder-id=URI,reproducible=true,filename=NAME,inline-only=true,version=v1`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let fields = csv_fields(text).map_err(|message| fail(&message))?;
        Self::of_fields(&fields)
    }
}

impl ProvenanceOptions {
    fn of_fields(fields: &[String]) -> Result<Self, Error> {
        let mut options = Self::default();
        for field in fields {
            // Docker takes the mode alone, too.
            let (key, value) = field.split_once('=').unwrap_or(("mode", field));
            match key.trim().to_ascii_lowercase().as_str() {
                "mode" => {
                    options.mode = match value {
                        "min" => ProvenanceMode::Min,
                        "max" | "full" => ProvenanceMode::Max,
                        _ => return Err(fail(&format!("mode is min or max, not {value:?}"))),
                    }
                }
                "builder-id" => options.builder_id = Some(value.to_owned()),
                "reproducible" => options.reproducible = boolean(key, value)?,
                "inline-only" => options.inline_only = boolean(key, value)?,
                "filename" if value.is_empty() || value.contains('/') => {
                    return Err(fail("filename is the name of a file, without folders"));
                }
                "filename" => options.filename = Some(value.to_owned()),
                "version" if value == "v1" => {}
                "version" => {
                    let message =
                        format!("provenance is written in SLSA's version v1, not {value:?}");
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
                other => return Err(unknown("provenance", other)),
            }
        }
        Ok(options)
    }
}

impl FromStr for AttestArgument {
    type Err = Error;

    /// Reads what `--attest` takes: `type=provenance[,mode=…]`, `type=sbom`, each with
    /// `disabled=true`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let fields = csv_fields(text).map_err(|message| fail(&message))?;
        let mut kind = None;
        let mut disabled = false;
        let mut rest = Vec::new();
        for field in fields {
            match field.split_once('=') {
                Some(("type", value)) => kind = Some(value.to_owned()),
                Some(("disabled", value)) => disabled = boolean("disabled", value)?,
                _ => rest.push(field),
            }
        }
        match kind.as_deref() {
            Some("provenance") => {
                let options = ProvenanceOptions::of_fields(&rest)?;
                Ok(Self::Provenance((!disabled).then_some(options)))
            }
            Some("sbom") => {
                if let Some(field) = rest.first() {
                    let key = field.split('=').next().unwrap_or_default();
                    return Err(unknown("sbom", key));
                }
                Ok(Self::Sbom(!disabled))
            }
            Some(other) => Err(fail(&format!(
                "an attestation is of type provenance or sbom, not {other:?}"
            ))),
            None => Err(fail("write --attest type=provenance or type=sbom")),
        }
    }
}

impl AttestArgument {
    /// Reads what `--provenance` takes: a boolean, or [`ProvenanceOptions`].
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for what is neither, [`ErrorKind::Unsupported`] for another version.
    pub fn provenance(text: &str) -> Result<Self, Error> {
        Ok(Self::Provenance(match as_boolean(text) {
            Some(false) => None,
            Some(true) => Some(ProvenanceOptions::default()),
            None => Some(text.parse()?),
        }))
    }

    /// Reads what `--sbom` takes: a boolean.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for another generator than the one that is built in.
    pub fn sbom(text: &str) -> Result<Self, Error> {
        match as_boolean(text) {
            Some(asked) => Ok(Self::Sbom(asked)),
            None => format!("type=sbom,{text}").parse(),
        }
    }
}

fn as_boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Some(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, Error> {
    as_boolean(value).ok_or_else(|| fail(&format!("{key} is true or false, not {value:?}")))
}

fn unknown(kind: &str, key: &str) -> Error {
    if (kind, key) == ("sbom", "generator") {
        let message = "generators of SBOMs that are images are not run: the packages are found by the builder itself";
        return Error::new(ErrorKind::Unsupported, message);
    }
    fail(&format!(
        "an attestation of type {kind} has no option `{key}`"
    ))
}

fn fail(message: &str) -> Error {
    Error::new(ErrorKind::Request, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_buildx() {
        let min = ProvenanceOptions {
            mode: ProvenanceMode::Min,
            ..ProvenanceOptions::default()
        };
        for (text, expected) in [
            (
                "type=provenance",
                AttestArgument::Provenance(Some(ProvenanceOptions::default())),
            ),
            (
                "type=provenance,mode=min,version=v1",
                AttestArgument::Provenance(Some(min.clone())),
            ),
            (
                "type=provenance,mode=min,disabled=true",
                AttestArgument::Provenance(None),
            ),
            ("type=sbom", AttestArgument::Sbom(true)),
            ("type=sbom,disabled=true", AttestArgument::Sbom(false)),
        ] {
            assert_eq!(text.parse::<AttestArgument>().unwrap(), expected, "{text}");
        }
        for text in ["min", "mode=min"] {
            let parsed = AttestArgument::provenance(text).unwrap();
            assert_eq!(parsed, AttestArgument::Provenance(Some(min.clone())));
        }
        for (text, kind, expected) in [
            ("type=x", ErrorKind::Request, "provenance or sbom"),
            ("mode=min", ErrorKind::Request, "type=provenance"),
            ("type=provenance,mode=x", ErrorKind::Request, "min or max"),
            ("type=provenance,version=v0.2", ErrorKind::Unsupported, "v1"),
            (
                "type=provenance,filename=a/b",
                ErrorKind::Request,
                "folders",
            ),
            ("type=sbom,generator=x", ErrorKind::Unsupported, "not run"),
            ("type=sbom,x=y", ErrorKind::Request, "no option `x`"),
        ] {
            let error = text.parse::<AttestArgument>().unwrap_err();
            assert_eq!(error.kind, kind, "{text}");
            assert!(error.message.contains(expected), "{text}: {error}");
        }
    }
}
