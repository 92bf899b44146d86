//! The vectors that every language runs, through the facade's JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stagewright::{Build, Builder, BuilderOptions, Error, Image, json as library};
use stagewright_testkit::program;
use tempfile::TempDir;

fn vectors(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let text = fs_err::read_to_string(folder.join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A store and a project that the steps of one case share.
struct Place {
    builder: Builder,
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let options = BuilderOptions::at(folder.path().join("store"));
        fs_err::create_dir(folder.path().join("project")).unwrap();
        Self {
            builder: Builder::open(options).unwrap(),
            folder,
        }
    }

    fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    fn write(&self, files: &Value) {
        for (name, text) in files.as_object().into_iter().flatten() {
            let path = self.project().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text.as_str().unwrap()).unwrap();
        }
    }
}

/// Every part of what is expected must be there; of lists each item, in their order.
fn holds(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => expected
            .iter()
            .all(|(name, value)| found.get(name).is_some_and(|found| holds(value, found))),
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(e, f)| holds(e, f))
        }
        _ => expected == found,
    }
}

/// What a build told.
#[derive(Default)]
struct Told {
    steps: BTreeMap<u64, String>,
    executed: Vec<String>,
    misses: Vec<(String, Value)>,
    log: String,
}

/// Reads all events, and checks their order; stops the build when a step has written a text.
fn listen(build: &mut Build, cancel: Option<&str>) -> Told {
    let mut events = build.events().unwrap();
    let (mut told, mut at_ms) = (Told::default(), 0);
    let (mut open, mut ended) = (BTreeSet::new(), BTreeSet::new());
    while let Some(event) = events.next_blocking() {
        let event = library::event(&event);
        assert!(event["at_ms"].as_u64().unwrap() >= at_ms, "{event}");
        at_ms = event["at_ms"].as_u64().unwrap();
        let vertex = event["vertex"].as_u64();
        match event["kind"].as_str().unwrap() {
            "planned" => {
                for vertex in event["vertices"].as_array().unwrap() {
                    if vertex["step"] == true {
                        let name = vertex["name"].as_str().unwrap().to_owned();
                        told.steps.insert(vertex["id"].as_u64().unwrap(), name);
                    }
                }
            }
            "started" => assert!(open.insert(vertex.unwrap()), "{event}"),
            "log" => {
                assert!(open.contains(&vertex.unwrap()), "{event}");
                told.log += event["text"].as_str().unwrap();
                if cancel.is_some_and(|text| told.log.contains(text)) {
                    build.cancel();
                }
            }
            "progress" => assert!(!ended.contains(&vertex.unwrap()), "{event}"),
            "finished" => {
                let vertex = vertex.unwrap();
                open.remove(&vertex);
                assert!(ended.insert(vertex), "{event}");
                if let Some(name) = told.steps.get(&vertex) {
                    if event["outcome"] == "executed" {
                        told.executed.push(name.clone());
                    }
                    if !event["miss"].is_null() {
                        told.misses.push((name.clone(), event["miss"].clone()));
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!(open, BTreeSet::new(), "these began and did not end");
    told
}

fn names(list: &Value) -> Vec<String> {
    let mut names: Vec<String> = serde_json::from_value(list.clone()).unwrap();
    names.sort();
    names
}

fn check_told(step: &Value, mut told: Told) {
    if !step["executed"].is_null() {
        told.executed.sort();
        assert_eq!(told.executed, names(&step["executed"]));
    }
    for miss in step["misses"].as_array().into_iter().flatten() {
        let of_step = |(name, _): &&(String, Value)| miss["step"] == **name;
        let (_, found) = told.misses.iter().find(of_step).expect("the step missed");
        assert_eq!(found["reason"], miss["reason"]);
        let same = |change: &Value| {
            let name = change["name"].as_str().unwrap_or_default();
            change["input"] == miss["input"] && name.contains(miss["name"].as_str().unwrap())
        };
        assert!(
            found["changes"].as_array().unwrap().iter().any(same),
            "{found}"
        );
    }
    if let Some(last) = step["counted"].as_u64() {
        let expected: String = (1..=last).map(|number| format!("{number}\n")).collect();
        assert_eq!(told.log, expected);
    }
}

fn check_image(step: &Value, image: &Image) {
    let described = library::image(image);
    if !step["config"].is_null() {
        let config = &described["config"]["config"];
        assert!(holds(&step["config"], config), "{config}");
    }
    if let Some(layers) = step["layers"].as_u64() {
        let diff_ids = described["config"]["rootfs"]["diff_ids"].as_array();
        assert_eq!(diff_ids.unwrap().len() as u64, layers);
    }
    for field in ["id", "names"] {
        assert!(
            step[field].is_null() || step[field] == described[field],
            "{described}"
        );
    }
}

fn check_error(expected: &Value, error: &Error) {
    let found = library::error(error);
    for (name, expected) in expected.as_object().unwrap() {
        let holds = match name.as_str() {
            "message" | "help" => {
                let text = found[name].as_str().unwrap_or_default();
                text.contains(expected.as_str().unwrap())
            }
            _ => holds(expected, &found[name]),
        };
        assert!(holds, "{name} is to be {expected}: {found}");
    }
}

/// Asks something else than a build.
fn call(builder: &Builder, step: &Value, request: &str) -> Result<Value, Error> {
    let request = library::parse_request(request)?;
    match step["call"].as_str().unwrap() {
        "check" => Ok(library::plain(&builder.check(request)?)),
        "outline" => Ok(library::plain(&builder.outline(request)?)),
        "targets" => Ok(library::plain(&builder.targets(request)?)),
        "explain" => {
            let explained = library::explanation(&builder.explain(request)?);
            let missed = explained.as_array().unwrap().iter();
            let missed = missed.filter(|one| one["verdict"] == "miss");
            let say = |one: &Value| json!({ "name": one["name"], "reason": one["miss"]["reason"] });
            Ok(missed.map(say).collect())
        }
        other => panic!("{other} is no call"),
    }
}

fn run_step(place: &Place, step: &Value) {
    place.write(&step["write"]);
    let project = place.project().display().to_string();
    let request = step["request"].to_string().replace("{project}", &project);
    if !step["call"].is_null() {
        match call(&place.builder, step, &request) {
            Ok(found) => assert!(holds(&step["says"], &found), "{found}"),
            Err(error) => check_error(&step["error"], &error),
        }
        return;
    }
    let result = library::parse_request(&request).and_then(|request| {
        let mut build = place.builder.build(request);
        let told = listen(&mut build, step["cancel"].as_str());
        let image = build.wait()?;
        check_told(step, told);
        Ok(image)
    });
    match result {
        Ok(image) if step["error"].is_null() => check_image(step, &image),
        Ok(_) => panic!("it was built"),
        Err(error) if step["error"].is_null() => panic!("{error}"),
        Err(error) => check_error(&step["error"], &error),
    }
}

#[expect(clippy::print_stdout, reason = "says which case it was that failed")]
fn builds(commands: bool) {
    for case in vectors("builds.json") {
        if case["commands"].as_bool().unwrap_or_default() != commands {
            continue;
        }
        let place = Place::new();
        if commands {
            let busybox = program("busybox", "busybox-static");
            fs_err::copy(busybox, place.project().join("busybox")).unwrap();
        }
        for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            println!("{}, step {number}: {}", case["name"], step["request"]);
            run_step(&place, step);
        }
    }
}

#[test]
fn stages_are_written_as_in_every_language() {
    for case in vectors("stages.json") {
        println!("{}", case["name"]);
        let written = library::parse_stage(&case["stages"].to_string())
            .and_then(|stage| stage.to_dockerfile());
        match written {
            Ok(text) => assert_eq!(case["dockerfile"], text),
            Err(error) => assert_eq!(case["code"], error.kind.code(), "{error}"),
        }
    }
}

#[test]
fn builds_give_what_they_give_in_every_language() {
    builds(false);
}

#[test]
#[ignore = "needs root: commands run in a sandbox"]
fn privileged_commands_give_what_they_give_in_every_language() {
    builds(true);
}
