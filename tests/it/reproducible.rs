//! The same image, whenever and wherever it is built.

use std::io::Read as _;

use serde_json::Value;
use stagewright_testkit::{Image, Project, Stagewright};

const EPOCH: u64 = 1_600_000_000;

/// Builds with an empty store, and returns the digest of the manifest and all times in the layers.
fn built(stagewright: &Stagewright, project: &Project, arguments: &[&str]) -> (String, Vec<u64>) {
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let _ = stagewright
        .build_into(project, &layout, arguments)
        .success();
    let index = fs_err::read(layout.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let mut times = Vec::new();
    for layer in Image::read(&layout).layers {
        let blob = layer["digest"].as_str().unwrap().replace(':', "/");
        let file = fs_err::File::open(layout.join("blobs").join(blob)).unwrap();
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(file)
            .read_to_end(&mut plain)
            .unwrap();
        let mut archive = tar::Archive::new(plain.as_slice());
        for entry in archive.entries().unwrap() {
            times.push(entry.unwrap().header().mtime().unwrap());
        }
    }
    (digest, times)
}

fn clone(dockerfile: &str) -> Project {
    Project::new()
        .file("Dockerfile", dockerfile)
        .file("src/a", "a")
        .file("src/b", "b")
}

const COPIES: &str = "\
FROM scratch AS one
WORKDIR /made
COPY src /one
FROM scratch
COPY --from=one / /
COPY src/a /later/a
ADD src/b /added
COPY <<TEXT /inline
text
TEXT
";

#[test]
fn two_clones_in_two_stores_are_one_image() {
    let epoch = EPOCH.to_string();
    let argument = format!("SOURCE_DATE_EPOCH={epoch}");
    let (first, second) = (clone(COPIES), clone(COPIES));
    // Another time of the clone's files.
    second.touch("src/a");
    let of = |project: &Project, arguments: &[&str]| built(&Stagewright::new(), project, arguments);
    let (one, times) = of(&first, &["--build-arg", &argument]);
    assert!(times.iter().all(|time| *time == EPOCH), "{times:?}");
    let (other, _) = of(&second, &["--build-arg", &argument, "--jobs", "1"]);
    assert_eq!(one, other);
    // The switch alone takes 0 where there is no repository; another time is another image.
    let (zero, times) = of(&first, &["--reproducible"]);
    assert!(times.iter().all(|time| *time == 0), "{times:?}");
    assert_ne!(zero, one);
    // What the store knows with natural times is not taken for it.
    let stagewright = Stagewright::new();
    let (natural, times) = built(&stagewright, &first, &[]);
    assert!(times.iter().all(|time| *time > EPOCH), "{times:?}");
    let again = built(&stagewright, &first, &["--build-arg", &argument]);
    assert_eq!(again.0, one);
    assert_eq!(built(&stagewright, &first, &[]).0, natural);
}

#[test]
fn the_commit_of_the_context_says_the_time() {
    let project = clone(COPIES);
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command
            .args(["-c", "user.name=t", "-c", "user.email=t@t.example"])
            .args(arguments)
            .current_dir(project.path())
            .env("GIT_AUTHOR_DATE", format!("{EPOCH} +0000"))
            .env("GIT_COMMITTER_DATE", format!("{EPOCH} +0000"));
        let _ = stagewright_testkit::output(&mut command).success();
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "-m", "x"]);
    let (digest, times) = built(&Stagewright::new(), &project, &["--reproducible"]);
    assert!(times.iter().all(|time| *time == EPOCH), "{times:?}");
    let argument = format!("SOURCE_DATE_EPOCH={EPOCH}");
    let given = built(&Stagewright::new(), &project, &["--build-arg", &argument]);
    assert_eq!(given.0, digest);
}

/// As a `.pyc` does, `recorded` holds the time of the source that it was made from.
const STEPS: &str = "\
FROM busybox AS one
COPY src /src
RUN stat -c %Y /src/a > /recorded && date > /dev/null
FROM busybox AS two
RUN echo two > /two
FROM busybox
ARG SOURCE_DATE_EPOCH
COPY --from=one /src /src
COPY --from=one /recorded /recorded
COPY --from=two /two /two
RUN echo $SOURCE_DATE_EPOCH > /argument && mkdir /d && touch -d @1000 /old
RUN stat -c %Y /d /argument /old /src/a /recorded > /seen
";

#[test]
#[ignore = "needs root"]
fn privileged_steps_see_the_times_that_the_image_has() {
    let argument = format!("SOURCE_DATE_EPOCH={EPOCH}");
    let (first, second) = (clone(STEPS), clone(STEPS));
    second.touch("src/a");
    let stagewright = Stagewright::with_busybox();
    let (one, _) = built(&stagewright, &first, &["--build-arg", &argument]);
    let (other, _) = built(
        &Stagewright::with_busybox(),
        &second,
        &["--build-arg", &argument, "--jobs", "1"],
    );
    assert_eq!(one, other);
    let files = tempfile::tempdir().unwrap();
    let dest = files.path().join("files");
    let option = format!("type=local,dest={}", dest.display());
    let _ = stagewright
        .build(&first, &["--build-arg", &argument, "-o", &option])
        .success();
    let read = |name: &str| fs_err::read_to_string(dest.join(name)).unwrap();
    assert_eq!(read("recorded"), format!("{EPOCH}\n"));
    assert_eq!(read("argument"), format!("{EPOCH}\n"));
    assert_eq!(
        read("seen"),
        format!("{EPOCH}\n{EPOCH}\n1000\n{EPOCH}\n{EPOCH}\n")
    );
}

/// This machine's Python, as a root file system.
fn python_rootfs(root: &std::path::Path) -> String {
    let python = stagewright_testkit::program("python3", "python3");
    let script = "import os, sys, sysconfig; print(os.path.realpath(sys.executable)); print(sysconfig.get_path('stdlib'))";
    let mut command = std::process::Command::new(&python);
    let said = stagewright_testkit::output(command.args(["-I", "-S", "-c", script])).success();
    let (program, library) = said.stdout.trim().split_once('\n').unwrap();
    let linked = stagewright_testkit::output(std::process::Command::new("ldd").arg(program));
    let mut files = vec![program.to_owned()];
    let linked = linked.success().stdout;
    files.extend(
        linked
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(str::to_owned),
    );
    for file in &files {
        let to = root.join(file.trim_start_matches('/'));
        fs_err::create_dir_all(to.parent().unwrap()).unwrap();
        fs_err::copy(file, to).unwrap();
    }
    let to = root.join(library.trim_start_matches('/'));
    fs_err::create_dir_all(&to).unwrap();
    let mut tar = std::process::Command::new("sh");
    let script = "tar -C \"$0\" --exclude=__pycache__ --exclude=test --exclude='*-packages' --exclude='config-*' -cf - . | tar -C \"$1\" -xf -";
    let _ = stagewright_testkit::output(tar.args(["-c", script, library]).arg(&to)).success();
    program.to_owned()
}

/// Bytecode says of which time its source is: Python compiles anew what does not agree.
#[test]
#[ignore = "needs root"]
fn privileged_pythons_bytecode_stays_valid() {
    let argument = format!("SOURCE_DATE_EPOCH={EPOCH}");
    let clone = || {
        let project = Project::new()
            .file("src/context.py", "VALUE = 1\n")
            .file("src/step.txt", "VALUE = 2\n");
        let python = python_rootfs(&project.path().join("root"));
        let text = format!(
            "FROM scratch AS base\nCOPY root /\nENV PYTHONPATH=/src PYTHONHASHSEED=0\n\
             FROM base\nCOPY src /src\n\
             RUN [\"{python}\", \"-m\", \"compileall\", \"-q\", \"/src/context.py\"]\n\
             ARG SOURCE_DATE_EPOCH\n\
             RUN [\"{python}\", \"-c\", \"import shutil, compileall; shutil.copyfile('/src/step.txt', '/src/step.py'); compileall.compile_file('/src/step.py', quiet=1)\"]\n"
        );
        (project.file("Dockerfile", text), python)
    };
    let mut digests = Vec::new();
    for _ in 0..2 {
        let (project, python) = clone();
        project.touch("src/context.py");
        let stagewright = Stagewright::new();
        let (digest, _) = built(
            &stagewright,
            &project,
            &["--build-arg", &argument, "-t", "python:1"],
        );
        digests.push(digest);
        let mut run = stagewright.command("run");
        run.arg("--store").arg(stagewright.store()).args([
            "python:1",
            &python,
            "-v",
            "-c",
            "import context, step; print('ran')",
        ]);
        let ran = stagewright_testkit::output(&mut run).success();
        assert!(ran.stdout.contains("ran"), "{ran}");
        for module in ["context", "step"] {
            let matches = ran.stderr.lines().any(|line| {
                line.contains(&format!("__pycache__/{module}.")) && line.contains("matches")
            });
            assert!(matches, "{module} is compiled anew: {ran}");
        }
    }
    assert_eq!(digests[0], digests[1]);
}
