//! A copy whose files have the stamps of the last time is found without reading what is known of them, and never wrongly:
//! whatever changed, a build makes what one in an empty store makes, and runs a step if and only if that is something else.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use stagewright::{
    BuildRequest, Builder, BuilderOptions, CacheTo, DockerfileSource, EventKind, Export,
    ExportKind, Image, Outcome, PruneOptions,
};
use stagewright_testkit::Project;

use crate::lab::{self, Kind};

/// All ways to select files. Linked layers: none depends on another.
const COPIES: &str = "\
FROM scratch
COPY --link . /0
COPY --link src /1/
COPY --link src/*.txt /2/
COPY --link src/a.txt src/b.txt src/sub /3/
COPY --link --exclude=*.txt src /4
COPY --link --parents src/./sub /5/
ADD --link src/link /6/
";

/// One way.
const COPY: &str = "FROM scratch\nCOPY src /x\n";

type Change = fn(&Project);

/// What is done to the project before it is built again. No two make the same files.
const CHANGES: &[(&str, Change)] = &[
    ("nothing", |_| {}),
    ("another content", |project| {
        project.write("src/a.txt", "another content");
    }),
    ("as many bytes", |project| project.write("src/b.txt", "TWO")),
    ("as many bytes at the same time", |project| {
        let time = modified(project, "src/b.txt");
        project.write("src/b.txt", "Two");
        set_modified(project, "src/b.txt", time);
    }),
    ("a touch", |project| project.touch("src/a.txt")),
    ("a mode", |project| set_mode(project, "src/a.txt", 0o755)),
    ("the mode of a folder", |project| {
        set_mode(project, "src/sub", 0o700);
    }),
    ("a file more", |project| project.write("src/d.txt", "four")),
    ("a file less", |project| project.remove("src/b.txt.bak")),
    ("an empty folder more", |project| {
        fs::create_dir(project.path().join("src/sub/empty")).unwrap();
    }),
    ("another name", |project| {
        rename(project, "src/sub/c", "src/sub/d");
    }),
    ("two files in each other's place", |project| {
        rename(project, "src/a.txt", "src/a");
        rename(project, "src/b.txt", "src/a.txt");
        rename(project, "src/a", "src/b.txt");
    }),
    ("a link in the place of a file", |project| {
        rename(project, "src/a.txt", "kept");
        fs::os::unix::fs::symlink("../kept", project.path().join("src/a.txt")).unwrap();
    }),
    ("another target of a link", |project| {
        project.remove("src/link");
        fs::os::unix::fs::symlink("sub/c", project.path().join("src/link")).unwrap();
    }),
    ("a hard link in the place of a file", |project| {
        project.remove("src/b.txt");
        let [from, to] = ["src/a.txt", "src/b.txt"].map(|path| project.path().join(path));
        fs::hard_link(from, to).unwrap();
    }),
    ("a folder in the place of a file", |project| {
        project.remove("src/b.txt.bak");
        project.write("src/b.txt.bak/inner", "i");
    }),
    ("ignoring more", |project| {
        project.write(".dockerignore", "ignored\nsrc/sub/c\n");
    }),
    ("ignoring less", |project| {
        project.write(".dockerignore", "");
    }),
];

#[test]
fn whatever_changed_is_seen() {
    let place = Place::new(COPIES);
    let mut wrong = Vec::new();
    for (name, change) in CHANGES {
        let project = project();
        let before = place.learn(&project);
        change(&project);
        let expected = Place::new(COPIES).build(&project).files;
        let copies = (0..7).map(|number| format!("{number}/"));
        let executed = copies
            .filter(|copy| below(&expected, copy) != below(&before, copy))
            .count();
        let at_once = place.build(&project);
        let _ = place.learn(&project);
        let later = place.build(&project);
        for (when, built, executed) in [("at once", &at_once, executed), ("later", &later, 0)] {
            if built.files != expected {
                wrong.push(format!("{name}, {when}: other files"));
            }
            if built.executed != executed {
                wrong.push(format!(
                    "{name}, {when}: {} ran, not {executed}",
                    built.executed
                ));
            }
        }
        if later.read_files {
            wrong.push(format!("{name}: files that were known were read"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// They are looked at twice.
#[test]
fn two_sources_may_be_the_same() {
    let place = Place::new("FROM scratch\nCOPY src/a.txt src/a.txt /x/\n");
    let project = project();
    for text in ["one", "One"] {
        project.write("src/a.txt", text);
        for _ in 0..3 {
            assert!(place.learn(&project)["x/a.txt"].ends_with(text));
        }
    }
}

/// Files that were written when they were read could change again without another stamp.
#[test]
fn what_was_just_written_is_not_believed() {
    let place = Place::new(COPY);
    let project = project();
    for number in 0..30 {
        let text = format!("{number:03}");
        project.write("src/a.txt", &text);
        let files = place.build(&project).files;
        assert!(files["x/a.txt"].ends_with(&text), "{files:?}");
    }
    let future = SystemTime::now() + Duration::from_secs(3600);
    set_modified(&project, "src/a.txt", future);
    for _ in 0..2 {
        let _ = place.learn(&project);
        assert!(place.build(&project).read_files);
    }
}

#[test]
fn what_is_lost_of_a_result_is_made_anew() {
    let project = project();
    let place = Place::new(COPY);
    let files = place.learn(&project);
    for (folder, executed) in [("actions", 1), ("layers", 1), ("parts", 0)] {
        fs::remove_dir_all(place.store.path().join(folder)).unwrap();
        fs::create_dir(place.store.path().join(folder)).unwrap();
        let built = place.build(&project);
        assert_eq!(built.executed, executed, "{folder}");
        assert!(built.read_files, "{folder}");
        assert_eq!(built.files, files);
        // It is whole again.
        assert!(!place.build(&project).read_files, "{folder}");
    }
    let all = PruneOptions {
        all: true,
        ..PruneOptions::default()
    };
    let _ = place.builder().prune_cache(&all).unwrap();
    assert_eq!(place.build(&project).executed, 1);
}

#[test]
fn without_the_cache_all_runs_and_the_stamps_are_learned_anew() {
    let project = project();
    let place = Place::new(COPY);
    let _ = place.learn(&project);
    let without = |request: &mut BuildRequest| request.no_cache = true;
    assert_eq!(place.build_with(&project, &without).executed, 1);
    let built = place.build(&project);
    assert_eq!((built.executed, built.read_files), (0, false));
}

#[test]
fn another_time_of_all_files_is_another_result() {
    let project = project();
    let place = Place::new(COPY);
    let _ = place.learn(&project);
    let at = |seconds| {
        let with = move |request: &mut BuildRequest| request.source_date_epoch = Some(seconds);
        place.build_with(&project, &with).executed
    };
    assert_eq!([at(1), at(1), at(2), at(2)], [1, 0, 1, 0]);
}

#[test]
fn a_miss_is_explained_and_a_cache_is_exported_as_if_all_had_been_read() {
    let project = project();
    let place = Place::new(COPY);
    let _ = place.learn(&project);
    let cache = |name: &str| {
        let path = place.store.path().join(name);
        let to: CacheTo = format!("type=local,dest={}", path.display())
            .parse()
            .unwrap();
        let build = place.builder().build(place.request(&project));
        let image = build.wait().unwrap();
        let _ = image.export_cache(&to, Arc::new(|_| ())).unwrap();
        fs::read(path.join("index.json")).unwrap()
    };
    let stamped = cache("stamped");
    place.forget_stamps();
    assert_eq!(cache("read"), stamped);
    assert!(!place.build(&project).read_files);
    project.write("src/b.txt", "TWO");
    assert_eq!(
        place.build(&project).miss.as_deref(),
        Some("file src/b.txt changed")
    );
}

fn project() -> Project {
    Project::new()
        .file(".dockerignore", "ignored\n")
        .file("ignored", "1")
        .file("src/a.txt", "one")
        .file("src/b.txt", "two")
        .file("src/b.txt.bak", "two")
        .file("src/sub/c", "three")
        .folder("src/empty")
        .symlink("src/link", "a.txt")
}

/// A store, and a Dockerfile that is built in it.
struct Place {
    store: tempfile::TempDir,
    dockerfile: String,
}

struct Built {
    /// What the image holds, by path.
    files: BTreeMap<String, String>,
    executed: usize,
    miss: Option<String>,
    /// Whether it was looked up what is known of each file.
    read_files: bool,
}

impl Place {
    fn new(dockerfile: &str) -> Self {
        Self {
            store: lab::folder(Kind::Copies),
            dockerfile: dockerfile.to_owned(),
        }
    }

    fn builder(&self) -> Builder {
        Builder::open(BuilderOptions::at(self.store.path())).unwrap()
    }

    fn request(&self, project: &Project) -> BuildRequest {
        let mut request = BuildRequest::directory(project.path());
        request.dockerfile = DockerfileSource::Text(self.dockerfile.clone());
        request
    }

    fn build(&self, project: &Project) -> Built {
        self.build_with(project, &|_| {})
    }

    fn build_with(&self, project: &Project, change: &dyn Fn(&mut BuildRequest)) -> Built {
        // Whoever needs what is known of the files stores it again.
        let known = self.store.path().join("documents/stat-cache");
        if known.exists() {
            fs::remove_dir_all(&known).unwrap();
        }
        let mut request = self.request(project);
        change(&mut request);
        let mut build = self.builder().build(request);
        let mut events = build.events().unwrap();
        let (mut executed, mut miss) = (0, None);
        while let Some(event) = events.next_blocking() {
            if let EventKind::Finished {
                outcome: Outcome::Executed { miss: Some(why) },
                ..
            } = event.kind
            {
                executed += 1;
                miss = Some(why.to_string());
            }
        }
        Built {
            files: files_of(&build.wait().unwrap()),
            executed,
            miss,
            read_files: known.exists(),
        }
    }

    /// Builds when the files are old enough to be believed. Their time of change can't be set: the clock is waited for.
    fn learn(&self, project: &Project) -> BTreeMap<String, String> {
        std::thread::sleep(Duration::from_millis(30));
        self.build(project).files
    }

    /// Forgets what each place ran with.
    fn forget_stamps(&self) {
        fs::remove_dir_all(self.store.path().join("documents/place")).unwrap();
    }
}

/// Returns the files below a folder.
fn below<'a>(files: &'a BTreeMap<String, String>, folder: &str) -> Vec<(&'a String, &'a String)> {
    let files = files.iter();
    files.filter(|(path, _)| path.starts_with(folder)).collect()
}

/// Lists what an image holds: modes, and contents or targets of links.
fn files_of(image: &Image) -> BTreeMap<String, String> {
    let out = lab::folder(Kind::Copies);
    let dest = out.path().join("files");
    let export = Export {
        kind: ExportKind::Directory,
        dest: dest.clone(),
        ..Export::default()
    };
    let _ = image.export(&export).unwrap();
    let mut files = BTreeMap::new();
    let mut folders = vec![dest.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let held = match metadata.file_type() {
                kind if kind.is_dir() => {
                    folders.push(path.clone());
                    String::new()
                }
                kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
                _ => fs::read_to_string(&path).unwrap(),
            };
            let mode = metadata.permissions().mode();
            let name = path.strip_prefix(&dest).unwrap().display().to_string();
            files.insert(name, format!("{mode:o} {held}"));
        }
    }
    files
}

fn rename(project: &Project, from: &str, to: &str) {
    fs::rename(project.path().join(from), project.path().join(to)).unwrap();
}

fn set_mode(project: &Project, path: &str, mode: u32) {
    let path: &Path = &project.path().join(path);
    fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn modified(project: &Project, path: &str) -> SystemTime {
    let metadata = fs::metadata(project.path().join(path)).unwrap();
    metadata.modified().unwrap()
}

fn set_modified(project: &Project, path: &str, time: SystemTime) {
    let path = project.path().join(path);
    let file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.file().set_modified(time).unwrap();
}
