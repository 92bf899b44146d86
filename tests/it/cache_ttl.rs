//! Results that are too old to be used.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use stagewright::Digest;
use stagewright_testkit::{Build, Project, Stagewright, output};

const NOTHING: [&str; 0] = [];
const TWO_DAYS: &str = "--cache-ttl=2d";

/// A step that makes the same each time, and what follows it.
const FIRST: &str = "FROM busybox\nCOPY file /file\nRUN cat /file > /first\n";
const SECOND: &str = "RUN cat /first > /second\n";

fn project(dockerfile: &str) -> Project {
    Project::new()
        .file("Dockerfile", dockerfile)
        .file("file", "file")
}

/// What ran, and why.
fn misses(build: Build) -> Vec<(String, String)> {
    let build = build.success();
    let reasons = build.events().into_iter().filter_map(|event| {
        let miss = event["miss"]["text"].as_str()?.to_owned();
        (event["step"] == true).then_some(miss)
    });
    build.executed().into_iter().zip(reasons).collect()
}

/// What the documents of an image layout are rewritten to.
fn put(layout: &Path, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes).to_string();
    let (_, hex) = digest.split_once(':').unwrap();
    fs_err::write(layout.join("blobs/sha256").join(hex), bytes).unwrap();
    serde_json::json!({ "digest": digest, "size": bytes.len() })
}

fn get(layout: &Path, descriptor: &Value) -> Value {
    let (_, hex) = descriptor["digest"]
        .as_str()
        .unwrap()
        .split_once(':')
        .unwrap();
    let bytes = fs_err::read(layout.join("blobs/sha256").join(hex)).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn replace(descriptor: &mut Value, with: &Value) {
    descriptor["digest"] = with["digest"].clone();
    descriptor["size"] = with["size"].clone();
}

/// Rewrites a cache in a folder as if all in it had been made so long ago.
fn aged(layout: &Path, age: Duration) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let made = u64::try_from((now - age).as_millis()).unwrap();
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    let mut manifest = get(layout, &index["manifests"][0]);
    let mut document = get(layout, &manifest["config"]);
    let results = document["results"].as_array_mut().unwrap();
    assert!(!results.is_empty());
    for result in results
        .iter_mut()
        .filter(|result| result["madeUnixMs"].is_u64())
    {
        result["madeUnixMs"] = made.into();
    }
    let config = put(layout, document.to_string().as_bytes());
    replace(&mut manifest["config"], &config);
    let named = put(layout, manifest.to_string().as_bytes());
    replace(&mut index["manifests"][0], &named);
    fs_err::write(path, index.to_string()).unwrap();
}

/// Builds on another machine, and returns its cache as it would be more than three days later.
fn old_cache(folder: &Path, dockerfile: &str) -> String {
    let other = Stagewright::with_busybox();
    let to = format!("--cache-to=type=local,mode=max,dest={}", folder.display());
    let _ = other.build(&project(dockerfile), &[&to]).success();
    aged(folder, Duration::from_secs(75 * 3600));
    format!("--cache-from=type=local,src={}", folder.display())
}

#[test]
#[ignore = "needs root"]
fn privileged_what_was_made_too_long_ago_runs_again_and_the_same_files_stop_it_there() {
    let folder = tempfile::tempdir().unwrap();
    let from = old_cache(folder.path(), FIRST);
    let here = Stagewright::with_busybox();
    let first = project(FIRST);
    let _ = here.build_into(&first, &folder.path().join("image"), &[&from]);
    let both = project(&format!("{FIRST}{SECOND}"));
    // The first step is three days old now, the second is new.
    let ran = here.build(&both, &[]).success().executed();
    assert_eq!(ran, ["RUN cat /first > /second"]);
    assert_eq!(misses(here.build(&both, &["--cache-ttl=4d"])), []);
    let explained = here.explain(&both, &[TWO_DAYS]);
    let told = "made 3 days ago, older than --cache-ttl 2d";
    let first_run = explained
        .iter()
        .find(|step| step.verdict == "miss")
        .unwrap();
    assert_eq!(
        (&*first_run.instruction, &*first_run.reason),
        ("RUN cat /file > /first", told)
    );
    assert_eq!(explained.last().unwrap().verdict, "depends_on");
    let ran = misses(here.build(&both, &[TWO_DAYS]));
    assert_eq!(
        ran,
        [("RUN cat /file > /first".to_owned(), told.to_owned())]
    );
    // It is new now, by that it ran again; and it is no other step.
    assert_eq!(here.build(&both, &[TWO_DAYS]).success().executed(), NOTHING);
    assert_eq!(here.build(&both, &[]).success().executed(), NOTHING);
}

#[test]
#[ignore = "needs root"]
fn privileged_what_follows_runs_again_if_it_is_too_old_too() {
    let folder = tempfile::tempdir().unwrap();
    let dockerfile = format!("{FIRST}{SECOND}");
    let from = old_cache(folder.path(), &dockerfile);
    let project = project(&dockerfile);
    let here = Stagewright::with_busybox();
    // The cache of others counts from what it says; with the option it is not taken, without it is.
    let ran = misses(here.build(&project, &[&from, TWO_DAYS]));
    let steps: Vec<_> = ran.iter().map(|(step, _)| step.as_str()).collect();
    assert_eq!(
        steps,
        ["RUN cat /file > /first", "RUN cat /first > /second"]
    );
    for (step, why) in &ran {
        assert_eq!(why, "made 3 days ago, older than --cache-ttl 2d", "{step}");
    }
    let again = here.build(&project, &[&from, TWO_DAYS]).success();
    assert_eq!(again.executed(), NOTHING);
    let third = Stagewright::with_busybox();
    let mut plain = third.build_command(&project, &[&from, TWO_DAYS, "--progress=plain"]);
    let told = output(&mut plain).success().to_string();
    let reason = "s (made 3 days ago, older than --cache-ttl 2d)";
    assert_eq!(told.matches(reason).count(), 2, "{told}");
    let third = Stagewright::with_busybox();
    assert_eq!(
        third.build(&project, &[&from]).success().executed(),
        NOTHING
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_young_result_of_a_cache_takes_the_place_of_an_old_one() {
    let (old, young) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from_old = old_cache(old.path(), FIRST);
    let project = project(FIRST);
    let here = Stagewright::with_busybox();
    let _ = here.build_into(&project, &old.path().join("image"), &[&from_old]);
    let explained = here.explain(&project, &[TWO_DAYS]);
    assert_eq!(explained.last().unwrap().verdict, "miss", "{explained:?}");
    let to = format!("--cache-to=type=local,dest={}", young.path().display());
    let other = Stagewright::with_busybox();
    let _ = other.build(&project, &[&to]).success();
    let from = format!("--cache-from=type=local,src={}", young.path().display());
    for arguments in [vec![&*from, TWO_DAYS], vec![TWO_DAYS]] {
        let executed = here.build(&project, &arguments).success().executed();
        assert_eq!(executed, NOTHING, "{arguments:?}");
    }
    // Of two caches the one counts that is young enough, if it is the second.
    let build = Stagewright::with_busybox().build(&project, &[&from_old, &from, TWO_DAYS]);
    assert_eq!(build.success().executed(), NOTHING);
}

#[test]
#[ignore = "needs root"]
fn privileged_nothing_is_young_enough_for_no_time_but_what_the_build_makes() {
    let here = Stagewright::with_busybox();
    let dockerfile = "FROM busybox AS a\nRUN echo a > /a\nFROM busybox AS b\nRUN echo a > /a\n\
                      FROM scratch\nCOPY --from=a /a /1\nCOPY --from=b /a /2\n";
    let project = project(dockerfile);
    let _ = here.build(&project, &[]).success();
    let ran = here
        .build(&project, &["--cache-ttl=0"])
        .success()
        .executed();
    assert_eq!(ran, ["RUN echo a > /a"], "the other stage shares it");
}

#[test]
fn copies_are_never_too_old() {
    let here = Stagewright::new();
    let project =
        project("FROM scratch AS a\nWORKDIR /a\nCOPY file /a/\nFROM scratch\nCOPY --from=a /a /\n");
    let _ = here.build(&project, &[]).success();
    let build = here.build(&project, &["--cache-ttl=0s"]).success();
    assert_eq!(build.executed(), NOTHING);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_cache_that_all_builds_export_alike_says_no_time_by_the_clock() {
    let here = Stagewright::with_busybox();
    let folder = tempfile::tempdir().unwrap();
    let to = format!("--cache-to=type=local,dest={}", folder.path().display());
    for (arguments, says) in [(vec![&*to], true), (vec![&*to, "--reproducible"], false)] {
        let _ = here.build(&project(FIRST), &arguments).success();
        let index = fs_err::read(folder.path().join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let manifest = get(folder.path(), &index["manifests"][0]);
        let document = get(folder.path(), &manifest["config"]).to_string();
        assert_eq!(document.contains("madeUnixMs"), says, "{document}");
    }
}
