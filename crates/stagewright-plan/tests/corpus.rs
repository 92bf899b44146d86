//! Every Dockerfile of `tests/dockerfiles` against its snapshot, parsed and lowered in process.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test -p stagewright-plan --test corpus` writes the snapshots anew;
//! a change of one is a change of what a Dockerfile means.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a panic")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use stagewright_dockerfile::{Diagnostic, Dockerfile};
use stagewright_oci::{ImageConfig, Platform};
use stagewright_plan::{
    ImageNeed, KnownImage, KnownImages, LowerOptions, Lowered, NetworkMode, Plan, Squash, Unset,
    lower,
};

fn options() -> LowerOptions {
    LowerOptions {
        target: None,
        build_args: BTreeMap::new(),
        labels: Vec::new(),
        unset: Unset::default(),
        squash: Squash::default(),
        platform: Platform::new("linux", "amd64", None),
        build_platform: Platform::new("linux", "amd64", None),
        no_cache: false,
        no_cache_stages: Vec::new(),
        network: NetworkMode::Default,
        remote_context: None,
        named: BTreeMap::new(),
        source_date_epoch: None,
        project: String::new(),
    }
}

/// Answers every need with an empty image.
fn known(needs: &[ImageNeed], images: &mut KnownImages) {
    for need in needs {
        let image = KnownImage {
            name: need.reference.clone(),
            manifest: None,
            config: ImageConfig::default(),
            layers: Vec::new(),
        };
        images.insert(need, image);
    }
}

/// Returns what a Dockerfile means, or the diagnostic that it is refused with.
fn outcome(name: &str, bytes: &[u8]) -> Result<String, String> {
    let source = String::from_utf8_lossy(bytes).into_owned();
    let dockerfile = Dockerfile::parse(bytes)
        .map_err(|error| Diagnostic::of(&error, name, &source).to_string())?;
    let mut images = KnownImages::default();
    loop {
        match lower(&dockerfile, &options(), &images) {
            Ok(Lowered::Plan(plan)) => return Ok(render(&dockerfile, &plan)),
            Ok(Lowered::NeedImages(needs)) => known(&needs, &mut images),
            Err(error) => {
                let Some(span) = error.span else {
                    return Err(format!("{}\nhelp: {:?}\n", error.message, error.help));
                };
                let diagnostic = Diagnostic {
                    file: name,
                    source: &source,
                    span,
                    message: &error.message,
                    help: error.help.as_deref(),
                };
                return Err(diagnostic.to_string());
            }
        }
    }
}

fn render(dockerfile: &Dockerfile, plan: &Plan) -> String {
    let mut text = format!("{:?}\n", dockerfile.directives);
    for arg in &dockerfile.global_args {
        writeln!(text, "global {:?}", arg.instruction).unwrap();
    }
    for stage in &dockerfile.stages {
        writeln!(text, "stage {:?} {:?}", stage.name, stage.from).unwrap();
        for instruction in &stage.instructions {
            let (start, end) = (instruction.span.start, instruction.span.end);
            writeln!(
                text,
                "  {}:{}-{}:{} {:?}",
                start.line, start.column, end.line, end.column, instruction.instruction
            )
            .unwrap();
        }
    }
    for vertex in &plan.vertices {
        writeln!(text, "vertex {} {:?}", vertex.name, vertex.op).unwrap();
    }
    let image = plan.image.as_ref().unwrap();
    let config = serde_json::to_string_pretty(&image.config).unwrap();
    writeln!(text, "config {config}").unwrap();
    for item in &image.history {
        writeln!(text, "history {}", item.created_by).unwrap();
    }
    text
}

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/dockerfiles")
        .join(kind)
}

fn run(kind: &str, check: fn(Result<String, String>) -> Result<String, String>) {
    let mut failures = Vec::new();
    let mut count = 0;
    let mut paths: Vec<PathBuf> = fs_err::read_dir(folder(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|ending| ending == "Dockerfile")
        })
        .collect();
    paths.sort();
    for path in paths {
        count += 1;
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let bytes = fs_err::read(&path).unwrap();
        let text = match check(outcome("Dockerfile", &bytes)) {
            Ok(text) => text,
            Err(why) => {
                failures.push(format!("{kind}/{name}: {why}"));
                continue;
            }
        };
        let snapshot = path.with_extension("snap");
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs_err::write(&snapshot, &text).unwrap();
        } else if fs_err::read_to_string(&snapshot).unwrap_or_default() != text {
            failures.push(format!("{kind}/{name}: differs from its snapshot:\n{text}"));
        }
    }
    assert!(count >= 80, "only {count} cases in {kind}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_accepted_dockerfile_means_what_its_snapshot_says() {
    run("accept", |outcome| {
        outcome.map_err(|why| format!("refused:\n{why}"))
    });
}

#[test]
fn every_rejected_dockerfile_is_refused_as_its_snapshot_says() {
    run("reject", |outcome| match outcome {
        Ok(_) => Err("accepted".to_owned()),
        Err(diagnostic) => Ok(diagnostic),
    });
}
