//! What a Dockerfile, its files and its steps may try to get out: nothing outside changes, and
//! nothing of the outside is seen. The numbers name holes that other builders and runtimes had.

mod calls;
mod files;
mod images;
mod kernel;
mod mounts;

use std::path::PathBuf;

use stagewright_testkit::{Build, LayerTar, Project, Stagewright};

/// What must not be seen from inside.
const SECRET: &str = "kept outside of all steps";

/// A folder of the host that nothing may change or read.
struct Outside {
    folder: tempfile::TempDir,
}

impl Outside {
    fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("stagewright-outside-")
            .tempdir()
            .unwrap();
        fs_err::create_dir_all(folder.path().join("empty/stub")).unwrap();
        fs_err::write(folder.path().join("secret"), SECRET).unwrap();
        fs_err::write(folder.path().join("hollow"), "").unwrap();
        Self { folder }
    }

    fn path(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Lists the files with everything that could have been changed.
    fn listing(&self) -> Vec<(PathBuf, u32, u64, i64, i64)> {
        use std::os::unix::fs::MetadataExt as _;
        let mut found = Vec::new();
        let mut left = vec![self.folder.path().to_owned()];
        while let Some(path) = left.pop() {
            let about = fs_err::symlink_metadata(&path).unwrap();
            if about.is_dir() {
                left.extend(
                    fs_err::read_dir(&path)
                        .unwrap()
                        .map(|it| it.unwrap().path()),
                );
            }
            let times = (about.mtime_nsec(), about.ctime_nsec());
            found.push((path, about.mode(), about.size(), times.0, times.1));
        }
        found.sort();
        found
    }
}

/// Returns archives whose names, links and hard links lead out.
fn hostile_layers(outside: &Outside) -> Vec<LayerTar> {
    let path = outside.path();
    let up = format!("{}{path}", "../".repeat(12));
    vec![
        LayerTar::new()
            .symlink("link", &path)
            .file("link/pwned", 0o644, "x"),
        LayerTar::new()
            .symlink("link", &up)
            .file("link/secret", 0o644, "x"),
        LayerTar::new()
            .symlink("a", "..")
            .symlink("a/b", "..")
            .file("a/b/pwned", 0o644, "x"),
        LayerTar::new().hard_link("seen", &format!("{path}/secret")),
        LayerTar::new().hard_link("seen", &format!("{up}/secret")),
        LayerTar::new()
            .symlink("link", &path)
            .hard_link("seen", "link/secret"),
        LayerTar::new().symlink("link", &path).folder("link", 0o777),
        LayerTar::new()
            .symlink("link", &path)
            .whiteout("link/secret"),
        LayerTar::new().symlink("link", &path).opaque("link"),
    ]
}

fn mounts() -> usize {
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = |line: &&str| line.contains("stagewright-outside-");
    mounts.lines().filter(ours).count()
}

/// Builds a project that tries to get out, and checks that it did not, whether it failed or not.
#[track_caller]
fn confined(
    stagewright: &Stagewright,
    outside: &Outside,
    project: &Project,
    arguments: &[&str],
) -> Build {
    let before = outside.listing();
    let build = stagewright.build(project, arguments);
    assert_eq!(outside.listing(), before, "{}", build.output);
    assert_eq!(mounts(), 0, "{}", build.output);
    let said = build.output.to_string();
    assert!(!said.contains(SECRET), "the outside was seen: {said}");
    build
}
