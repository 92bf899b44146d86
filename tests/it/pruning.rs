//! What leaves the cache, and what stays in it.

use std::process::Command;

use serde_json::Value;
use stagewright::{BuildRequest, Builder, BuilderOptions, NamedContext};
use stagewright_testkit::{Output, Project, Stagewright, output};

use crate::tmpfs::Tmpfs;

fn cache(stagewright: &Stagewright, arguments: &[&str]) -> Output {
    let mut command: Command = stagewright.command("cache");
    command
        .args(arguments)
        .arg("--store")
        .arg(stagewright.store());
    output(&mut command).success()
}

fn pruned(stagewright: &Stagewright, arguments: &[&str]) -> Value {
    let mut all = vec!["prune", "--format=json"];
    all.extend(arguments);
    serde_json::from_str(&cache(stagewright, &all).stdout).unwrap()
}

fn project(number: usize) -> Project {
    Project::new()
        .file("Dockerfile", "FROM scratch AS build\nCOPY large /large\nFROM scratch\nCOPY small /small\nCOPY --from=build /large /copy\n")
        .file("large", format!("{number}").repeat(200_000))
        .file("small", format!("{number}"))
}

#[test]
fn an_image_with_a_name_stays_and_the_rest_goes() {
    let stagewright = Stagewright::new();
    let named = project(1);
    let unnamed = project(2);
    let _ = stagewright.build(&named, &["-t", "kept:1"]).success();
    let _ = stagewright.build(&unnamed, &[]).success();
    let gone = pruned(&stagewright, &["--all"]);
    assert!(gone["bytes"].as_u64().unwrap() > 200_000, "{gone}");
    let mut inspect = stagewright.command("sizes");
    inspect
        .arg("--store")
        .arg(stagewright.store())
        .arg("kept:1");
    let _ = output(&mut inspect).success();
    let executed = stagewright
        .build(&named, &["-t", "kept:1"])
        .success()
        .executed();
    assert_eq!(
        executed,
        ["COPY large /large"],
        "the image's own layers were there"
    );
    let executed = stagewright.build(&unnamed, &[]).success().executed();
    assert_eq!(executed.len(), 3, "{executed:?}");
    assert!(
        cache(&stagewright, &["verify"])
            .stdout
            .contains("all whole")
    );
}

#[test]
fn a_size_to_keep_takes_the_least_recently_used_first() {
    let stagewright = Stagewright::new();
    let (old, new) = (project(1), project(2));
    let _ = stagewright.build(&old, &[]).success();
    let _ = stagewright.build(&new, &[]).success();
    let before = pruned(&stagewright, &["--keep-storage=1t"]);
    assert_eq!(before["bytes"], 0, "{before}");
    let left = before["left_bytes"].as_u64().unwrap();
    let keep = format!("--keep-storage={}", left - 200_000);
    // What is reserved is more than what may be used: as in BuildKit, it is kept.
    let reserved = pruned(&stagewright, &["--max-used-space=1", "--reserved-space=1t"]);
    assert_eq!(reserved["bytes"], 0, "{reserved}");
    let gone = pruned(&stagewright, &[&keep]);
    assert!(gone["bytes"].as_u64().unwrap() >= 200_000, "{gone}");
    assert_eq!(stagewright.build(&new, &[]).success().executed().len(), 0);
    assert_ne!(stagewright.build(&old, &[]).success().executed().len(), 0);
}

#[test]
fn only_what_is_asked_for_goes() {
    let stagewright = Stagewright::new();
    let project = project(1);
    let _ = stagewright.build(&project, &[]).success();
    for arguments in [
        ["--max-age=1h"],
        ["--filter=unused-for=1h"],
        ["--filter=type=exec.cachemount"],
    ] {
        let gone = pruned(&stagewright, &arguments);
        assert_eq!(gone["bytes"], 0, "{arguments:?}: {gone}");
    }
    assert_eq!(
        stagewright.build(&project, &[]).success().executed().len(),
        0
    );
}

#[test]
fn a_store_is_kept_below_its_limit_by_the_builds_themselves() {
    let stagewright = Stagewright::new().option("--store-limit=4m");
    let mut bytes = 0;
    for number in 10..40 {
        let _ = stagewright.build(&project(number), &[]).success();
        let usage = cache(&stagewright, &["du", "--format=json"]).stdout;
        let usage: Value = serde_json::from_str(&usage).unwrap();
        bytes = usage["total_bytes"].as_u64().unwrap();
    }
    // Thirty builds made about 24 MB of layers.
    assert!(bytes < 6 << 20, "{bytes} bytes are left");
    let last = stagewright.build(&project(39), &[]).success().executed();
    assert_eq!(last.len(), 0, "what was used last is gone");
}

/// Of a stage that copies a file of so many megabytes.
fn large(name: &str, megabytes: usize) -> Project {
    Project::new()
        .file("Dockerfile", "FROM scratch\nCOPY file /file\n")
        .file("file", name.repeat((megabytes << 20) / name.len()))
}

fn total_bytes(stagewright: &Stagewright) -> u64 {
    let usage = cache(stagewright, &["du", "--format=json"]).stdout;
    let usage: Value = serde_json::from_str(&usage).unwrap();
    usage["total_bytes"].as_u64().unwrap()
}

#[test]
#[ignore = "needs root"]
fn privileged_room_is_kept_free_on_the_disk_by_the_builds_and_on_demand() {
    const MB: u64 = 1 << 20;
    let disk = Tmpfs::mount(64);
    let stagewright = Stagewright::new_in(disk.path())
        .option("--store-limit=0")
        .option("--store-min-free=75%")
        .option("--store-reserved=1m");
    let named = large("named", 3);
    let _ = stagewright.build(&named, &["-t", "named:1"]).success();
    for name in ["a", "b", "c", "d", "e", "f"] {
        let _ = stagewright.build(&large(name, 3), &[]).success();
    }
    let bytes = total_bytes(&stagewright);
    assert!(bytes <= 16 * MB, "{bytes} bytes are left, and 16 MB may be");
    let executed = |project: &Project| stagewright.build(project, &[]).success().executed().len();
    assert_eq!(executed(&large("f", 3)), 0, "what was used last is gone");
    assert_eq!(executed(&named), 0, "what has a name is gone");
    // Now by hand: with enough free nothing goes, and what is reserved stays.
    for arguments in [
        ["--min-free-space=50%", "--reserved-space=0"],
        ["--min-free-space=64m", "--reserved-space=16m"],
    ] {
        let gone = pruned(&stagewright, &arguments);
        assert_eq!(gone["bytes"], 0, "{arguments:?}: {gone}");
    }
    // The disk is filled by others: before its first step the next build makes room.
    let filler = disk.path().join("filler");
    fs_err::write(&filler, vec![1; 44 << 20]).unwrap();
    let build = stagewright.build(&large("h", 9), &[]).success();
    let told = build.output.to_string();
    assert!(!told.contains("the disk of the store was full"), "{told}");
    let bytes = total_bytes(&stagewright);
    assert!(
        (12 * MB..13 * MB).contains(&bytes),
        "{bytes} bytes are left"
    );
    fs_err::remove_file(&filler).unwrap();
    let _ = stagewright.build(&large("g", 3), &[]).success();
    let gone = pruned(&stagewright, &["--min-free-space=57m"]);
    let left = gone["left_bytes"].as_u64().unwrap();
    assert!((3 * MB..=7 * MB).contains(&left), "{gone}");
    let gone = pruned(&stagewright, &["--min-free-space=100%"]);
    let left = gone["left_bytes"].as_u64().unwrap();
    assert!(
        (3 * MB..4 * MB).contains(&left),
        "only what has a name is left: {gone}"
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_build_that_finds_the_disk_full_makes_room_and_begins_anew() {
    let disk = Tmpfs::mount(56);
    let stagewright = Stagewright::with_busybox_in(disk.path())
        .option("--store-limit=0")
        .option("--store-min-free=0");
    let named = large("named", 4);
    let (old, new) = (large("old", 12), large("new", 12));
    let _ = stagewright.build(&named, &["-t", "named:1"]).success();
    let _ = stagewright.build(&old, &[]).success();
    let _ = stagewright.build(&new, &[]).success();
    let wants = |project: &Project| {
        let build = stagewright.build(project, &[]).success();
        let told = build.output.to_string();
        assert!(told.contains("the disk of the store was full"), "{told}");
    };
    // A copy, which says that the disk is full, and a command, which only fails.
    wants(&large("more", 32));
    let executed = |project: &Project| stagewright.build(project, &[]).success().executed().len();
    assert_eq!(executed(&named), 0, "what has a name is gone");
    let command = "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=40 && rm /big\n";
    wants(&Project::new().file("Dockerfile", command));
    assert_eq!(executed(&named), 0, "what has a name is gone");
    assert!(
        cache(&stagewright, &["verify"])
            .stdout
            .contains("all whole")
    );
    // What no room helps fails, once.
    let command = command.replace("count=40", "count=80");
    let failed = stagewright.build(&Project::new().file("Dockerfile", &command), &[]);
    assert_eq!(failed.output.code(), Some(1), "{}", failed.output);
    let told = failed.output.to_string();
    assert!(
        told.contains("free on the disk that the store is on"),
        "{told}"
    );
}

/// Of twenty builds at once there are five kinds, whose first two steps are the same. Each step notes that it ran in a cache
/// mount, which all builds share.
fn overlapping(number: usize) -> Project {
    let kind = number % 5;
    Project::new()
        .file(
            "Dockerfile",
            format!(
                "FROM busybox\nCOPY seed /seed\n\
                 RUN --mount=type=cache,target=/ran echo shared >> /ran/steps; cat /seed > /out\n\
                 RUN --mount=type=cache,target=/ran echo {kind} >> /ran/steps; echo {kind} >> /out\n"
            ),
        )
        .file("seed", "seed")
}

#[test]
#[ignore = "needs root"]
fn privileged_twenty_builds_at_once_run_each_step_once_while_garbage_is_collected() {
    let stagewright = Stagewright::with_busybox();
    let library = Builder::open(BuilderOptions::at(stagewright.store())).unwrap();
    let busybox: NamedContext = format!("oci-layout://{}", stagewright.busybox_layout().display())
        .parse()
        .unwrap();
    let projects: Vec<Project> = (0..20).map(overlapping).collect();
    let images: Vec<String> = std::thread::scope(|scope| {
        let builds: Vec<_> = projects
            .iter()
            .enumerate()
            .map(|(number, project)| {
                let (stagewright, library, busybox) = (&stagewright, &library, &busybox);
                scope.spawn(move || {
                    if number < 2 {
                        // Twice in this process.
                        let mut request = BuildRequest::directory(project.path());
                        request.named_contexts = vec![("busybox".to_owned(), busybox.clone())];
                        return library.build(request).wait().unwrap().id().to_string();
                    }
                    let mut quiet = stagewright.build_command(project, &["--quiet"]);
                    output(&mut quiet).success().stdout.trim().to_owned()
                })
            })
            .collect();
        while builds.iter().any(|build| !build.is_finished()) {
            let _ = pruned(&stagewright, &["--max-age=1h"]);
        }
        builds
            .into_iter()
            .map(|build| build.join().unwrap())
            .collect()
    });
    for (number, image) in images.iter().enumerate() {
        assert_eq!(
            *image,
            images[number % 5],
            "build {number} made another image than its like"
        );
    }
    let tell = Project::new().file(
        "Dockerfile",
        "FROM busybox AS tell\nRUN --mount=type=cache,target=/ran sort /ran/steps > /told\nFROM scratch\nCOPY --from=tell /told /\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let dest = format!("--output=type=local,dest={}", folder.path().display());
    let _ = stagewright.build(&tell, &[&dest]).success();
    let told = fs_err::read_to_string(folder.path().join("told")).unwrap();
    assert_eq!(
        told, "0\n1\n2\n3\n4\nshared\n",
        "what ran, a line each time"
    );
    assert!(
        cache(&stagewright, &["verify"])
            .stdout
            .contains("all whole")
    );
    // A build alone, in a store of its own, makes the same.
    let alone = Stagewright::with_busybox();
    for project in &projects[..5] {
        let mut quiet = alone.build_command(project, &["--quiet", "--reproducible"]);
        let lone = output(&mut quiet).success().stdout;
        let mut again = stagewright.build_command(project, &["--quiet", "--reproducible"]);
        assert_eq!(output(&mut again).success().stdout, lone);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_twenty_builds_at_once_succeed_while_everything_unused_is_collected() {
    let stagewright = Stagewright::with_busybox();
    let projects: Vec<Project> = (0..20)
        .map(|number| {
            Project::new()
                .file("Dockerfile", format!("FROM busybox\nCOPY seed /seed\nRUN cat /seed > /out\nRUN echo {} >> /out\n", number % 5))
                .file("seed", "seed")
        })
        .collect();
    std::thread::scope(|scope| {
        let builds: Vec<_> = projects
            .iter()
            .map(|project| {
                let stagewright = &stagewright;
                scope.spawn(move || stagewright.build(project, &[]).success())
            })
            .collect();
        while builds.iter().any(|build| !build.is_finished()) {
            let _ = pruned(&stagewright, &["--all"]);
        }
        for build in builds {
            let _ = build.join().unwrap();
        }
    });
    assert!(
        cache(&stagewright, &["verify"])
            .stdout
            .contains("all whole")
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_store_that_may_not_be_written_is_told() {
    let user = std::env::var("STAGEWRIGHT_TEST_USER").unwrap();
    let stagewright = Stagewright::new();
    let project = project(1);
    let _ = stagewright.build(&project, &[]).success();
    let folder = tempfile::tempdir().unwrap();
    let everybody = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    let program = folder.path().join("stagewright");
    fs_err::copy(stagewright.command("build").get_program(), &program).unwrap();
    for path in [
        folder.path(),
        project.path(),
        stagewright.store().parent().unwrap(),
    ] {
        fs_err::set_permissions(path, everybody.clone()).unwrap();
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid",
            &user,
            "--regid",
            &user,
            "--init-groups",
            "--reset-env",
        ])
        .arg(&program)
        .args(["build", "--quiet", "--store"])
        .arg(stagewright.store())
        .arg(project.path());
    let said = output(&mut command);
    assert_eq!(said.code(), Some(1), "{}", said.stderr);
    let store = stagewright.store().display().to_string();
    assert!(
        said.stderr.contains(&store) && said.stderr.contains("ermission denied"),
        "{}",
        said.stderr
    );
}
