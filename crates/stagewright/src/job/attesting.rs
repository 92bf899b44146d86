//! What a build that has ended attests.

use stagewright_digest::{Digest, LayerId};
use stagewright_plan::Plan;
use stagewright_solver::{Services, Solved};

use super::Job;
use crate::attest::{self, Attestation, Attested, Facts};
use crate::error::{Error, ErrorKind};
use crate::failure;
use crate::input::Input;
use crate::tagging::unix_ms_now;

impl Job {
    /// Makes the attestations that were asked for. A time that all builds share is theirs, too.
    pub(super) async fn attest(
        &self,
        input: &Input,
        plan: &Plan,
        services: &Services,
        solved: &Solved,
    ) -> Result<Vec<Attestation>, Error> {
        let event = self
            .reporter
            .start_internal("[internal] generating attestations");
        let attested = self.attested(input, plan, services, solved, event).await;
        self.reporter.finish_internal(event, &attested);
        let attested = attested?;
        for warning in attested.warnings {
            self.reporter.warn(warning);
        }
        Ok(attested.attestations)
    }

    async fn attested(
        &self,
        input: &Input,
        plan: &Plan,
        services: &Services,
        solved: &Solved,
        event: u64,
    ) -> Result<Attested, Error> {
        if self.request.sbom {
            let stages = attest::stages_needed(plan);
            let of_stages = stages.iter().filter_map(|place| solved.stages.get(*place));
            let mut layers: Vec<LayerId> = of_stages
                .flat_map(|stage| stage.layers.iter().copied())
                .chain(solved.layers.iter().copied())
                .collect();
            layers.sort();
            layers.dedup();
            let ensured = services.images.ensure(&layers, &self.reporter, event).await;
            ensured.map_err(failure::of_step)?;
        }
        let (started, finished) = match self.request.source_date_epoch {
            Some(seconds) => (seconds, seconds),
            None => (self.started_unix_ms / 1000, unix_ms_now() / 1000),
        };
        let (started, finished) = (rfc3339(started)?, rfc3339(finished)?);
        let facts = Facts {
            request: &self.request,
            build_args: self.build_args(),
            secrets: input.secrets.iter().map(|one| one.id.as_str()).collect(),
            source: &input.source,
            plan,
            remote_context: input.remote_context.clone(),
            materials: &services.remotes.materials(),
            context: match input.remote_context {
                Some(_) => None,
                None => services.contexts.get("context").map(AsRef::as_ref),
            },
            layers: &solved.layers,
            stages: &solved.stages,
            snapshots: &services.snapshots,
            invocation: self.invocation(input, solved),
            started,
            finished,
        };
        // Reads files for as long as it takes.
        tokio::task::block_in_place(|| attest::make(&facts))
    }

    /// Names this run of the build: another name each time, unless all builds are to be the same.
    fn invocation(&self, input: &Input, solved: &Solved) -> String {
        let mut text = input.source.text.clone();
        for layer in &solved.layers {
            text += &format!(" {layer}");
        }
        if self.request.source_date_epoch.is_none() {
            let now = std::time::SystemTime::now();
            let since = now
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default();
            text += &format!(" {} {}", std::process::id(), since.as_nanos());
        }
        const DIGITS: usize = 25;
        Digest::of(text.as_bytes()).to_hex()[..DIGITS].to_owned()
    }
}

/// Writes a time as RFC 3339 has it, in whole seconds and UTC.
fn rfc3339(unix_seconds: u64) -> Result<String, Error> {
    let fail = |reason: String| {
        let message = format!("{unix_seconds} seconds since 1970 are no time: {reason}");
        Error::new(ErrorKind::Request, message)
    };
    let seconds = i64::try_from(unix_seconds).map_err(|error| fail(error.to_string()))?;
    let time = jiff::Timestamp::from_second(seconds).map_err(|error| fail(error.to_string()))?;
    Ok(time.to_string())
}
