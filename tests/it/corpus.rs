//! The Dockerfiles of `tests/dockerfiles/accept` make the images that Buildah makes of them: config and files. Where the
//! two differ, the lists below say what BuildKit does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use stagewright_testkit::{Buildah, Image, Project, Stagewright, differences};

/// How many build at once.
const THREADS: usize = 2;

const DOCKER: &str = "triggers and shells are kept in images of OCI's form too";
const ESCAPE: &str = "the directive `escape` is about words too";
const FLAGS: &str = "--link, --parents and --exclude are flags";
const FORMS: &str = "a variable may be asked for with `-`, `+`, `?`, patterns and replacements";
const FROM: &str = "FROM alone makes no entry of the history";
const HEREDOC: &str = "`<<` and a word begin a file that ends at that word";
const JSON: &str = "an array with something behind it is a text for the shell";
const PORTS: &str = "a range is many ports, and protocols are in lower case";
const SEVERAL: &str =
    "several files to a place that is no directory are written one after the other";
const WORKDIR: &str = "WORKDIR makes its directory, and its path is clean";

/// What Buildah 1.28 refuses and BuildKit takes.
const REFUSED_BY_BUILDAH: &[(&str, &str)] = &[
    ("add_exclude", FLAGS),
    ("add_heredoc", HEREDOC),
    ("add_link", FLAGS),
    ("arg_empty_default", FORMS),
    ("copy_chmod_symbolic", "modes may be changes"),
    ("copy_exclude", FLAGS),
    ("copy_heredoc", HEREDOC),
    ("copy_heredoc_and_file", HEREDOC),
    ("copy_heredoc_empty", HEREDOC),
    ("copy_heredoc_expands", HEREDOC),
    ("copy_heredoc_hash_is_content", HEREDOC),
    ("copy_heredoc_quoted_literal", HEREDOC),
    ("copy_heredoc_tabs", HEREDOC),
    ("copy_heredoc_two", HEREDOC),
    ("copy_link", FLAGS),
    ("copy_link_false", FLAGS),
    ("copy_link_true", FLAGS),
    ("copy_parents_pivot", FLAGS),
    ("crlf_heredoc", HEREDOC),
    (
        "escape_after_shebang",
        "directives may stand below a line for the shell",
    ),
    ("expand_brackets_literal", FORMS),
    ("expand_default_set_empty", FORMS),
    ("expand_default_unset", FORMS),
    ("expand_plus", FORMS),
    ("expand_prefix_long", FORMS),
    ("expand_prefix_short", FORMS),
    ("expand_question_mark", FORMS),
    ("expand_replace_all", FORMS),
    ("expand_replace_first", FORMS),
    ("expand_replace_with_nothing", FORMS),
    ("expand_required_set", FORMS),
    ("expand_suffix_long", FORMS),
    ("expand_suffix_short", FORMS),
    ("healthcheck_flags", "there is a --start-interval"),
    (
        "healthcheck_retries_zero",
        "no retries are the default number",
    ),
    (
        "mixed_case_keywords",
        "names of stages are the same in any case",
    ),
    ("onbuild_heredoc", HEREDOC),
];

/// What Buildah 1.28 builds otherwise than BuildKit, and what BuildKit does.
const DIFFERENT: &[(&str, &str)] = &[
    ("add_several_no_slash", SEVERAL),
    (
        "arg_after_env_wins",
        "what is declared last is what is seen",
    ),
    ("arg_target_stage", "TARGETSTAGE is predefined"),
    ("continuation_splits_keyword", WORKDIR),
    ("copy_several_no_slash", SEVERAL),
    ("directive_three", FROM),
    ("entrypoint_empty_array_and_more", JSON),
    ("escape_backtick", ESCAPE),
    ("escape_backtick_word", ESCAPE),
    ("expose_expands_range", PORTS),
    ("expose_proto_case", PORTS),
    ("expose_range", PORTS),
    ("expose_range_udp", PORTS),
    ("from_global_arg", FROM),
    ("from_global_arg_default", FROM),
    ("from_platform", FROM),
    ("from_platform_arg", FROM),
    ("global_arg_uses_global_arg", FROM),
    ("json_with_something_behind", JSON),
    ("lowercase_keywords", WORKDIR),
    ("onbuild_copy", DOCKER),
    ("onbuild_order", DOCKER),
    ("shell_for_cmd", DOCKER),
    ("shell_for_entrypoint", DOCKER),
    ("stage_inherits", WORKDIR),
    (
        "stage_inherits_arg",
        "arguments of a stage are seen by stages on it",
    ),
    ("stage_name_dots", FROM),
    ("stage_only_from", FROM),
    ("syntax_then_check", FROM),
    ("syntax_up_to_space", FROM),
    ("workdir_absolute", WORKDIR),
    ("workdir_dotdot", WORKDIR),
    ("workdir_expands", WORKDIR),
    ("workdir_quoted", WORKDIR),
    ("workdir_relative", WORKDIR),
    ("workdir_relative_first", WORKDIR),
    ("workdir_spaces", WORKDIR),
    ("workdir_trailing_slash", WORKDIR),
];

/// What Buildah 1.28 makes now like this and now like that: here the last stage of a name is meant.
const UNSTEADY: &[&str] = &["stage_duplicate_name_last_wins"];

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
            Outcome::RefusedByBuildah(_) if refused.contains_key(name) => {
                unseen.remove(name);
            }
            Outcome::Different(_) if UNSTEADY.contains(&name) => {}
            Outcome::Different(_) if different.contains_key(name) => {
                unseen.remove(name);
            }
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
