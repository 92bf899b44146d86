//! Where base images come from.

use stagewright_testkit::{Image, ImageWriter, LayerTar, Project, Stagewright, output, program};

const COPY_ONE: &str = "FROM base\nCOPY Dockerfile /added\n";

/// Writes a base image, and returns the folder that it lies in as `layout`.
fn base() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    ImageWriter::new()
        .layer(
            LayerTar::new()
                .folder("etc", 0o755)
                .file("etc/base", 0o644, "base"),
        )
        .env("PATH", "/bin")
        .env("FROM_BASE", "1")
        .write(&folder.path().join("layout"), "1");
    folder
}

fn assert_built_on_base(stagewright: &Stagewright, project: &Project, arguments: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let _ = stagewright
        .build_into(project, &layout, arguments)
        .success();
    let image = Image::read(&layout);
    assert_eq!(image.config.env, ["PATH=/bin", "FROM_BASE=1"]);
    for path in ["/etc/base", "/added"] {
        assert!(
            image.rootfs.get(path).is_some(),
            "{path} is missing: {:?}",
            image.rootfs
        );
    }
}

#[test]
fn an_oci_layout_is_a_base() {
    let folder = base();
    let project = Project::new().file("Dockerfile", COPY_ONE);
    let layout = folder.path().join("layout");
    let context = format!("--build-context=base=oci-layout://{}", layout.display());
    assert_built_on_base(&Stagewright::new(), &project, &[&context]);
    let tagged = format!("--build-context=base=oci-layout://{}:1", layout.display());
    assert_built_on_base(&Stagewright::new(), &project, &[&tagged]);
}

#[test]
fn a_folder_is_a_source_to_copy_from() {
    let project = Project::new()
        .file("Dockerfile", "FROM scratch\nCOPY --from=other a /\n")
        .file("other/a", "text");
    let context = format!(
        "--build-context=other={}",
        project.path().join("other").display()
    );
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let _ = Stagewright::new()
        .build_into(&project, &layout, &[&context])
        .success();
    assert!(Image::read(&layout).rootfs.get("/a").is_some());
}

fn mirror() -> String {
    match std::env::var("STAGEWRIGHT_TEST_MIRROR") {
        Ok(address) => address,
        Err(_) => panic!("the stand-in bases are not served: run `cargo xtask test`"),
    }
}

#[test]
#[ignore = "needs the stand-in bases"]
fn network_a_registry_serves_a_base_by_tag_and_by_digest() {
    let mirror = mirror();
    let option = format!("--registry-mirror=docker.io={mirror}");
    let mut inspect = std::process::Command::new(program("skopeo", "skopeo"));
    inspect.args([
        "--insecure-policy",
        "inspect",
        "--tls-verify=false",
        "--format={{.Digest}}",
    ]);
    inspect.arg(format!("docker://{mirror}/library/alpine:3.10"));
    let digest = output(&mut inspect).success().stdout.trim().to_owned();
    let names = [
        "alpine:3.10".to_owned(),
        "docker.io/library/alpine:3.10".to_owned(),
        format!("alpine@{digest}"),
        format!("alpine:3.10@{digest}"),
        format!("{mirror}/library/alpine:3.10"),
    ];
    for name in names {
        let dockerfile = format!("FROM {name}\nCOPY Dockerfile /added\n");
        let project = Project::new().file("Dockerfile", dockerfile);
        let stagewright = Stagewright::new().option(&option);
        let executed = stagewright.build(&project, &[]).success().executed();
        assert_eq!(executed, ["COPY Dockerfile /added"], "{name}");
    }
}

#[test]
#[ignore = "needs the stand-in bases"]
fn network_what_a_registry_does_not_have_is_told() {
    let option = format!("--registry-mirror=docker.io={}", mirror());
    let cases = ["alpine:no-such-tag", "no-such-image", "127.0.0.1:1/x"];
    for name in cases {
        let project =
            Project::new().file("Dockerfile", format!("FROM {name}\nCOPY Dockerfile /\n"));
        let build = Stagewright::new().option(&option).build(&project, &[]);
        assert_eq!(build.output.code(), Some(1), "{}", build.output);
        let printed = format!("{}{}", build.output.stdout, build.output.stderr);
        assert!(printed.contains(name), "{}", build.output);
    }
}

#[test]
#[ignore = "needs the stand-in bases"]
fn network_a_mirror_is_found_in_registries_conf() {
    let project = Project::new().file("Dockerfile", "FROM alpine:3.10\nCOPY Dockerfile /added\n");
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("registries.conf");
    let text = format!(
        "[[registry]]\nprefix = \"docker.io\"\nlocation = \"registry.invalid\"\n[[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
        mirror()
    );
    fs_err::write(&conf, text).unwrap();
    let stagewright = Stagewright::new();
    let mut build = stagewright.build_command(&project, &[]);
    let _ = output(build.env("CONTAINERS_REGISTRIES_CONF", &conf)).success();
}
