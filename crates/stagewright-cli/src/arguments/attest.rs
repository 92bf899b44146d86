//! `--attest`, `--provenance`, `--sbom`.

use std::str::FromStr;

use clap::Args;
use stagewright::{AttestArgument, ProvenanceOptions};

/// What goes with the image.
#[derive(Debug, Clone, Args)]
pub(crate) struct AttestArguments {
    /// Attest how the image was made, or what is in it (`type=provenance[,mode=min|max]`, `type=sbom`)
    #[arg(long, value_name = "ATTESTATION")]
    attest: Vec<AttestArgument>,
    /// Attest how the image was made: `--attest type=provenance`
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL|mode=MODE")]
    provenance: Option<Provenance>,
    /// Attest which packages are in the image: `--attest type=sbom`
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    sbom: Option<Sbom>,
}

#[derive(Debug, Clone)]
struct Provenance(AttestArgument);

impl FromStr for Provenance {
    type Err = stagewright::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        AttestArgument::provenance(text).map(Self)
    }
}

#[derive(Debug, Clone)]
struct Sbom(AttestArgument);

impl FromStr for Sbom {
    type Err = stagewright::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        AttestArgument::sbom(text).map(Self)
    }
}

impl AttestArguments {
    /// Returns the provenance that is asked for, and whether an SBOM is. As in buildx, each may be
    /// said once.
    pub(crate) fn asked(&self) -> Result<(Option<ProvenanceOptions>, bool), String> {
        let (mut provenance, mut sbom) = (None, None);
        let short = self.provenance.iter().map(|it| &it.0);
        let all = self.attest.iter().chain(short);
        for argument in all.chain(self.sbom.iter().map(|it| &it.0)) {
            let twice = match argument {
                AttestArgument::Provenance(options) => {
                    provenance.replace(options.clone()).map(|_| "provenance")
                }
                AttestArgument::Sbom(asked) => sbom.replace(*asked).map(|_| "sbom"),
            };
            if let Some(kind) = twice {
                return Err(format!("the attestation {kind} is asked for twice"));
            }
        }
        Ok((provenance.flatten(), sbom.unwrap_or(false)))
    }
}
