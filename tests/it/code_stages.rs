//! Stages that are written in code, through the library.

use std::path::PathBuf;

use stagewright::{
    BuildRequest, Builder, BuilderOptions, DockerfileSource, ErrorKind, EventKind, Image, Mount,
    NamedContext, Outcome, RunStep, SecretValue, Stage,
};
use stagewright_testkit::{Project, busybox};
use tempfile::TempDir;

struct Library {
    builder: Builder,
    folder: TempDir,
}

impl Library {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let builder = Builder::open(BuilderOptions::at(folder.path().join("store"))).unwrap();
        Self { builder, folder }
    }

    fn busybox(&self) -> (String, NamedContext) {
        let path: PathBuf = self.folder.path().join("busybox");
        if !path.exists() {
            busybox(&path);
        }
        let reference = None;
        (
            "busybox".to_owned(),
            NamedContext::OciLayout { path, reference },
        )
    }

    /// Builds, and returns the image and the names of the steps that ran.
    fn build(&self, request: BuildRequest) -> (Image, Vec<String>) {
        let mut build = self.builder.build(request);
        let mut events = build.events().unwrap();
        let (mut names, mut ran) = (Vec::new(), Vec::new());
        while let Some(event) = events.next_blocking() {
            match event.kind {
                EventKind::Planned { vertices } => names.extend(vertices),
                EventKind::Finished {
                    vertex,
                    outcome: Outcome::Executed { .. },
                } => ran.push(vertex),
                _ => {}
            }
        }
        let image = build.wait().unwrap();
        let ran = names
            .into_iter()
            .filter(|info| info.step && ran.contains(&info.id))
            .map(|info| info.name)
            .collect();
        (image, ran)
    }
}

fn project() -> Project {
    Project::new()
        .file("package.json", "{}")
        .file("src/index.js", "one")
        .file(".dockerignore", "Dockerfile\n")
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_stage_in_code_and_a_dockerfile_hit_each_others_results() {
    let dockerfile = "\
FROM scratch AS build
WORKDIR /build
COPY package.json ./
COPY src src

FROM scratch
ENV MODE=run
COPY --from=build --chown=1:2 /build /app
CMD [\"node\", \"/app\"]
";
    let build = Stage::scratch()
        .workdir("/build")
        .copy(["package.json"], "./")
        .copy(["src"], "src");
    let app = Stage::scratch()
        .env("MODE", "run")
        .copy_with(stagewright::CopyStep {
            from: (&build).into(),
            chown: Some("1:2".to_owned()),
            ..stagewright::CopyStep::new(["/build"], "/app")
        })
        .cmd(["node", "/app"]);
    let library = Library::new();
    let project = project().file("Dockerfile", dockerfile);
    let in_code = BuildRequest::stage(app, project.path());
    let in_file = BuildRequest::directory(project.path());

    let (first, ran) = library.build(in_file.clone());
    assert!(!ran.is_empty());
    let (second, ran) = library.build(in_code.clone());
    assert_eq!(ran, NOTHING);
    assert_eq!(first.config().rootfs, second.config().rootfs);
    assert_eq!(first.config().config, second.config().config);

    let library = Library::new();
    let (_, ran) = library.build(in_code);
    assert!(!ran.is_empty());
    let (_, ran) = library.build(in_file);
    assert_eq!(ran, NOTHING);
}

#[test]
#[ignore = "needs root"]
fn privileged_commands_in_code_hit_those_of_a_dockerfile() {
    let library = Library::new();
    let project = project().file("Dockerfile", "FROM busybox\nRUN echo one > /one\n");
    let in_file = BuildRequest {
        named_contexts: vec![library.busybox()],
        ..BuildRequest::directory(project.path())
    };
    let stage = Stage::from("busybox").run("echo one > /one");
    let in_code = BuildRequest {
        named_contexts: vec![library.busybox()],
        ..BuildRequest::stage(stage.clone().run("set -e\ntest -f /one"), project.path())
    };
    let (_, ran) = library.build(in_file);
    assert_eq!(ran, ["[2/2] RUN echo one > /one"]);
    let (_, ran) = library.build(in_code);
    assert_eq!(ran.len(), 1, "only the new command runs: {ran:?}");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_secrets_value_is_given_with_the_stage() {
    let library = Library::new();
    let secret = |value: &[u8]| Mount::Secret {
        id: "token".to_owned(),
        target: None,
        env: None,
        value: Some(SecretValue::Bytes(value.to_vec())),
    };
    let step = RunStep::shell("test \"$(cat /run/secrets/token)\" = hunter2");
    let stage = Stage::from("busybox").run_with(step.clone().mount(secret(b"hunter2")));
    let request = BuildRequest {
        named_contexts: vec![library.busybox()],
        ..BuildRequest::stage(stage.clone(), library.folder.path().join("busybox"))
    };
    library.build(request.clone());
    let other = Stage::from(&stage).run_with(step.mount(secret(b"other")));
    let error = library
        .builder
        .build(BuildRequest {
            stage: Some(other),
            ..request
        })
        .wait()
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Request);
    assert!(error.message.contains("two values"), "{error}");
}

#[test]
fn a_stage_in_code_goes_on_from_a_dockerfiles_target() {
    let library = Library::new();
    let project = project().file(
        "Dockerfile",
        "FROM scratch AS base\nENV A=1\nCOPY package.json /\nFROM scratch AS other\n# \\",
    );
    let stage = Stage::from("base").env("B", "$A$A").copy(["src"], "/src");
    let request = BuildRequest {
        stage: Some(stage),
        ..BuildRequest::directory(project.path())
    };
    let (image, ran) = library.build(request);
    assert!(image.config().config.env.contains(&"B=11".to_owned()));
    assert_eq!(ran.len(), 2, "{ran:?}");
}

#[test]
fn a_stage_in_code_is_a_named_context_of_a_dockerfile() {
    let library = Library::new();
    let project = project().file(
        "Dockerfile",
        "FROM assets\nCOPY --from=assets /package.json /copy.json\n",
    );
    let assets = Stage::scratch()
        .copy(["package.json"], "/")
        .label("of", "code");
    let request = BuildRequest {
        named_contexts: vec![("assets".to_owned(), NamedContext::Stage(assets))],
        ..BuildRequest::directory(project.path())
    };
    let (image, ran) = library.build(request);
    assert_eq!(image.config().rootfs.diff_ids.len(), 2);
    assert_eq!(ran.len(), 2, "{ran:?}");
    assert_eq!(image.config().config.labels.get("of").unwrap(), "code");
}

#[test]
fn stages_that_need_each_other_are_refused() {
    let library = Library::new();
    let project = project().file("Dockerfile", "FROM assets AS base\n");
    let request = BuildRequest {
        named_contexts: vec![(
            "assets".to_owned(),
            NamedContext::Stage(Stage::from("base").env("A", "1")),
        )],
        ..BuildRequest::directory(project.path())
    };
    let error = library.builder.build(request).wait().unwrap_err();
    assert!(error.message.contains("need each other"), "{error}");
}

#[test]
fn a_fault_in_code_is_shown_where_its_instruction_is_written() {
    let library = Library::new();
    let project = project().file("Dockerfile", "FROM scratch AS base\n");
    let request = BuildRequest {
        stage: Some(Stage::from("base").copy(["missing"], "/")),
        ..BuildRequest::directory(project.path())
    };
    let error = library.builder.build(request).wait().unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert_eq!(error.line, Some(4));
    assert!(error.drawing.unwrap().contains("COPY missing /"));
    let error = library
        .builder
        .build(BuildRequest {
            dockerfile: DockerfileSource::Nothing,
            ..BuildRequest::directory(project.path())
        })
        .wait()
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Request);
}

#[test]
fn images_that_are_kept_keep_no_file_open() {
    let library = Library::new();
    let project = project().file("Dockerfile", "FROM scratch\nCOPY . /\n");
    let open_in_project = || {
        let links = fs_err::read_dir("/proc/self/fd").unwrap();
        let targets = links.filter_map(|link| fs_err::read_link(link.unwrap().path()).ok());
        targets
            .filter(|target| target.starts_with(project.path()))
            .count()
    };
    let images: Vec<Image> = (0..8)
        .map(|_| library.build(BuildRequest::directory(project.path())).0)
        .collect();
    assert_eq!(open_in_project(), 0);
    assert_eq!(images.len(), 8);
}
