//! The Dockerfiles of `tests/dockerfiles/accept` make the images that Buildah makes of them: config and files. Where the
//! two differ, the lists below say what BuildKit does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use stagewright_testkit::{Buildah, Image, Project, Stagewright, differences};

/// How many build at once.
const THREADS: usize = 2;

/// What Buildah 1.28 refuses and BuildKit takes.
const REFUSED_BY_BUILDAH: &[(&str, &str)] = &[];

/// What Buildah 1.28 builds otherwise than BuildKit, and what BuildKit does.
const DIFFERENT: &[(&str, &str)] = &[];

/// The files that the corpus copies.
fn project(dockerfile: &[u8]) -> Project {
    Project::new()
        .file("Dockerfile", dockerfile)
        .file("a", "a\n")
        .file("b", "b\n")
        .file("f", "f\n")
        .file("x/y/z", "z\n")
        .file("x/x", "x\n")
        .file("a b", "blank\n")
        .file("t", "t\n")
        .file("one.txt", "1\n")
        .file("two.txt", "2\n")
        .file("notes.md", "notes\n")
        .file("c/d", "d\n")
}

/// What came of one Dockerfile.
enum Outcome {
    Same,
    /// It needs what no empty root file system has.
    NotBuilt,
    RefusedByBuildah(String),
    RefusedByUs(String),
    Different(Vec<String>),
}

fn outcome(name: &str, dockerfile: &[u8], ours: &Stagewright, theirs: &Buildah) -> Outcome {
    let project = project(dockerfile);
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let built = ours.build_into(&project, &layout, &[]);
    let peer = theirs.try_build(name, &project, &[]);
    match (built.output.status.success(), peer) {
        (false, Err(_)) => Outcome::NotBuilt,
        (true, Err(why)) => Outcome::RefusedByBuildah(why),
        (false, Ok(_)) => Outcome::RefusedByUs(built.output.to_string()),
        (true, Ok(peer)) => match differences(&Image::read(&layout), &peer) {
            lines if lines.is_empty() => Outcome::Same,
            lines => Outcome::Different(lines),
        },
    }
}

/// The Dockerfiles that may be built without a base image: a RUN needs a program.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dockerfiles/accept");
    let needs_more = |path: &Path| {
        let text = fs_err::read(path).unwrap();
        let text = String::from_utf8_lossy(&text).to_uppercase();
        text.contains("RUN") || text.contains("BUSYBOX")
    };
    let mut files: Vec<PathBuf> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|ending| ending == "Dockerfile")
        })
        .filter(|path| !needs_more(path))
        .collect();
    files.sort();
    files
}

#[test]
#[ignore = "needs root"]
fn privileged_the_corpus_makes_the_images_that_buildah_makes() {
    let (ours, theirs) = (Stagewright::new(), Buildah::new());
    let files = files();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                    let dockerfile = fs_err::read(path).unwrap();
                    let tag = name.to_lowercase();
                    let outcome = outcome(&tag, &dockerfile, &ours, &theirs);
                    found.lock().unwrap().insert(name, outcome);
                }
            });
        }
    });
    let refused: BTreeMap<&str, &str> = REFUSED_BY_BUILDAH.iter().copied().collect();
    let different: BTreeMap<&str, &str> = DIFFERENT.iter().copied().collect();
    let mut unseen: BTreeSet<&str> = refused.keys().chain(different.keys()).copied().collect();
    let (mut same, mut wrong) = (0, Vec::new());
    for (name, outcome) in &found.into_inner().unwrap() {
        let name = name.as_str();
        match outcome {
            Outcome::Same => same += 1,
            Outcome::NotBuilt => {}
            Outcome::RefusedByBuildah(_) if refused.contains_key(name) => drop(unseen.remove(name)),
            Outcome::Different(_) if different.contains_key(name) => drop(unseen.remove(name)),
            Outcome::RefusedByBuildah(why) => {
                wrong.push(format!("{name}: Buildah refuses it: {why}"))
            }
            Outcome::RefusedByUs(why) => wrong.push(format!("{name}: refused here: {why}")),
            Outcome::Different(lines) => wrong.push(format!("{name}: {}", lines.join("\n    "))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unseen.is_empty(), "no longer so, or not there: {unseen:?}");
    assert!(same > 120, "only {same} were compared");
}
