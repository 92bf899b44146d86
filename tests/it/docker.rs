//! Docker takes what we write and push, and we take what it pushes and holds.

use std::path::Path;

use serde_json::Value;
use stagewright_testkit::{DockerDaemon, DockerRegistry, Image, Project, Stagewright, output};

const TEXT: &str = "as it was copied\nand made\n";

struct Docker {
    daemon: DockerDaemon,
    stagewright: Stagewright,
}

impl Docker {
    fn ours(&self, words: &[&str]) -> String {
        self.of(&self.stagewright, words)
    }

    /// Runs our command with a store; it finds the daemon.
    fn of(&self, stagewright: &Stagewright, words: &[&str]) -> String {
        let mut command = stagewright.command(words[0]);
        command
            .args(&words[1..])
            .arg("--store")
            .arg(stagewright.store());
        output(self.daemon.reach(&mut command)).success().stdout
    }

    fn build(&self, arguments: &[&str]) {
        let project = Project::new()
            .file(
                "Dockerfile",
                "FROM busybox\nCOPY data /data\nRUN echo and made > /made\nENV A=1\nCMD [\"cat\", \"/data\", \"/made\"]\n",
            )
            .file("data", "as it was copied\n");
        let mut build = self.stagewright.build_command(&project, arguments);
        let _ = output(self.daemon.reach(&mut build)).success();
    }

    /// Starts an image, and forgets it: the next one brings its layers anew.
    fn runs(&self, name: &str) {
        let run = ["run", "--rm", "--network=none", name];
        assert_eq!(self.daemon.docker(&run).stdout, TEXT, "{name}");
        let _ = self.daemon.docker(&["image", "rm", "--force", name]);
    }

    fn id(&self, name: &str) -> String {
        let inspect = ["image", "inspect", "--format", "{{.Id}}", name];
        self.daemon.docker(&inspect).stdout.trim().to_owned()
    }
}

/// Docker 20.10 knows no zstd; podman and skopeo are asked about that form elsewhere.
#[test]
#[ignore = "needs root, docker.io and docker-registry"]
fn privileged_docker_takes_what_we_write_and_gives_what_it_has() {
    let docker = Docker {
        daemon: DockerDaemon::start(),
        stagewright: Stagewright::with_busybox(),
    };
    let registry = DockerRegistry::open();
    let out = tempfile::tempdir().unwrap();
    let archive = out.path().join("image.tar").display().to_string();
    // Loaded by us, with attestations and without.
    docker.build(&["-t", "loaded:1", "--load"]);
    docker.runs("loaded:1");
    docker.build(&[
        "-t",
        "loaded:2",
        "--sbom",
        "--provenance",
        "-o",
        "type=docker",
    ]);
    docker.runs("loaded:2");
    // Written by us and loaded by it.
    for (name, options) in [
        ("written:plain", ""),
        ("written:gzip", ",compression=gzip,oci-mediatypes=true"),
    ] {
        let to = format!("type=docker,dest={archive}{options}");
        docker.build(&["-t", name, "-o", &to]);
        let _ = docker.daemon.docker(&["load", "--input", &archive]);
        docker.runs(name);
    }
    // Pushed by us and pulled by it.
    for (tag, options, attested) in [
        ("gzip", "", false),
        ("estargz", ",compression=estargz", false),
        (
            "docker",
            ",compression=uncompressed,oci-mediatypes=false",
            false,
        ),
        ("attested", "", true),
    ] {
        let name = format!("{}/pushed:{tag}", registry.address());
        let to = format!("type=registry{options}");
        let arguments = ["-t", &name, "-o", &to, "--sbom", "--provenance"];
        docker.build(&arguments[..if attested { 6 } else { 4 }]);
        let _ = docker.daemon.docker(&["pull", "--quiet", &name]);
        docker.runs(&name);
    }
    there_and_back(&docker, &registry, out.path());
}

/// What docker holds, pushes and saves comes to us as it is, and goes back.
fn there_and_back(docker: &Docker, registry: &DockerRegistry, out: &Path) {
    docker.build(&["-t", "held:1", "--load"]);
    let id = docker.id("held:1");
    let pushed = format!("{}/theirs:1", registry.address());
    let _ = docker.daemon.docker(&["tag", "held:1", &pushed]);
    let _ = docker.daemon.docker(&["push", &pushed]);
    let saved = out.join("saved.tar").display().to_string();
    let _ = docker
        .daemon
        .docker(&["save", "--output", &saved, "held:1"]);
    let inspect =
        |place: &str| -> Value { serde_json::from_str(&docker.ours(&["inspect", place])).unwrap() };
    assert_eq!(inspect("docker-daemon:held:1")["id"], id);
    let user = Stagewright::new();
    let _ = docker.of(&user, &["pull", &pushed]);
    let _ = docker.of(&user, &["load", "-i", &saved]);
    for name in [pushed.as_str(), "held:1"] {
        let shown: Value = serde_json::from_str(&docker.of(&user, &["inspect", name])).unwrap();
        assert_eq!(shown["id"], id, "{name}");
    }
    let _ = docker.ours(&["copy", "docker-daemon:held:1", "copied:1"]);
    assert_eq!(inspect("copied:1")["id"], id);
    let layout = out.join("layout");
    let to = format!("oci:{}", layout.display());
    let _ = docker.ours(&["copy", "docker-daemon:held:1", &to]);
    let image = Image::read(&layout);
    assert!(image.rootfs.get("/made").is_some() && image.config.env.contains(&"A=1".to_owned()));
    let _ = docker.daemon.docker(&["image", "rm", "held:1", &pushed]);
    let _ = docker.of(&user, &["copy", &to, "docker-daemon:given:1"]);
    assert_eq!(docker.id("given:1"), id);
    docker.runs("given:1");
    let mut missing = docker.stagewright.command("inspect");
    missing.args(["docker-daemon:nothing:1", "--store"]);
    missing.arg(docker.stagewright.store());
    let missing = output(docker.daemon.reach(&mut missing)).failure(1);
    assert!(missing.stderr.contains("nothing:1"), "{missing}");
}
