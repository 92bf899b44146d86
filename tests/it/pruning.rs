//! What leaves the cache, and what stays in it.

use std::process::Command;

use serde_json::Value;
use stagewright_testkit::{Output, Project, Stagewright, output};

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
