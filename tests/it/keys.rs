//! Every input of a step changes its key, and through what the step makes those of the steps that use it: no others run.

use stagewright_testkit::{Project, Stagewright};

const DOCKERFILE: &str = "\
FROM busybox AS base
ARG A=1
ENV E=1
WORKDIR /work
RUN cat /proc/sys/kernel/random/uuid > /base
FROM base AS left
COPY left /left
RUN cat /left/f > /l
FROM base AS right
COPY right /right
RUN cat /right/f > /r
FROM scratch
COPY --from=left /l /l
COPY --from=right --link /r /r
";

const BASE: &str = "RUN cat /proc/sys/kernel/random/uuid > /base";
const COPY_LEFT: &str = "COPY left /left";
const RUN_LEFT: &str = "RUN cat /left/f > /l";
const COPY_RIGHT: &str = "COPY right /right";
const RUN_RIGHT: &str = "RUN cat /right/f > /r";
const FROM_LEFT: &str = "COPY --from=left /l /l";
const FROM_RIGHT: &str = "COPY --from=right --link /r /r";

/// What is done to the project before it is built again.
enum Change {
    /// A part of the Dockerfile is replaced.
    Text(&'static str, &'static str),
    /// A file is written.
    File(&'static str, &'static str),
    /// A file gets this mode.
    Mode(&'static str, u32),
    /// A file gets another time.
    Touch(&'static str),
    /// The command gets arguments.
    Arguments(&'static [&'static str]),
}

use Change::{Arguments, File, Mode, Text, Touch};

struct Row {
    change: Change,
    executed: &'static [&'static str],
}

const fn row(change: Change, executed: &'static [&'static str]) -> Row {
    Row { change, executed }
}

/// Steps are named without their flags, as `executed` does. What makes the same files as before, or as in another row, stops
/// the change there: the steps of the last stage mostly hit.
const ROWS: &[Row] = &[
    // What changes nothing that a step reads.
    row(Text("FROM scratch", "# a comment\nFROM scratch"), &[]),
    row(
        Text(
            "FROM scratch\n",
            "FROM scratch\nLABEL a=b\nCMD [\"x\"]\nEXPOSE 80\nVOLUME /v\n",
        ),
        &[],
    ),
    row(Text("cat /left", "cat   /left"), &[RUN_LEFT]),
    row(File("left.txt", "new, copied by nobody"), &[]),
    row(Touch("left/f"), &[]),
    row(Arguments(&["--label=a=b", "-t", "other:1"]), &[]),
    row(Arguments(&["--build-arg=UNUSED=1"]), &[]),
    // Files of the context.
    row(File("left/f", "2"), &[COPY_LEFT, RUN_LEFT, FROM_LEFT]),
    row(File("left/g", "more"), &[COPY_LEFT, RUN_LEFT]),
    row(Mode("left/f", 0o755), &[COPY_LEFT, RUN_LEFT]),
    row(File("right/f", "2"), &[COPY_RIGHT, RUN_RIGHT, FROM_RIGHT]),
    row(File(".dockerignore", "left/unread"), &[COPY_LEFT, RUN_LEFT]),
    // The flags of a copy.
    row(
        Text("COPY left", "COPY --chown=5 left"),
        &["COPY --chown=5 left /left", RUN_LEFT],
    ),
    row(
        Text("COPY left", "COPY --chmod=700 left"),
        &["COPY --chmod=700 left /left", RUN_LEFT],
    ),
    row(
        Text("COPY left", "COPY --exclude=unread left"),
        // The same files as in the row before.
        &[COPY_LEFT],
    ),
    row(
        Text("left /l /l", "left /l /m"),
        &["COPY --from=left /l /m"],
    ),
    // What a command runs with.
    row(
        Text("RUN cat /left/f", "RUN tac /left/f"),
        &["RUN tac /left/f > /l"],
    ),
    row(
        Text("COPY left /left\n", "COPY left /left\nENV X=1\n"),
        &[RUN_LEFT],
    ),
    row(
        Text("COPY left /left\n", "COPY left /left\nARG Y=1\n"),
        &[RUN_LEFT],
    ),
    row(
        Text("COPY left /left\n", "COPY left /left\nUSER 0:5\n"),
        // The file that it makes belongs to another group.
        &[RUN_LEFT, FROM_LEFT],
    ),
    row(
        Text("COPY left /left\n", "COPY left /left\nWORKDIR /tmp\n"),
        &["WORKDIR /tmp", RUN_LEFT],
    ),
    row(
        Text(
            "COPY left /left\n",
            "COPY left /left\nSHELL [\"/bin/sh\", \"-ec\"]\n",
        ),
        &[RUN_LEFT],
    ),
    row(
        Text("RUN cat /left", "RUN --network=none cat /left"),
        &[RUN_LEFT],
    ),
    row(
        Text(
            "RUN cat /left",
            "RUN --mount=type=tmpfs,target=/t cat /left",
        ),
        &[RUN_LEFT],
    ),
    row(
        Text(
            "RUN cat /left",
            "RUN --mount=type=bind,source=right,target=/t cat /left",
        ),
        &[RUN_LEFT],
    ),
    row(
        Arguments(&["--add-host=a:1.2.3.4"]),
        &[BASE, COPY_LEFT, RUN_LEFT, COPY_RIGHT, RUN_RIGHT],
    ),
    // Who is asked for names is as their addresses.
    row(Arguments(&["--dns=192.0.2.1", "--dns-option=ndots:2"]), &[]),
    row(
        Arguments(&["--dns-search=a.example"]),
        &[BASE, COPY_LEFT, RUN_LEFT, COPY_RIGHT, RUN_RIGHT],
    ),
    row(
        Arguments(&["--volume=/tmp:/v:ro"]),
        &[BASE, COPY_LEFT, RUN_LEFT, COPY_RIGHT, RUN_RIGHT],
    ),
    row(
        Text("WORKDIR /work\n", "WORKDIR /other\n"),
        &[
            "WORKDIR /other",
            BASE,
            COPY_LEFT,
            RUN_LEFT,
            COPY_RIGHT,
            RUN_RIGHT,
        ],
    ),
    row(
        Arguments(&["--build-arg=A=2"]),
        &[BASE, COPY_LEFT, RUN_LEFT, COPY_RIGHT, RUN_RIGHT],
    ),
    row(
        Arguments(&["--no-cache-filter=right"]),
        &[COPY_RIGHT, RUN_RIGHT],
    ),
];

#[test]
#[ignore = "needs root"]
fn privileged_a_changed_input_runs_its_step_and_what_uses_its_result() {
    let stagewright = Stagewright::with_busybox();
    let mut wrong = Vec::new();
    for Row { change, executed } in ROWS {
        let mut project = Project::new()
            .file("Dockerfile", DOCKERFILE)
            .file("left/f", "1")
            .file("left/unread", "1")
            .file("right/f", "1");
        let _ = stagewright.build(&project, &[]).success();
        let mut arguments: &[&str] = &[];
        let said = match change {
            Text(before, after) => {
                assert_eq!(DOCKERFILE.matches(before).count(), 1, "{before:?}");
                project.write("Dockerfile", DOCKERFILE.replace(before, after));
                format!("{before:?} is now {after:?}")
            }
            File(path, text) => {
                project.write(path, text);
                format!("{path} is written")
            }
            Mode(path, mode) => {
                project = project.mode(path, *mode);
                format!("{path} gets mode {mode:o}")
            }
            Touch(path) => {
                project.touch(path);
                format!("{path} gets another time")
            }
            Arguments(added) => {
                arguments = added;
                format!("{added:?}")
            }
        };
        let mut ran = stagewright.build(&project, arguments).success().executed();
        ran.sort();
        let mut expected = executed.to_vec();
        expected.sort_unstable();
        if ran != expected {
            wrong.push(format!("{said}: {ran:?} ran, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
