use std::collections::BTreeSet;

use super::*;
use crate::Dockerfile;

/// Checks a file; returns `line rule` of each finding.
#[track_caller]
fn findings_of(text: &str) -> Vec<String> {
    let env = |image: &str| (image == "known").then(|| BTreeSet::from(["BASE".to_owned()]));
    let platform = |image: &str| {
        (image == "arm").then(|| BasePlatform {
            expected: "linux/amd64".to_owned(),
            actual: "linux/arm64".to_owned(),
        })
    };
    let context = CheckContext {
        options: None,
        base_env: Some(&env),
        base_platform: Some(&platform),
        is_built: None,
        is_ignored: Some(&|path| path == "ignored"),
    };
    let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap();
    let report = check(&dockerfile, &context).unwrap();
    let name = |finding: &Finding| format!("{} {}", finding.span.start.line, finding.rule.name());
    report.findings.iter().map(name).collect()
}

#[test]
fn every_rule_finds_what_it_is_about() {
    for (text, expected) in [
        ("FROM a AS Base", "1 StageNameCasing"),
        ("FROM a as base", "1 FromAsCasing"),
        ("from a AS base", "1 FromAsCasing"),
        ("FROM a\nRUN a \\\n\n b", "3 NoEmptyContinuation"),
        ("FROM a\nrun b\nRUN c", "2 ConsistentInstructionCasing"),
        ("from a\nRun b\nrun c", "2 ConsistentInstructionCasing"),
        ("FROM a AS b\nFROM c AS b", "2 DuplicateStageName"),
        ("FROM a AS context", "1 ReservedStageName"),
        ("FROM a\nCMD run it", "2 JSONArgsRecommended"),
        ("FROM a\nMAINTAINER me", "2 MaintainerDeprecated"),
        ("ARG VERSION=1\nFROM a:$VERSOIN", "2 UndefinedArgInFrom"),
        ("FROM a\nWORKDIR x", "2 WorkdirRelativePath"),
        ("FROM scratch\nUSER $NAME", "2 UndefinedVar"),
        (
            "FROM a\nCMD [\"a\"]\nCMD [\"b\"]",
            "2 MultipleInstructionsDisallowed",
        ),
        ("FROM a\nENV a b", "2 LegacyKeyValueFormat"),
        ("FROM arm", "1 InvalidBaseImagePlatform"),
        (
            "FROM --platform=$TARGETPLATFORM a",
            "1 RedundantTargetPlatform",
        ),
        ("FROM a\nARG API_TOKEN", "2 SecretsUsedInArgOrEnv"),
        ("ARG TAG\nFROM a:$TAG", "2 InvalidDefaultArgInFrom"),
        (
            "FROM --platform=linux/amd64 a",
            "1 FromPlatformFlagConstDisallowed",
        ),
        ("FROM a\nCOPY ignored /x", "2 CopyIgnoredFile"),
        (
            "# check=experimental=all\n\nFROM a\n# words\nARG x",
            "5 InvalidDefinitionDescription",
        ),
        ("FROM a\nEXPOSE 80/TCP", "2 ExposeProtoCasing"),
        ("FROM a\nEXPOSE 127.0.0.1:80:80", "2 ExposeInvalidFormat"),
    ] {
        assert_eq!(findings_of(text), [expected], "{text}");
    }
}

#[test]
fn good_files_have_no_findings() {
    for text in [
        "ARG TAG=1\n\nFROM --platform=$BUILDPLATFORM a:$TAG AS build\nRUN make\n",
        "FROM known\nARG A=1\nENV B=$A$BASE\nUSER ${C:-root}$PATH$http_proxy\n",
        "FROM unknown\nUSER $WHOEVER\n",
        "FROM a\nSHELL [\"/bin/bash\", \"-c\"]\nCMD run it\n",
        "FROM a AS b\nWORKDIR /x\nFROM b\nWORKDIR y\n",
        "FROM --platform=linux/amd64 a AS build_amd64\n",
        "FROM a\nENV TOKEN_FILE=x PUBLIC_KEY=y KEYBOARD=z\n",
        "FROM a\nCOPY --from=b ignored /x\n",
        "ARG BASE=build\nFROM a AS build\nFROM $BASE\n",
        "FROM a\n# words\nARG x\n",
        "ARG R=localhost:5000/a/b@sha256:00\nFROM $R\n",
    ] {
        assert_eq!(findings_of(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn check_directives_choose() {
    let file = "FROM a\nMAINTAINER me\nENV a b";
    let skip = |value: &str| findings_of(&format!("# check={value}\n{file}"));
    assert_eq!(
        skip("skip=MaintainerDeprecated"),
        ["4 LegacyKeyValueFormat"]
    );
    assert_eq!(skip("skip=all"), Vec::<String>::new());
    assert_eq!(skip("error=true").len(), 2);
    let above = "FROM a\n# check=skip=MaintainerDeprecated\nMAINTAINER me\nENV a b";
    assert_eq!(findings_of(above), ["4 LegacyKeyValueFormat"]);

    let dockerfile = Dockerfile::parse(b"# check=error=true\nFROM a\nENV a b").unwrap();
    assert!(check(&dockerfile, &CheckContext::default()).unwrap().failed);
    let dockerfile = Dockerfile::parse(b"# check=nonsense\nFROM a\n").unwrap();
    assert!(check(&dockerfile, &CheckContext::default()).is_err());
}

#[test]
fn what_is_said_to_people_is_no_rule() {
    let above = |comment: &str| findings_of(&format!("FROM a\n# check={comment}\nMAINTAINER me\n"));
    let none = Vec::<String>::new();
    assert_eq!(above("skip=MaintainerDeprecated // they want it"), none);
    assert_eq!(above("skip=all // all of it"), none);
    assert_eq!(above("skip=StageNameCasing,MaintainerDeprecated x"), none);
    // A directive is of the whole file, and not of the instruction below it too.
    let dockerfile = Dockerfile::parse(b"# check=skip=all\nFROM a AS B\n").unwrap();
    let context = CheckContext {
        options: Some("skip=none"),
        ..CheckContext::default()
    };
    assert_eq!(check(&dockerfile, &context).unwrap().findings.len(), 1);
    // An empty comment parts what stands above it from the instruction.
    let parted = "# check=experimental=all\nFROM a\n# words\n#\nARG x\n";
    assert_eq!(findings_of(parted), none);
}

#[test]
fn rules_have_distinct_names() {
    let names: BTreeSet<String> = Rule::ALL.into_iter().map(Rule::name).collect();
    assert_eq!(names.len(), 22);
    assert!(names.contains("JSONArgsRecommended"));
}
