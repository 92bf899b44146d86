//! What base images and build contexts are made of to get out.

use stagewright_testkit::{ImageWriter, LayerTar, Project, Stagewright, program};

use super::{Outside, confined, hostile_layers};

/// Starts a layer with a shell.
fn with_shell(layer: LayerTar) -> LayerTar {
    let busybox = fs_err::read(program("busybox", "busybox-static")).unwrap();
    let mut layer = layer
        .folder("bin", 0o755)
        .file("bin/busybox", 0o755, busybox);
    for name in ["sh", "cat", "echo", "head", "ls", "touch", "true", "id"] {
        layer = layer.symlink(&format!("bin/{name}"), "busybox");
    }
    layer
}

/// Builds a step on layers, below which lies a shell. What comes of it is checked; it may fail.
fn build_on(stagewright: &Stagewright, outside: &Outside, layer: LayerTar, step: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    ImageWriter::new()
        .layer(with_shell(LayerTar::new()))
        .layer(layer)
        .env("PATH", "/bin")
        .write(&layout, "latest");
    let context = format!("--build-context=base=oci-layout://{}", layout.display());
    let project = Project::new().file("Dockerfile", format!("FROM base\nRUN {step}\n"));
    confined(stagewright, outside, &project, &[&context]).log()
}

/// CVE-2018-15664, CVE-2021-41103, CVE-2024-3154 and their like: names and links in layers that lead out.
#[test]
#[ignore = "needs root"]
fn privileged_layers_of_base_images_stay_inside() {
    let stagewright = Stagewright::new();
    let outside = Outside::new();
    for layer in hostile_layers(&outside) {
        let step = "cat /seen /link/secret; touch /link/made; true";
        let _ = build_on(&stagewright, &outside, layer, step);
    }
}

/// CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-31133, CVE-2025-52565: places
/// that the sandbox mounts on are links in the image.
#[test]
#[ignore = "needs root"]
fn privileged_images_do_not_choose_where_the_sandbox_mounts() {
    let stagewright = Stagewright::new();
    let outside = Outside::new();
    let path = outside.path();
    let up = format!("{}{path}", "../".repeat(12));
    let layers = [
        LayerTar::new().symlink("proc", &path),
        LayerTar::new().symlink("proc", &up),
        LayerTar::new().symlink("proc", "tmp/proc"),
        LayerTar::new().symlink("sys", &path),
        LayerTar::new().symlink("dev", &path),
        LayerTar::new()
            .folder("dev", 0o755)
            .symlink("dev/null", &format!("{path}/secret"))
            .symlink("dev/pts", &path)
            .symlink("dev/shm", &path)
            .symlink("dev/mqueue", &path)
            .symlink("dev/console", &format!("{path}/secret")),
        LayerTar::new().symlink("etc", &path),
        LayerTar::new()
            .folder("etc", 0o755)
            .symlink("etc/resolv.conf", &format!("{path}/secret"))
            .symlink("etc/hosts", &format!("{path}/hollow")),
        // Whose account file is a file of the host: CVE-2020-8945 and others read it outside.
        LayerTar::new()
            .folder("etc", 0o755)
            .symlink("etc/passwd", &format!("{path}/secret"))
            .symlink("etc/group", &format!("{path}/secret")),
    ];
    for layer in layers {
        let step = "cat /etc/resolv.conf /etc/hosts /etc/passwd /dev/null /dev/console /proc/secret /sys/secret 2>/dev/null; \
                    for f in /proc/sysrq-trigger /proc/sys/vm/swappiness /proc/sys/kernel/domainname; do \
                    if ( echo h > $f ) 2>/dev/null && test -s /proc/1/status; then echo ESCAPE $f; fi; done; true";
        let said = build_on(&stagewright, &outside, layer, step);
        assert!(!said.contains("ESCAPE /"), "{said}");
    }
}

/// Devices in layers may be there and are not opened.
#[test]
#[ignore = "needs root"]
fn privileged_devices_of_base_images_cannot_be_opened() {
    let stagewright = Stagewright::new();
    let outside = Outside::new();
    let layer = LayerTar::new()
        .device("zero", (1, 5))
        .device("mem", (1, 1))
        .device("kmsg", (1, 11));
    let step = "ls -l /zero && for f in zero mem kmsg; do if head -c 1 /$f > /dev/null 2>&1; then echo ESCAPE $f; fi; done; echo all were tried";
    let said = build_on(&stagewright, &outside, layer, step);
    assert!(said.contains("all were tried"), "{said}");
    for name in ["zero", "mem", "kmsg"] {
        assert!(!said.contains(&format!("ESCAPE {name}\n")), "{said}");
    }
}

/// CVE-2022-4122, CVE-2022-4123 and their like: files of the context that say what is built are links.
#[test]
#[ignore = "needs root"]
fn privileged_files_that_steer_the_build_are_no_links_out_of_the_context() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let secret = format!("{}/secret", outside.path());
    let up = format!("{}{secret}", "../".repeat(12));
    for target in [&secret, &up] {
        let ignored = Project::new()
            .file(
                "Dockerfile",
                "FROM busybox\nCOPY . /all\nRUN cat /all/* /all/.d*; true\n",
            )
            .symlink(".dockerignore", target);
        let _ = confined(&stagewright, &outside, &ignored, &[]);
        let contained = Project::new()
            .file(
                "Containerfile",
                "FROM busybox\nCOPY . /all\nRUN cat /all/* /all/.c*; true\n",
            )
            .symlink(".containerignore", target);
        let _ = confined(&stagewright, &outside, &contained, &[]);
        let own = Project::new()
            .file(
                "Dockerfile",
                "FROM busybox\nCOPY . /all\nRUN cat /all/* /all/.d*; true\n",
            )
            .symlink("Dockerfile.dockerignore", target);
        let _ = confined(&stagewright, &outside, &own, &[]);
    }
}

/// What a step with all rights mounts is not seen outside, even where mounts are shared.
#[test]
#[ignore = "needs root"]
fn privileged_mounts_of_steps_do_not_spread() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN --security=insecure mkdir -p /m && mount -t tmpfs stagewright-escape /m && mount --make-rshared / && \
         mount -t tmpfs stagewright-escape /m && echo mounted\n",
    );
    let build =
        stagewright.build_command(&project, &["--progress=plain", "--allow=security.insecure"]);
    let mut shared = std::process::Command::new("unshare");
    shared
        .args(["--mount", "--propagation", "shared", "/bin/sh", "-c"])
        .arg("mount --make-rshared / && \"$0\" \"$@\"; code=$?; cat /proc/self/mountinfo; exit $code")
        .arg(build.get_program())
        .args(build.get_args());
    for (name, value) in build.get_envs() {
        match value {
            Some(value) => shared.env(name, value),
            None => shared.env_remove(name),
        };
    }
    let said = stagewright_testkit::output(&mut shared).success();
    assert!(said.stderr.contains("mounted"), "{said}");
    // The draft of the root is one of those that must not be seen either.
    let store = stagewright.store().display().to_string();
    for part in ["stagewright-escape", store.as_str()] {
        assert!(!said.stdout.contains(part), "{said}");
    }
}
