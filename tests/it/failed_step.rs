//! A step that failed can be entered, and what a step writes is told up to a limit.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use stagewright_testkit::{Build, Project, Stagewright, output, program};

use crate::account::Account;

/// What a program printed, both streams together, and its exit code.
struct Talk {
    said: String,
    code: Option<i32>,
}

/// Runs a command that reads from a pipe.
fn talk(command: &mut Command, input: &str) -> Talk {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    match child.stdin.take().unwrap().write_all(input.as_bytes()) {
        // It may have ended without reading anything.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.unwrap(),
    }
    let out = child.wait_with_output().unwrap();
    Talk {
        said: format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        ),
        code: out.status.code(),
    }
}

const FAILS: &str = "\
FROM busybox
ENV A=from-the-image
RUN mkdir /work && chown www:staff /work
WORKDIR /work
USER www:staff
RUN --mount=type=cache,id=c,target=/c,uid=33 --mount=type=secret,id=s,uid=33 --mount=type=tmpfs,target=/t \\
    --mount=type=bind,source=given,target=/given,rw \\
    echo left > made && ln -s made link && echo kept > /c/file && false
";

fn project(dockerfile: &str) -> Project {
    Project::new()
        .file("Dockerfile", dockerfile)
        .file("given/file", "of the context\n")
        .mode("given", 0o777)
        .file("s", "a secret\n")
}

const QUESTIONS: &str = "\
echo \"who=$(id -un):$(id -gn) where=$(pwd) env=$A\"
echo \"made=$(cat link) cache=$(cat /c/file) secret=$(cat /run/secrets/s) given=$(cat /given/file)\"
echo more > added && echo \"added=$(cat added)\"
grep -c . /proc/self/mounts > /dev/null && echo 'with mounts'
touch /bin/x || echo 'not root'
exit 7
";

const ANSWERS: [&str; 5] = [
    "who=www:staff where=/work env=from-the-image\n",
    "made=left cache=kept secret=a secret given=of the context\n",
    "added=more\n",
    "with mounts\n",
    "not root\n",
];

/// Returns what the store holds of layers and of work that has not ended.
fn stored(store: PathBuf) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["layers", "tmp"]
        .iter()
        .flat_map(|folder| fs_err::read_dir(store.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

#[test]
#[ignore = "needs root"]
fn privileged_a_shell_opens_where_a_step_failed() {
    let stagewright = Stagewright::with_busybox();
    let project = project(FAILS);
    let secret = format!("--secret=id=s,src={}", project.path().join("s").display());
    let failed = stagewright.build(&project, &[&secret]);
    assert_eq!(failed.output.code(), Some(1), "{}", failed.output);
    let before = stored(stagewright.store());
    let mut build =
        stagewright.build_command(&project, &[&secret, "--on-error=shell", "--progress=plain"]);
    let talked = talk(&mut build, QUESTIONS);
    assert_eq!(talked.code, Some(1), "{}", talked.said);
    for answer in ANSWERS {
        assert!(talked.said.contains(answer), "{answer}: {}", talked.said);
    }
    assert_eq!(
        talked.said.matches("exit code: 1").count(),
        1,
        "{}",
        talked.said
    );
    assert_eq!(stored(stagewright.store()), before);
    // What is open is not a build that ended well, and what comes after it begins anew.
    project.write(
        "Dockerfile",
        FAILS.replace("&& false", "&& test ! -e added"),
    );
    let build = stagewright.build(&project, &[&secret]).success();
    assert_eq!(build.executed().len(), 1, "{:?}", build.executed());
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_shell_opens_where_a_step_failed_without_root() {
    let account = Account::new();
    let project = project(FAILS);
    let mut build = account.command("build", &project);
    build.args(["--on-error=debug", "--progress=plain"]);
    build.arg(format!(
        "--build-context=busybox=oci-layout://{}",
        account.path("busybox").display()
    ));
    let secret = project.path().join("s");
    build.arg(format!("--secret=id=s,src={}", secret.display()));
    build.arg(project.path());
    let talked = talk(&mut build, QUESTIONS);
    assert_eq!(talked.code, Some(1), "{}", talked.said);
    for answer in ANSWERS {
        assert!(talked.said.contains(answer), "{answer}: {}", talked.said);
    }
    // The directory of the cache belongs to whom the step gave it.
    let left = fs_err::read_dir(account.path("store/tmp")).unwrap();
    assert_eq!(left.count(), 0, "{}", talked.said);
}

/// `script` is the terminal.
#[test]
#[ignore = "needs root"]
fn privileged_a_shell_has_a_terminal_of_its_own() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file("Dockerfile", "FROM busybox\nRUN false\n");
    let mut build = stagewright.build_command(&project, &["--on-error=shell"]);
    let words = std::iter::once(build.get_program())
        .chain(build.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()));
    let line = words.collect::<Vec<_>>().join(" ");
    let line =
        format!("stty rows 33 cols 77; TERM=xterm-test {line}; echo \"ended with $?\"; stty -a");
    build = Command::new(program("script", "bsdutils"));
    build.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let talked = talk(
        &mut build,
        "stty size; echo term=$TERM; test -t 0 -a -t 1 -a -t 2 && echo 'a ''terminal'\n\
         echo 'through ''tty' > /dev/tty; sleep 99999 & kill %1 && echo 'jobs ''work'; exit\n",
    );
    for answer in [
        "33 77\r\n",
        "term=xterm-test\r\n",
        "a terminal\r\n",
        "through tty\r\n",
        "jobs work\r\n",
        "ended with 1\r\n",
        // The terminal is as it was.
        " echo ",
        " icanon ",
    ] {
        assert!(talked.said.contains(answer), "{answer:?}: {}", talked.said);
    }
    assert!(
        !talked.said.contains("job control turned off"),
        "{}",
        talked.said
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_every_way_of_failing_can_be_entered() {
    let stagewright = Stagewright::with_busybox();
    let on_error = ["--on-error=shell", "--progress=plain"];
    let cases: [(&str, &[&str]); 4] = [
        ("RUN [\"/no/such/program\"]", &[]),
        ("RUN sleep 86399.75", &["--timeout=1s"]),
        ("RUN kill -9 $$", &[]),
        ("SHELL [\"/bin/ash\", \"-e\", \"-c\"]\nRUN false", &[]),
    ];
    for (step, more) in cases {
        let project = Project::new().file("Dockerfile", format!("FROM busybox\n{step}\n"));
        let arguments = [&on_error[..], more].concat();
        let mut build = stagewright.build_command(&project, &arguments);
        let talked = talk(&mut build, "echo shell=$0\n");
        let shell = if step.contains("ash") {
            "/bin/ash"
        } else {
            "/bin/sh"
        };
        assert_eq!(talked.code, Some(1), "{step}: {}", talked.said);
        let answer = format!("shell={shell}\n");
        assert!(talked.said.contains(&answer), "{step}: {}", talked.said);
    }
    // No step failed, or there is no shell.
    for (dockerfile, said) in [
        ("FROM busybox\nCOPY nothing /\n", "nothing"),
        ("FROM scratch\nRUN [\"/x\"]\n", "`/bin/sh`"),
    ] {
        let project = Project::new().file("Dockerfile", dockerfile);
        let mut build = stagewright.build_command(&project, &on_error);
        let talked = talk(&mut build, "echo 'not ''reached'\n");
        assert_eq!(talked.code, Some(1), "{}", talked.said);
        assert!(talked.said.contains(said), "{}", talked.said);
        assert!(!talked.said.contains("not reached"), "{}", talked.said);
    }
    let mut build = stagewright.build_command(&Project::new(), &["--on-error=shell", "-f-"]);
    let talked = talk(&mut build, "FROM busybox\nRUN false\n");
    assert_eq!(talked.code, Some(2), "{}", talked.said);
    assert!(talked.said.contains("standard input"), "{}", talked.said);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_log_that_is_too_long_is_clipped_and_says_so() {
    let stagewright = Stagewright::with_busybox();
    let step = "yes 0123456 | head -c 2621440; echo the end; exit 3";
    let project = Project::new().file("Dockerfile", format!("FROM busybox\nRUN {step}\n"));
    let clipped = |build: &Build| build.log().matches("output clipped").count();
    let usual = stagewright.build(&project, &[]);
    assert_eq!(clipped(&usual), 1);
    assert!(usual.log().contains("2097152 bytes"));
    let length = usual.log().len();
    assert!((2_000_000..2_200_000).contains(&length), "{length}");
    // What the step wrote last is in the error.
    assert!(
        usual.output.stderr.contains("the end"),
        "{}",
        usual.output.stderr
    );
    let less = stagewright.build(&project, &["--log-limit=1k"]);
    assert_eq!(clipped(&less), 1);
    assert!(less.log().len() < 3000, "{}", less.log());
    let mut command = stagewright.build_command(&project, &["--progress=rawjson"]);
    command.env("BUILDKIT_STEP_LOG_MAX_SIZE", "-1");
    let all = Build {
        output: output(&mut command),
    };
    assert_eq!(clipped(&all), 0);
    assert!(all.log().len() >= 2_621_440);
}
