//! What stages in code mean as a Dockerfile.
#![allow(clippy::unwrap_used, reason = "tests")]

use stagewright_dockerfile::Dockerfile;

use super::*;
use crate::request::SecretValue;

fn text(stage: &Stage) -> String {
    let text = stage.to_dockerfile().unwrap();
    Dockerfile::parse(text.as_bytes()).expect("what is written can be read");
    text
}

fn refused(stage: &Stage) -> String {
    stage.to_dockerfile().unwrap_err().message
}

fn node() -> Stage {
    Stage::from("node:20")
        .workdir("/build")
        .copy(["package*.json"], ".")
        .run("npm ci")
        .copy(["."], ".")
}

#[test]
fn two_stages_read_like_a_dockerfile() {
    let app = Stage::from("alpine")
        .copy_with(CopyStep {
            from: CopySource::from(&node()),
            chown: Some("node:node".to_owned()),
            ..CopyStep::new(["/build"], ".")
        })
        .cmd(["node", "index.js"]);
    let expected = "\
FROM node:20 AS stage-0
WORKDIR /build
COPY package*.json .
RUN npm ci
COPY . .

FROM alpine
COPY --from=stage-0 --chown=node:node /build .
CMD [\"node\", \"index.js\"]
";
    assert_eq!(text(&app), expected);
}

#[test]
fn an_equal_stage_is_written_once_and_each_continuation_for_itself() {
    let one = node().run("npm test");
    let app = Stage::from(&one)
        .copy_from(&node(), ["/build"], "/a")
        .copy_from(&node(), ["/build"], "/b");
    let written = text(&app);
    assert_eq!(written.matches("FROM node:20").count(), 2, "{written}");
}

#[test]
fn what_a_caller_writes_is_what_a_dockerfile_reads() {
    let stage = Stage::scratch()
        .workdir("/with space")
        .env("QUOTED", "a \"b\" 'c' \\d $HOME \\$5")
        .copy(["a b", "c'd"], "/e f/")
        .volume("/data dir");
    let written = text(&stage);
    let lines: Vec<&str> = written.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "WORKDIR \"/with space\"",
            r#"ENV QUOTED="a \"b\" 'c' \\d $HOME \$5""#,
            r#"COPY ["a b", "c\\'d", "/e f/"]"#,
            r#"VOLUME ["/data dir"]"#,
        ]
    );
}

#[test]
fn a_command_is_the_shells_entirely() {
    for command in [
        "echo one\necho two",
        "cat <<X >y\ntext\nX\n",
        "[ -f a ]",
        "echo \\",
        "echo EOF\nEOF\n",
        "# nothing",
    ] {
        let written = text(&Stage::scratch().run(command).workdir("/after"));
        let file = Dockerfile::parse(written.as_bytes()).unwrap();
        assert_eq!(file.stages[0].instructions.len(), 2, "{written}");
        assert!(
            written.contains(command.trim_end_matches('\n')),
            "{written}"
        );
    }
}

#[test]
fn a_secrets_value_is_in_no_text() {
    let stage = Stage::scratch().run_with(RunStep::shell("deploy").mount(Mount::Secret {
        id: "token".to_owned(),
        target: None,
        env: Some("TOKEN".to_owned()),
        value: Some(SecretValue::Bytes(b"hunter2".to_vec())),
    }));
    assert_eq!(
        text(&stage),
        "FROM scratch\nRUN --mount=type=secret,id=token,env=TOKEN,required=true deploy\n"
    );
    assert!(!format!("{stage:?}").contains("hunter2"));
    let composed = compose(None, Some(&stage), &[], &[]).unwrap().unwrap();
    assert_eq!(composed.secrets.len(), 1);
}

#[test]
fn what_a_dockerfile_cannot_say_is_refused() {
    let scratch = Stage::scratch;
    assert!(refused(&scratch().env("A", "one\ntwo")).contains("one line"));
    assert!(refused(&scratch().env("A B", "x")).contains("no name"));
    assert!(refused(&scratch().instruction("FROM alpine")).contains("begins a stage"));
    assert!(refused(&scratch().instruction("ENV a=b\nENV c=d")).contains("several"));
    assert!(refused(&scratch().instruction("RUMM x")).contains("RUMM"));
    assert!(refused(&scratch().run(" ")).contains("no command"));
    assert!(refused(&scratch().copy(Vec::<String>::new(), ".")).contains("no source"));
    assert!(refused(&scratch().named("Big")).contains("no name for a stage"));
    assert!(refused(&Stage::from("a b")).contains("the base"));
    let two = Stage::from(scratch().named("a").run("x")).named("a");
    assert!(refused(&two).contains("are called"));
}
