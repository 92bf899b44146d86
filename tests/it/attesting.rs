//! Attestations: provenance and SBOMs, as BuildKit attaches them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use stagewright_testkit::{Project, Registry, Stagewright, output, program};

const SLSA: &str = "https://slsa.dev/provenance/v1";
const SPDX: &str = "https://spdx.dev/Document";
const SECRET: &str = "very-secret-value";

/// A project whose image holds packages of each kind.
fn project() -> Project {
    Project::new()
        .file(
            "Dockerfile",
            "ARG BUILDKIT_SBOM_SCAN_CONTEXT\nFROM scratch AS tools\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nCOPY tools /\nFROM scratch AS unused\nCOPY tools /\nFROM scratch AS app\nARG COLOR\nLABEL a=b\nCOPY root /\nCOPY --from=tools /lib/apk /var/apk\n",
        )
        .file(
            "root/etc/os-release",
            "ID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME=\"Debian\"\n",
        )
        .file(
            "root/var/lib/dpkg/status",
            "Package: libc6\nStatus: install ok installed\nVersion: 2.41-1\nArchitecture: amd64\nMaintainer: G <g@example.org>\n",
        )
        .file("root/var/lib/rpm/rpmdb.sqlite", "")
        .file(
            "root/app/node_modules/left-pad/package.json",
            "{\"name\":\"left-pad\",\"version\":\"1.3.0\",\"license\":\"WTFPL\"}",
        )
        .file(
            "tools/lib/apk/db/installed",
            "P:busybox\nV:1.36-r1\nA:x86_64\nL:GPL-2.0-only\n",
        )
}

/// The documents of a layout, from its index on.
struct Layout {
    folder: PathBuf,
}

impl Layout {
    fn blob(&self, descriptor: &Value) -> Value {
        let digest = descriptor["digest"].as_str().unwrap();
        let path = self.folder.join("blobs").join(digest.replace(':', "/"));
        serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
    }

    fn root(&self) -> Value {
        let index = fs_err::read(self.folder.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        self.blob(&index["manifests"][0])
    }

    /// Checks the manifest of attestations against its place in the index, and returns its statements.
    fn statements(&self, index: &Value, place: usize) -> Vec<Value> {
        let entries = index["manifests"].as_array().unwrap();
        let entry = &entries[place];
        let platform = &entry["platform"];
        assert_eq!(
            (&platform["os"], &platform["architecture"]),
            (&"unknown".into(), &"unknown".into())
        );
        let annotations = &entry["annotations"];
        assert_eq!(
            annotations["vnd.docker.reference.type"],
            "attestation-manifest"
        );
        let target = &annotations["vnd.docker.reference.digest"];
        assert!(
            entries[..place]
                .iter()
                .any(|entry| entry["digest"] == *target)
        );
        let manifest = self.blob(entry);
        let config = self.blob(&manifest["config"]);
        assert_eq!(config["architecture"], "unknown");
        let layers = manifest["layers"].as_array().unwrap();
        let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!(diff_ids));
        let mut statements = Vec::new();
        for layer in layers {
            assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
            let statement = self.blob(layer);
            assert_eq!(
                layer["annotations"]["in-toto.io/predicate-type"],
                statement["predicateType"]
            );
            assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
            for subject in statement["subject"].as_array().unwrap() {
                let digest = format!("sha256:{}", subject["digest"]["sha256"].as_str().unwrap());
                assert_eq!(*target, digest.as_str());
            }
            statements.push(statement);
        }
        statements
    }
}

fn build(stagewright: &Stagewright, project: &Project, arguments: &[&str]) -> Layout {
    let folder = project.path().join("image");
    let _ = stagewright
        .build_into(project, &folder, arguments)
        .success();
    Layout { folder }
}

fn of_type<'s>(statements: &'s [Value], kind: &str) -> Vec<&'s Value> {
    let all = statements.iter();
    all.filter(|statement| statement["predicateType"] == kind)
        .collect()
}

/// Returns the package URLs of an SBOM, after looking at what SPDX wants of each document.
fn packages(sbom: &Value) -> Vec<String> {
    assert_eq!(sbom["spdxVersion"], "SPDX-2.3");
    assert_eq!(sbom["dataLicense"], "CC0-1.0");
    assert_eq!(sbom["SPDXID"], "SPDXRef-DOCUMENT");
    let packages = sbom["packages"].as_array().unwrap();
    let ids: Vec<&str> = packages
        .iter()
        .map(|package| package["SPDXID"].as_str().unwrap())
        .collect();
    for relationship in sbom["relationships"].as_array().unwrap() {
        let to = relationship["relatedSpdxElement"].as_str().unwrap();
        assert!(ids.contains(&to), "{to}");
    }
    let purl = |package: &Value| {
        Some(
            package["externalRefs"][0]["referenceLocator"]
                .as_str()?
                .to_owned(),
        )
    };
    packages.iter().filter_map(purl).collect()
}

/// The databases that rpm wrote, and what `rpm -qa` says of them.
fn rpm_fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rpm");
    fs_err::read(folder.join(name)).unwrap()
}

#[test]
fn sboms_list_what_rpm_lists() {
    let stagewright = Stagewright::new();
    let listed = String::from_utf8(rpm_fixture("expected.txt")).unwrap();
    let mut expected: Vec<String> = listed
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('|').collect();
            let [name, epoch, version, release, architecture] = fields[..5] else {
                panic!("{line}");
            };
            let epoch = match epoch {
                "(none)" => String::new(),
                epoch => format!("&epoch={epoch}"),
            };
            let (name, source) = (name.replace('+', "%2B"), fields[9].replace('+', "%2B"));
            format!(
                "pkg:rpm/redhat/{name}@{version}-{release}?arch={architecture}&distro=rhel-9.4{epoch}&upstream={source}"
            )
        })
        .collect();
    expected.sort();
    for path in [
        "var/lib/rpm/rpmdb.sqlite",
        "usr/lib/sysimage/rpm/Packages.db",
        "var/lib/rpm/Packages",
    ] {
        let project = Project::new()
            .file("Dockerfile", "FROM scratch\nCOPY root /\n")
            .file("root/etc/os-release", "ID=\"rhel\"\nVERSION_ID=\"9.4\"\n");
        let file = project.path().join("root").join(path);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        let database = rpm_fixture(path.rsplit('/').next().unwrap());
        fs_err::write(&file, &database).unwrap();
        let layout = build(&stagewright, &project, &["--sbom"]);
        let statements = layout.statements(&layout.root(), 1);
        let sbom = &of_type(&statements, SPDX)[0]["predicate"];
        let mut found = packages(sbom);
        found.sort();
        assert_eq!(found, expected, "{path}");
        assert!(sbom["comment"].is_null(), "{path}");
        let tool = &sbom["packages"][1];
        assert_eq!(tool["versionInfo"], "2:1.2~rc1-3.el9_2.1");
        assert_eq!(tool["supplier"], "Organization: Red Hat, Inc.");
        assert_eq!(tool["licenseComments"], "GPLv2+ and MIT");
    }
    // Half of one: the rest is listed, with a warning.
    let project = Project::new().file("Dockerfile", "FROM scratch\nCOPY Packages /var/lib/rpm/\n");
    let database = rpm_fixture("Packages");
    fs_err::write(
        project.path().join("Packages"),
        &database[..database.len() / 2],
    )
    .unwrap();
    let folder = project.path().join("image");
    let run = stagewright
        .build_into(&project, &folder, &["--sbom"])
        .success();
    let warning = "var/lib/rpm/Packages: packages of rpm may be missing: it has 45056 bytes";
    let events = run.events();
    let told = events
        .iter()
        .any(|event| event.to_string().contains(warning));
    assert!(told, "{events:#?}");
    let layout = Layout { folder };
    let statements = layout.statements(&layout.root(), 1);
    let sbom = &of_type(&statements, SPDX)[0]["predicate"];
    assert!(sbom["comment"].as_str().unwrap().contains(warning));
    let found = packages(sbom).len();
    assert!(found > 0 && found < expected.len(), "{found}");
}

#[test]
fn attestations_lie_beside_the_image_in_an_index() {
    let stagewright = Stagewright::new();
    let project = project();
    let layout = build(
        &stagewright,
        &project,
        &[
            "-t",
            "app:1",
            "--sbom",
            "--provenance=mode=max",
            "--build-arg",
            "COLOR=blue",
        ],
    );
    let index = layout.root();
    assert_eq!(
        index["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    let statements = layout.statements(&index, 1);
    let [sbom, stage] = of_type(&statements, SPDX)[..] else {
        panic!("an SBOM of the image and one of a stage: {statements:#?}");
    };
    assert_eq!(
        packages(&sbom["predicate"]),
        [
            "pkg:deb/debian/libc6@2.41-1?arch=amd64&distro=debian-13",
            "pkg:npm/left-pad@1.3.0"
        ]
    );
    assert!(
        sbom["predicate"]["comment"]
            .as_str()
            .unwrap()
            .contains("packages of rpm may be missing")
    );
    assert_eq!(
        packages(&stage["predicate"]),
        ["pkg:apk/alpine/busybox@1.36-r1?arch=x86_64"]
    );
    assert_eq!(stage["predicate"]["name"], "sbom-build-tools");
    let subject = sbom["subject"][0]["name"].as_str().unwrap();
    assert!(
        subject.starts_with("pkg:docker/app@1?platform=linux%2F"),
        "{subject}"
    );
    let [provenance] = of_type(&statements, SLSA)[..] else {
        panic!("one provenance: {statements:#?}");
    };
    let definition = &provenance["predicate"]["buildDefinition"];
    let request = &definition["externalParameters"]["request"];
    assert_eq!(request["args"]["build-arg:COLOR"], "blue");
    assert_eq!(
        definition["externalParameters"]["configSource"]["path"],
        "Dockerfile"
    );
    let steps = definition["internalParameters"]["buildConfig"]["steps"]
        .as_array()
        .unwrap();
    assert!(
        steps
            .iter()
            .any(|step| step["name"].as_str().unwrap().contains("COPY root /"))
    );
    let details = &provenance["predicate"]["runDetails"];
    assert!(
        details["metadata"]["startedOn"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    // Other tools take the image, and not what lies beside it.
    let skopeo = program("skopeo", "skopeo");
    let reference = format!("oci:{}:1", layout.folder.display());
    let mut inspect = Command::new(skopeo);
    inspect.args(["--insecure-policy", "inspect", "--config", &reference]);
    let config: Value = serde_json::from_str(&output(&mut inspect).success().stdout).unwrap();
    assert_eq!(config["config"]["Labels"]["a"], "b");
    // The name in the store keeps them.
    let mut command = stagewright.command("inspect");
    command.arg("--store").arg(stagewright.store()).arg("app:1");
    let shown: Value = serde_json::from_str(&output(&mut command).success().stdout).unwrap();
    let kinds: Vec<&Value> = shown["attestations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["predicateType"])
        .collect();
    assert_eq!(kinds, [SPDX, SPDX, SLSA]);
}

#[test]
fn little_is_told_unless_more_is_asked_for() {
    let stagewright = Stagewright::new();
    let project = project();
    let secret = project.path().join("secret");
    project.write("secret", SECRET);
    project.write(".dockerignore", "secret\nimage*\n");
    let secret = format!("id=token,src={}", secret.display());
    let arguments = |mode: &'static str| {
        [
            mode,
            "--secret",
            &secret,
            "--build-arg",
            "COLOR=blue",
            "--label",
            "c=d",
        ]
        .map(str::to_owned)
    };
    for (mode, told) in [("--provenance=mode=min", false), ("--provenance", true)] {
        let arguments = arguments(mode);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let layout = build(&stagewright, &project, &arguments);
        let statements = layout.statements(&layout.root(), 1);
        let [provenance] = &statements[..] else {
            panic!("no SBOM was asked for");
        };
        let text = provenance.to_string();
        for word in ["blue", "label:c", "token", "buildConfig", "infos"] {
            assert_eq!(text.contains(word), told, "{mode}: {word}");
        }
        assert!(!text.contains(SECRET));
        assert!(!text.contains(project.path().to_str().unwrap()), "{text}");
        fs_err::remove_dir_all(&layout.folder).unwrap();
    }
    // None is made that is not asked for.
    let plain = build(&stagewright, &project, &["--provenance=false"]);
    assert!(plain.root()["layers"].is_array());
}

#[test]
fn reproducible_images_have_reproducible_attestations() {
    let project = project();
    let digest = || {
        let stagewright = Stagewright::new();
        let layout = build(
            &stagewright,
            &project,
            &["--sbom", "--provenance", "--reproducible", "-t", "app:1"],
        );
        let index = fs_err::read_to_string(layout.folder.join("index.json")).unwrap();
        fs_err::remove_dir_all(&layout.folder).unwrap();
        index
    };
    project.write(".dockerignore", "image\n");
    assert_eq!(digest(), digest());
}

#[test]
fn outputs_of_files_have_them_as_files() {
    let stagewright = Stagewright::new();
    let project = project();
    let out = tempfile::tempdir().unwrap();
    let (folder, tar) = (out.path().join("files"), out.path().join("files.tar"));
    let local = format!("type=local,dest={}", folder.display());
    let archive = format!("type=tar,dest={}", tar.display());
    let arguments = ["--sbom", "--provenance", "-o", &local, "-o", &archive];
    let _ = stagewright.build(&project, &arguments).success();
    let statement =
        |path: &Path| -> Value { serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap() };
    let sbom = statement(&folder.join("sbom.spdx.json"));
    assert_eq!(sbom["predicateType"], SPDX);
    assert_eq!(
        statement(&folder.join("provenance.json"))["predicateType"],
        SLSA
    );
    assert!(folder.join("sbom-build-tools.spdx.json").exists());
    // They are about the files.
    let subjects: BTreeMap<&str, &str> = sbom["subject"]
        .as_array()
        .unwrap()
        .iter()
        .map(|subject| {
            let digest = subject["digest"]["sha256"].as_str().unwrap();
            (subject["name"].as_str().unwrap(), digest)
        })
        .collect();
    let sum = output(Command::new("sha256sum").arg(folder.join("etc/os-release"))).success();
    let sum = sum.stdout.split(' ').next().unwrap().to_owned();
    assert_eq!(subjects["etc/os-release"], sum);
    let listed = output(Command::new("tar").arg("-tf").arg(&tar))
        .success()
        .stdout;
    let mut names: Vec<&str> = listed.lines().collect();
    for name in [
        "provenance.json",
        "sbom-build-tools.spdx.json",
        "sbom.spdx.json",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    let given = names.clone();
    names.sort_unstable();
    assert_eq!(names, given);
    // Unless they are for images alone.
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("files");
    let local = format!("type=local,dest={}", folder.display());
    let arguments = ["--provenance=mode=min,inline-only=true", "-o", &local];
    let _ = stagewright.build(&project, &arguments).success();
    assert!(!folder.join("provenance.json").exists());
}

#[test]
fn the_context_is_looked_at_when_it_is_asked_for() {
    let stagewright = Stagewright::new();
    let project = project();
    let layout = build(
        &stagewright,
        &project,
        &["--sbom", "--build-arg", "BUILDKIT_SBOM_SCAN_CONTEXT=true"],
    );
    let statements = layout.statements(&layout.root(), 1);
    let names: Vec<&Value> = statements
        .iter()
        .map(|statement| &statement["predicate"]["name"])
        .collect();
    assert_eq!(names, ["sbom", "sbom-build-tools", "sbom-context"]);
    let found = packages(&statements[2]["predicate"]);
    assert_eq!(found, ["pkg:npm/left-pad@1.3.0"]);
}

#[test]
fn sources_are_named_with_their_digests() {
    let registry = Registry::start();
    let stagewright = Stagewright::new();
    let base = Project::new()
        .file("Dockerfile", "FROM scratch\nCOPY a /a\n")
        .file("a", "a");
    let name = format!("{}/base:1", registry.address());
    let _ = stagewright.build(&base, &["--push", "-t", &name]).success();
    let pushed: Value = {
        let (_, bytes) = registry.manifest("base", "1").unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let user = Stagewright::new();
    let project = Project::new().file("Dockerfile", format!("FROM {name}\n"));
    let app = format!("{}/app:1", registry.address());
    let arguments = ["--provenance", "--sbom", "--push", "-t", &app, "--pull"];
    let _ = user.build(&project, &arguments).success();
    let (kind, bytes) = registry.manifest("app", "1").unwrap();
    assert_eq!(kind, "application/vnd.oci.image.index.v1+json");
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    let attested = index["manifests"][1]["digest"].as_str().unwrap();
    let (_, bytes) = registry.manifest("app", attested).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let provenance = layers.last().unwrap()["digest"].as_str().unwrap();
    let statement: Value = serde_json::from_slice(&registry.blob(provenance).unwrap()).unwrap();
    let dependency = &statement["predicate"]["buildDefinition"]["resolvedDependencies"][0];
    let uri = dependency["uri"].as_str().unwrap();
    assert!(
        uri.starts_with(&format!("pkg:docker/{}/base@1?", registry.address())),
        "{uri}"
    );
    let digest = format!(
        "sha256:{}",
        dependency["digest"]["sha256"].as_str().unwrap()
    );
    let (_, bytes) = registry.manifest("base", &digest).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), pushed);
    // Who builds on the image gets the image.
    let next = Project::new().file("Dockerfile", format!("FROM {app}\n"));
    let _ = Stagewright::new().build(&next, &[]).success();
}

#[test]
fn what_cannot_be_attested_says_so() {
    let stagewright = Stagewright::new();
    let project = project();
    for (arguments, expected) in [
        (&["--sbom=generator=x"][..], "not run"),
        (&["--provenance=version=v0.2"], "v1"),
        (
            &["--sbom", "-o", "type=oci,dest=x.tar,oci-mediatypes=false"],
            "OCI's media types",
        ),
        (&["--sbom", "--attest=type=sbom"], "twice"),
    ] {
        let mut command = stagewright.build_command(&project, arguments);
        let failed = output(command.current_dir(project.path()));
        assert_ne!(failed.code(), Some(0), "{arguments:?}");
        assert!(
            failed.stderr.contains(expected),
            "{arguments:?}: {}",
            failed.stderr
        );
    }
}

#[test]
fn files_tell_programs_what_was_attested() {
    let stagewright = Stagewright::new();
    let project = project();
    let out = tempfile::tempdir().unwrap();
    let (iidfile, metadata) = (out.path().join("iid"), out.path().join("metadata.json"));
    let files = [
        "--iidfile",
        iidfile.to_str().unwrap(),
        "--metadata-file",
        metadata.to_str().unwrap(),
    ];
    let read = || -> (String, Value) {
        let text = fs_err::read_to_string(&metadata).unwrap();
        let id = fs_err::read_to_string(&iidfile).unwrap();
        (id, serde_json::from_str(&text).unwrap())
    };
    let annotate = [
        "--annotation",
        "index:a=b",
        "--annotation",
        "index-descriptor:c=d",
    ];
    let arguments = [&["--provenance=mode=min"][..], &annotate, &files].concat();
    let layout = build(&stagewright, &project, &arguments);
    let (id, document) = read();
    // An index stands for the image, which then is no config.
    assert_eq!(document["containerimage.digest"], id.as_str());
    assert!(document["containerimage.config.digest"].is_null());
    let descriptor = &document["containerimage.descriptor"];
    assert_eq!(
        descriptor["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    assert!(descriptor["annotations"]["org.opencontainers.image.created"].is_string());
    let provenance = &document["buildx.build.provenance"];
    assert!(provenance["buildDefinition"]["buildType"].is_string());
    assert_eq!(layout.root()["annotations"]["a"], "b");
    let index = fs_err::read_to_string(layout.folder.join("index.json")).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    assert_eq!(index["manifests"][0]["annotations"]["c"], "d");
    fs_err::remove_dir_all(&layout.folder).unwrap();
    // A manifest has a config.
    let layout = build(&stagewright, &project, &files);
    let (id, document) = read();
    assert_eq!(document["containerimage.config.digest"], id.as_str());
    assert_eq!(layout.root()["config"]["digest"], id.as_str());
    let annotations = &document["containerimage.descriptor"]["annotations"];
    assert_eq!(annotations["config.digest"], id.as_str());
    assert!(document["buildx.build.provenance"].is_null());
}
