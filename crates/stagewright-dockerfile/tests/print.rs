//! A Dockerfile that is written again is the same Dockerfile.

use std::cell::Cell;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use stagewright_dockerfile::{Dockerfile, Position, Span};

const CASES: u32 = 2_000;

/// Removes what may differ: where things stand, and how they were laid out.
fn without_places(mut dockerfile: Dockerfile) -> Dockerfile {
    let nowhere = Position { line: 0, column: 0 };
    let nowhere = Span {
        start: nowhere,
        end: nowhere,
    };
    for arg in &mut dockerfile.global_args {
        arg.span = nowhere;
        arg.text.clear();
        arg.blank_lines.clear();
    }
    for stage in &mut dockerfile.stages {
        stage.span = nowhere;
        stage.text.clear();
        stage.blank_lines.clear();
        for line in &mut stage.instructions {
            line.span = nowhere;
            line.text.clear();
            line.blank_lines.clear();
        }
    }
    dockerfile
}

/// Returns what is wrong with the text that a Dockerfile is written as; nothing for what is none.
fn difference(source: &[u8]) -> Option<String> {
    let parsed = Dockerfile::parse(source).ok()?;
    let printed = parsed.to_string();
    let again = match Dockerfile::parse(printed.as_bytes()) {
        Ok(again) => again,
        Err(error) => return Some(format!("{printed}\nis refused: {error}")),
    };
    let (parsed, again) = (without_places(parsed), without_places(again));
    (parsed != again).then(|| format!("{printed}\nis\n{again:#?}\nand not\n{parsed:#?}"))
}

#[test]
fn the_corpus_is_the_same_when_it_is_written_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/dockerfiles/accept");
    let mut seen = 0;
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|ending| ending == "Dockerfile")
        {
            let wrong = difference(&fs_err::read(&path).unwrap());
            assert!(wrong.is_none(), "{}: {}", path.display(), wrong.unwrap());
            seen += 1;
        }
    }
    assert!(seen > 200, "only {seen} were read");
}

/// Words of what means something somewhere: quotes, escapes, variables, flags, heredocs, JSON.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9/._=:-]{1,6}",
        2 => "[a-z$'\"`\\\\{}\\[\\],=<#é-]{1,6}",
        1 => prop::sample::select(vec![
            "<<EOF", "3<<-'E'", "<<<x", "[\"a\",", "\"b\"]", "[\"a b\"]", "[]", "[1]", "--", "--x=y",
            "--chown=1:2", "--chmod=u+x", "--link", "--from=a", "--exclude=*.x", "--parents",
            "--mount=type=tmpfs,target=/t", "--network=none", "--interval=1m30s", "--retries=2",
            "NONE", "CMD", "\"a b\"", "'a b'", "a\\ b", "${A:-'b c'}", "\\", "A=\"b c\"", "--keep-git-dir",
            "--unpack=false", "--link=false", "80/tcp", "AS", "x",
        ]).prop_map(str::to_owned),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let keywords = [
        "FROM",
        "RUN",
        "CMD",
        "LABEL",
        "MAINTAINER",
        "EXPOSE",
        "ENV",
        "ADD",
        "COPY",
        "ENTRYPOINT",
        "VOLUME",
        "USER",
        "WORKDIR",
        "ARG",
        "ONBUILD",
        "ONBUILD RUN",
        "ONBUILD COPY",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "SHELL",
        "run",
        "#",
        "# check=skip=x",
        "",
    ];
    let between = prop::sample::select(vec![" ", "  ", "\t", " \\\n ", " \\\n# c\n", " \\\n\n"]);
    let words = prop::collection::vec((between, word()), 0..5);
    let end = prop::sample::select(vec![
        "\n",
        "\n",
        "\r\n",
        "\nb\nEOF\n",
        "\n\tb\nE\n",
        "\nEOF\nE\n",
    ]);
    (prop::sample::select(keywords.to_vec()), words, end).prop_map(|(keyword, words, end)| {
        let words: String = words
            .into_iter()
            .map(|(gap, word)| gap.to_owned() + &word)
            .collect();
        format!("{keyword}{words}{end}")
    })
}

fn source() -> impl Strategy<Value = String> {
    let heads = vec!["", "# escape=`\n", "# syntax=x\n# check=skip=all\n"];
    let args = prop::option::of("ARG [A-Z]{1,2}(=[a-z$\"'{}]{0,4})?\n");
    let lines = prop::collection::vec(line(), 1..3);
    (prop::sample::select(heads), args, lines).prop_map(|(head, args, lines)| {
        format!(
            "{head}{}FROM a AS b\n{}",
            args.unwrap_or_default(),
            lines.concat()
        )
    })
}

#[test]
fn what_is_written_again_is_the_same() {
    let parsed = Cell::new(0);
    // The same files in every run: what another seed finds is for whoever looks for it.
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::with_cases(CASES), random);
    let same = runner.run(&source(), |source| {
        parsed.set(parsed.get() + u32::from(Dockerfile::parse(source.as_bytes()).is_ok()));
        match difference(source.as_bytes()) {
            None => Ok(()),
            Some(wrong) => Err(TestCaseError::fail(format!(
                "{source:?}\nwritten as\n{wrong}"
            ))),
        }
    });
    if let Err(error) = same {
        panic!("{error}");
    }
    // About one in seven is a Dockerfile; the rest has words where they may not stand.
    assert!(
        parsed.get() > CASES / 12,
        "only {} were Dockerfiles",
        parsed.get()
    );
}
