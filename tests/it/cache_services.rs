//! Caches in services: `type=s3`, `type=azblob` and `type=gha`.

use serde_json::json;
use stagewright_testkit::{Build, ObjectServer, Project, Stagewright, output};

use crate::cache_transfer::{COPIES, NOTHING, assert_sound, project, warnings};

/// A service, and how its caches are named and asked for.
struct Service {
    kind: &'static str,
    /// Options, after the type.
    options: fn(&ObjectServer) -> String,
    variables: fn(&ObjectServer) -> Vec<(&'static str, String)>,
    /// The beginning of a request that sends a layer.
    sends: &'static str,
}

const SERVICES: [Service; 4] = [
    Service {
        kind: "s3",
        options: |server| {
            let url = server.url();
            format!("bucket=b,region=r,endpoint_url={url},use_path_style=true,prefix=p/")
        },
        variables: |_| {
            vec![
                ("AWS_ACCESS_KEY_ID", "id".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "key".to_owned()),
            ]
        },
        sends: "PUT /b/p/blobs/sha256:",
    },
    Service {
        kind: "azblob",
        options: |_| "account_name=me,secret_access_key=a2V5,prefix=p".to_owned(),
        variables: |server| vec![("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL", server.url())],
        sends: "PUT /buildkit-cache/p/blobs/sha256:",
    },
    Service {
        kind: "gha",
        options: |_| "scope=main".to_owned(),
        variables: |server| {
            vec![
                ("ACTIONS_CACHE_SERVICE_V2", "true".to_owned()),
                ("ACTIONS_RESULTS_URL", format!("{}/", server.url())),
                ("ACTIONS_RUNTIME_TOKEN", "token".to_owned()),
            ]
        },
        sends: "PUT /entries/",
    },
    Service {
        kind: "gha",
        options: |server| format!("url={},token=token", server.url()),
        variables: |_| Vec::new(),
        sends: "PATCH /_apis/artifactcache/caches/",
    },
];

impl Service {
    fn cache(&self, server: &ObjectServer) -> String {
        format!("type={},{}", self.kind, (self.options)(server))
    }

    /// Builds with a cache, which options may follow.
    fn build(
        &self,
        server: &ObjectServer,
        machine: &Stagewright,
        project: &Project,
        arguments: &[&str],
    ) -> Build {
        let mut command = machine.build_command(project, arguments);
        command.arg("--progress=rawjson");
        command.envs((self.variables)(server));
        Build {
            output: output(&mut command),
        }
    }

    /// Builds on a machine that has nothing.
    fn anew(&self, server: &ObjectServer, project: &Project, arguments: &[&str]) -> Build {
        self.build(server, &Stagewright::new(), project, arguments)
    }
}

#[test]
fn a_second_machine_with_the_cache_runs_nothing() {
    for service in &SERVICES {
        let server = ObjectServer::start();
        let cache = service.cache(&server);
        let to = format!("{cache},mode=max");
        let project = project(COPIES);
        let first = Stagewright::new();
        let export = || {
            service
                .build(&server, &first, &project, &["--cache-to", &to])
                .success()
        };
        // GitHub's entries never change, so that each manifest is a new one.
        let manifests = usize::from(service.kind == "gha");
        assert_eq!(export().executed().len(), 6, "{to}");
        assert_eq!(
            server.count(service.sends),
            6 + manifests,
            "five layers and the document: {to}"
        );
        export();
        assert_eq!(server.count(service.sends), 6 + 2 * manifests, "{to}");

        let second = Stagewright::new();
        let imported = || {
            let build = service.build(&server, &second, &project, &["--cache-from", &cache]);
            build.success()
        };
        let build = imported();
        assert_eq!(build.executed(), NOTHING, "{to}: {}", warnings(&build));
        assert_eq!(warnings(&build), "", "{to}");
        assert_sound(&second);
        assert_eq!(imported().executed(), NOTHING, "{to}");
    }
}

#[test]
fn a_cache_grows_with_its_project() {
    for service in &SERVICES {
        let server = ObjectServer::start();
        let cache = service.cache(&server);
        let project = project(COPIES);
        let both = ["--cache-from", cache.as_str(), "--cache-to", &cache];
        // The first time there is none: that is told, and is no reason not to build.
        let build = service.anew(&server, &project, &both).success();
        assert!(
            warnings(&build).contains("does not have the cache"),
            "{}",
            warnings(&build)
        );
        project.write("src/a", "changed");
        let build = service.anew(&server, &project, &both).success();
        assert!(
            build.executed().contains(&"COPY src/a /a".to_owned()),
            "{cache}"
        );
        let build = service.anew(&server, &project, &both).success();
        assert_eq!(build.executed(), NOTHING, "{cache}");
    }
}

#[test]
fn a_cache_has_names() {
    for service in &SERVICES[..2] {
        let server = ObjectServer::start();
        let project = project(COPIES);
        let to = format!("{},name=branch;main", service.cache(&server));
        let _ = service
            .anew(&server, &project, &["--cache-to", &to])
            .success();
        for (name, runs) in [("main", 0), ("branch", 0), ("other;main", 6)] {
            let from = format!("{},name={name}", service.cache(&server));
            let build = service.anew(&server, &project, &["--cache-from", &from]);
            assert_eq!(build.success().executed().len(), runs, "{from}");
        }
    }
    let server = ObjectServer::start();
    let service = &SERVICES[2];
    let project = project(COPIES);
    let to = service.cache(&server);
    let _ = service
        .anew(&server, &project, &["--cache-to", &to])
        .success();
    for (scope, runs) in [("main", 0), ("mai", 6), ("main2", 6)] {
        let from = format!("type=gha,scope={scope}");
        let build = service.anew(&server, &project, &["--cache-from", &from]);
        assert_eq!(build.success().executed().len(), runs, "{from}");
    }
}

/// Gitea and Forgejo write the keys of their caches in small letters.
#[test]
fn a_scope_is_found_however_its_letters_come_back() {
    for service in &SERVICES[2..] {
        let server = ObjectServer::start();
        let project = project(COPIES);
        let cache = service.cache(&server).replace(",scope=main", "");
        let cache = format!("{cache},scope=Feature/Big");
        let _ = service
            .anew(&server, &project, &["--cache-to", &cache])
            .success();
        let build = service.anew(&server, &project, &["--cache-from", &cache]);
        assert_eq!(build.success().executed(), NOTHING, "{cache}");
    }
}

#[test]
fn a_cache_of_actions_that_takes_nothing_is_told_of_and_not_asked_for_ever() {
    let taken = json!({ "code": "already_exists", "message": "it exists" });
    for (service, status, answer, message) in [
        (
            &SERVICES[2],
            200,
            json!({ "ok": false, "message": "the cache is read-only" }),
            ": the cache of GitHub Actions does not take the blob sha256:",
        ),
        (
            &SERVICES[2],
            200,
            json!({ "ok": false, "message": "the cache is read-only" }),
            " (the cache is read-only)",
        ),
        (
            &SERVICES[2],
            409,
            taken.clone(),
            "does not take the cache \"main\" (the keys of this moment are taken)",
        ),
        (
            &SERVICES[3],
            409,
            taken,
            "does not take the cache \"stagewright\" (the keys of this moment are taken)",
        ),
        (
            &SERVICES[3],
            200,
            json!({}),
            "it opened an entry and gave it no id",
        ),
    ] {
        let server = ObjectServer::start();
        server.refuse_entries(status, answer);
        let cache = service.cache(&server);
        let build = service.anew(&server, &project(COPIES), &["--cache-to", &cache]);
        assert_eq!(build.output.code(), Some(1), "{}", build.output);
        let told = &build.output.stderr;
        assert!(told.contains(message), "{told}");
        assert!(server.count("POST") < 100, "{cache}");
    }
}

#[test]
fn what_fails_for_a_moment_is_tried_again() {
    for service in &SERVICES {
        let server = ObjectServer::start();
        let cache = service.cache(&server);
        let project = project(COPIES);
        for status in [503, 429, 500] {
            server.fail_next(service.sends, status);
        }
        let _ = service
            .anew(&server, &project, &["--cache-to", &cache])
            .success();
        server.fail_next("GET", 503);
        let build = service.anew(&server, &project, &["--cache-from", &cache]);
        assert_eq!(build.success().executed(), NOTHING, "{cache}");
    }
}

#[test]
fn what_is_refused_is_told_and_fails_unless_it_is_to_be_ignored() {
    for service in &SERVICES {
        let server = ObjectServer::start();
        let project = project(COPIES);
        let cache = service.cache(&server);
        server.fail_next(service.sends, 403);
        let build = service.anew(&server, &project, &["--cache-to", &cache]);
        assert_eq!(build.output.code(), Some(1), "{}", build.output);
        assert!(
            build
                .output
                .stderr
                .contains("denies access to the blob sha256:"),
            "{}",
            build.output
        );
        server.fail_next(service.sends, 403);
        let to = format!("{cache},ignore-error=true");
        let _ = service
            .anew(&server, &project, &["--cache-to", &to])
            .success();
    }
    let project = project(COPIES);
    let (server, service) = (ObjectServer::start(), &SERVICES[0]);
    server.fail_next("HEAD", 400);
    let cache = service.cache(&server);
    let build = service.anew(&server, &project, &["--cache-to", &cache]);
    let told = &build.output.stderr;
    assert!(told.contains("S3 answered 400 for the blob"), "{told}");
    assert!(
        told.contains("(the bucket is in the region eu-west-1)"),
        "{told}"
    );
    let wrong = |cache: &str| {
        let mut command = Stagewright::new().build_command(&project, &["--cache-to", cache]);
        let output = output(&mut command);
        assert_eq!(output.code(), Some(1), "{output}");
        output.stderr
    };
    for (cache, message) in [
        (
            "type=s3,bucket=b,region=r",
            "S3 cannot be used: there is no key: set AWS_ACCESS_KEY_ID",
        ),
        (
            "type=azblob",
            "the variable BUILDKIT_AZURE_STORAGE_ACCOUNT_URL",
        ),
        ("type=gha", "there is no token: ACTIONS_RUNTIME_TOKEN"),
    ] {
        let told = wrong(cache);
        assert!(told.contains(message), "{told}");
        assert!(!told.contains("[internal]"), "nothing is built: {told}");
        let cache = format!("{cache},ignore-error=true");
        let build = Stagewright::new().build(&project, &["--cache-to", &cache]);
        let told = build.success().output.stderr;
        assert!(
            told.contains("warning: the cache was not exported"),
            "{told}"
        );
    }
}

#[test]
fn a_cache_of_actions_is_waited_for_as_long_as_it_may_take() {
    let project = project(COPIES);
    for service in &SERVICES[2..] {
        let server = ObjectServer::start();
        let cache = format!("{},timeout=0s", service.cache(&server));
        let message = "took longer than 0 s; allow more with timeout=";
        let build = service.anew(&server, &project, &["--cache-from", &cache]);
        let told = warnings(&build.success());
        assert!(told.contains(message), "{told}");
        let build = service.anew(&server, &project, &["--cache-to", &cache]);
        let told = build.output.failure(1).stderr;
        assert!(told.contains(message), "{told}");
    }
}

#[test]
fn a_key_is_in_no_message() {
    let project = project(COPIES);
    for (flag, cache) in [
        (
            "--cache-to",
            "type=s3,bucket=b,secret_access_key=hush,wrong=1",
        ),
        ("--cache-from", "type=s3,session_token=hush,wrong=1"),
        ("--cache-to", "token=hush,type=gha,wrong=1"),
        (
            "--cache-from",
            "type=azblob,\"account_url=http://h/?sig=hush\",wrong=1",
        ),
    ] {
        let mut command = Stagewright::new().build_command(&project, &[flag, cache]);
        let output = output(&mut command);
        assert_eq!(output.code(), Some(2), "{output}");
        assert!(output.stderr.contains("`wrong`"), "{output}");
        assert!(!output.stderr.contains("hush"), "{output}");
    }
}

#[test]
fn what_comes_and_is_not_what_its_name_says_is_not_used() {
    let (server, service) = (ObjectServer::start(), &SERVICES[0]);
    let project = project(COPIES);
    let cache = service.cache(&server);
    let to = format!("{cache},mode=max");
    let _ = service
        .anew(&server, &project, &["--cache-to", &to])
        .success();
    let manifest = server.get("/b/p/manifests/stagewright").unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let path = format!("/b/p/blobs/{}", layer["digest"].as_str().unwrap());
        server.put(&path, "x".repeat(100_000));
    }
    let machine = Stagewright::new();
    let out = tempfile::tempdir().unwrap();
    let files = format!("type=tar,dest={}/files.tar", out.path().display());
    let build = service.build(
        &server,
        &machine,
        &project,
        &["--cache-from", &cache, "-o", &files],
    );
    assert_eq!(build.success().executed().len(), 6);
    assert_sound(&machine);
    // BuildKit's own cache under the same name.
    server.put(
        "/b/p/manifests/stagewright",
        r#"{"layers":[{"blob":"sha256:x"}],"records":[]}"#,
    );
    let build = service
        .anew(&server, &project, &["--cache-from", &cache])
        .success();
    assert!(
        warnings(&build).contains("it holds no cache that stagewright exported"),
        "{}",
        warnings(&build)
    );
}

#[test]
fn what_is_old_and_needed_is_made_new() {
    let (server, service) = (ObjectServer::start(), &SERVICES[0]);
    let project = project(COPIES);
    let cache = service.cache(&server);
    let machine = Stagewright::new();
    let export = |to: &str| {
        let build = service.build(&server, &machine, &project, &["--cache-to", to]);
        let _ = build.success();
    };
    export(&cache);
    assert_eq!(server.old_count(), 0);
    server.make_old();
    export(&cache);
    assert_eq!(server.old_count(), 0);
    server.make_old();
    // It says success, and then that it was none.
    server.fail_next_copy();
    export(&cache);
    assert_eq!(server.old_count(), 0);
    server.make_old();
    // Nothing is older than this but the manifest, which is written in any case.
    export(&format!("{cache},touch_refresh=900000h"));
    assert_eq!(server.old_count(), 3);
}
