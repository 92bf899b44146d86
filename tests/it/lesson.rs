//! The acceptance test: the lesson's Dockerfile, unchanged, on the stand-in bases.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stagewright_testkit::{Buildah, Image, Project, Stagewright, differences, output, program};

/// How long the application may take to answer on a busy machine.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lesson")
}

fn mirror() -> String {
    match std::env::var("STAGEWRIGHT_TEST_MIRROR") {
        Ok(address) => address,
        Err(_) => panic!("the stand-in bases are not served: run `cargo xtask test`"),
    }
}

fn stagewright() -> Stagewright {
    Stagewright::new().option(format!("--registry-mirror=docker.io={}", mirror()))
}

/// Returns the body of `/` on port 3000, as soon as the application answers.
fn fetch() -> String {
    let deadline = Instant::now() + ANSWER_TIME_MAX;
    loop {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "http://127.0.0.1:3000/"]);
        let answer = output(&mut curl);
        if answer.status.success() {
            return answer.stdout;
        }
        assert!(
            Instant::now() < deadline,
            "the application does not answer: {answer}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A program that runs the image; killed when dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    fn interrupt(mut self) {
        let pid = self.0.id().to_string();
        let _ = output(Command::new("kill").args(["-INT", &pid])).success();
        let _ = self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // For the test that failed before it ended the program.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root and the stand-in bases"]
fn network_privileged_the_lesson_end_to_end() {
    let stagewright = stagewright();
    let project = Project::copy_of(&fixture());
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("layout");
    let first = stagewright
        .build_into(&project, &layout, &["-t", "lesson:1"])
        .success();
    assert_eq!(first.executed().len(), 9, "{:?}", first.executed());

    equals_buildah(&project, &layout);
    runs_under_podman(out.path());
    runs_in_our_sandbox(&stagewright);
    reruns_what_changed(&stagewright, &project);
}

fn equals_buildah(project: &Project, layout: &Path) {
    let theirs = Buildah::new().with_mirror(&mirror()).build(project, &[]);
    let different = differences(&Image::read(layout), &theirs);
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// Runs the image in the folder `layout` of a folder.
fn runs_under_podman(out: &Path) {
    let state = out.join("podman");
    let podman = || {
        let mut command = Command::new(program("podman", "podman"));
        command
            .arg("--root")
            .arg(state.join("root"))
            .arg("--runroot")
            .arg(state.join("run"));
        command
    };
    // Podman makes a name of the path, in which temporary folders' capitals are not allowed.
    let mut pull = podman();
    pull.current_dir(out)
        .args(["pull", "--quiet", "oci:layout"]);
    let pulled = output(&mut pull).success();
    let options = ["run", "--name=lesson", "--network=host", "--runtime=runc"];
    let running = Running::start(podman().args(options).arg(pulled.stdout.trim()));
    let page = fetch();
    assert!(page.starts_with("hello from node (uid 100)"), "{page}");
    let _ = output(podman().args(["rm", "--force", "--time=2", "lesson"])).success();
    drop(running);
}

fn runs_in_our_sandbox(stagewright: &Stagewright) {
    let mut command = stagewright.command("run");
    let running = Running::start(
        command
            .arg("--store")
            .arg(stagewright.store())
            .arg("lesson:1"),
    );
    let page = fetch();
    assert!(page.starts_with("hello from node (uid 100)"), "{page}");
    running.interrupt();
}

fn reruns_what_changed(stagewright: &Stagewright, project: &Project) {
    let executed = || stagewright.build(project, &[]).success().executed();
    assert_eq!(executed(), [""; 0]);
    project.touch("index.js");
    assert_eq!(executed(), [""; 0]);
    let index = fs_err::read_to_string(project.path().join("index.js")).unwrap();
    project.write("index.js", index.replace("hello", "good morning"));
    assert_eq!(
        executed(),
        ["COPY . .", "COPY --from=0 --chown=node:node /build ."]
    );
    let manifest = fs_err::read_to_string(project.path().join("package.json")).unwrap();
    project.write("package.json", manifest.replace("1.0.0", "1.0.1"));
    assert_eq!(
        executed(),
        [
            "COPY package-lock.json package.json ./",
            "RUN npm ci",
            "COPY . .",
            "COPY --from=0 --chown=node:node /build ."
        ]
    );
}
