//! `stagewright build`.

use std::process::ExitCode;

use serde_json::json;
use stagewright::{BuildRequest, Builder, Image, normal_platform};

use super::outputs::Written;
use super::watch::Screen;
use super::{call, input, outputs, shell, watch};
use crate::arguments::BuildArguments;
use crate::failure::Failure;

/// Builds, and writes what was asked for.
pub(crate) fn run(builder: &Builder, arguments: &BuildArguments) -> Result<ExitCode, Failure> {
    if let Some(call) = arguments.asks() {
        return call::run(builder, call, input::read(arguments)?.request);
    }
    outputs::check(builder, arguments)?;
    let input = input::read(arguments)?;
    let screen = Screen::new(arguments.progress.or_quiet(arguments.quiet));
    let build = || -> Result<Vec<Image>, Failure> {
        let requests = per_platform(&input.request, &arguments.platform)?;
        let images: Vec<Image> = requests
            .into_iter()
            .map(|request| {
                let build = builder.build(request);
                let kept = build.kept_step();
                watch::watch(build, &screen).map_err(|failure| shell::open(failure, &kept))
            })
            .collect::<Result<_, _>>()?;
        if let [_, _, ..] = images[..] {
            for name in &arguments.tag {
                builder.name_images(&images.iter().collect::<Vec<_>>(), name)?;
            }
        }
        Ok(images)
    };
    let write = |images: &[Image]| {
        let outputs = outputs::Outputs {
            arguments,
            images: &images.iter().collect::<Vec<_>>(),
            screen: &screen,
            epoch: input.request.source_date_epoch,
        };
        let written = outputs.write()?;
        outputs.export_caches()?;
        Ok::<_, Failure>(written)
    };
    let seen = builder.damage_seen();
    let mut images = build()?;
    let stdout_taken = arguments
        .output
        .iter()
        .any(|output| outputs::to_stdout(&output.kind));
    let written = match write(&images) {
        // A layer that turned out to be damaged is gone: what made it runs again.
        Err(_) if builder.damage_seen() > seen && !stdout_taken => {
            images = build()?;
            write(&images)?
        }
        written => written?,
    };
    let Some(image) = images.first() else {
        return Ok(ExitCode::SUCCESS);
    };
    let id = written.id(image).to_string();
    if let Some(file) = &arguments.iidfile {
        fs_err::write(file, &id)?;
    }
    if let Some(file) = &arguments.metadata_file {
        let text = format!("{:#}\n", metadata(&images, image, &written)?);
        fs_err::write(file, text)?;
    }
    if screen.is_quiet() && !stdout_taken {
        println!("{id}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns a request for each platform. Names are the first one's until all are built, and can have
/// them together.
fn per_platform(
    request: &BuildRequest,
    platforms: &[String],
) -> Result<Vec<BuildRequest>, Failure> {
    if platforms.is_empty() {
        return Ok(vec![request.clone()]);
    }
    let mut requests: Vec<BuildRequest> = Vec::new();
    for platform in platforms {
        let platform = Some(normal_platform(platform)?);
        if requests.iter().any(|known| known.platform == platform) {
            continue;
        }
        let tags = match requests.is_empty() {
            true => request.tags.clone(),
            false => Vec::new(),
        };
        requests.push(BuildRequest {
            platform,
            tags,
            ..request.clone()
        });
    }
    Ok(requests)
}

/// Says what buildx says, under its names.
fn metadata(
    images: &[Image],
    image: &Image,
    written: &Written,
) -> Result<serde_json::Value, Failure> {
    let mut document = json!({});
    for image in images {
        for attestation in image.attested(true)? {
            let Some(predicate) = attestation.predicate else {
                continue;
            };
            if attestation.predicate_type.starts_with(SLSA) {
                let key = match images {
                    [_] => PROVENANCE.to_owned(),
                    _ => format!("{PROVENANCE}/{}", image.config().platform()),
                };
                document[key] = predicate;
            }
        }
    }
    let config = written.config(image);
    if let Some(config) = config {
        document["containerimage.config.digest"] = config.to_string().into();
    }
    let digest = written
        .manifest
        .as_ref()
        .and_then(|exported| exported.manifest)
        .map(|digest| digest.to_string());
    if let (Some(digest), Some(exported)) = (&digest, &written.manifest) {
        let mut annotations = json!({});
        if let Some(config) = config {
            annotations["config.digest"] = config.to_string().into();
        }
        if let Some(created) = &image.config().created {
            annotations["org.opencontainers.image.created"] = created.as_str().into();
        }
        document["containerimage.digest"] = digest.as_str().into();
        document["containerimage.descriptor"] = json!({
            "mediaType": exported.media_type,
            "digest": digest,
            "size": exported.bytes,
            "annotations": annotations,
        });
    }
    let mut names = image.names().to_vec();
    for name in &written.names {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    if let Some(digest) = digest.filter(|_| written.canonical) {
        let canonical: Vec<String> = names
            .iter()
            .map(|name| format!("{name}@{digest}"))
            .collect();
        names.extend(canonical);
    }
    if !names.is_empty() {
        document["image.name"] = names.join(",").into();
    }
    Ok(document)
}

/// What buildx calls provenance in its metadata.
const PROVENANCE: &str = "buildx.build.provenance";
/// What kind of predicate provenance is, in any version.
const SLSA: &str = "https://slsa.dev/provenance/";
