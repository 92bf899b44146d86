//! Every form that an image is written in.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::Command;

use stagewright_testkit::{
    Image, Kind, Project, Registry, Stagewright, differences, output, program,
};

fn project() -> Project {
    Project::new()
        .file(
            "Dockerfile",
            "FROM scratch\nENV A=1\nCOPY --chmod=751 --chown=5:6 tool /bin/tool\nCOPY data /data/\nCMD [\"/bin/tool\"]\n",
        )
        .file("tool", "#!/bin/sh\n")
        .file("data/a", "a")
        .symlink("data/link", "a")
}

fn inspect(reference: &str) -> serde_json::Value {
    let skopeo = program("skopeo", "skopeo");
    let mut command = Command::new(skopeo);
    command.args(["--insecure-policy", "inspect", "--config", reference]);
    serde_json::from_str(&output(&mut command).success().stdout).unwrap()
}

fn build_to(stagewright: &Stagewright, project: &Project, output: &str) {
    let _ = stagewright
        .build(project, &["-t", "app:1", "-o", output])
        .success();
}

#[test]
fn skopeo_reads_every_image_form_and_they_are_the_same_image() {
    let stagewright = Stagewright::new();
    let project = project();
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name);
    let cases = [
        ("layout", "type=oci,dest=", "oci:", ":app"),
        ("oci.tar", "type=oci,dest=", "oci-archive:", ""),
        ("docker.tar", "type=docker,dest=", "docker-archive:", ""),
    ];
    let mut images: Vec<Image> = Vec::new();
    for (name, option, transport, _) in cases {
        build_to(
            &stagewright,
            &project,
            &format!("{option}{}", path(name).display()),
        );
        let config = inspect(&format!("{transport}{}", path(name).display()));
        assert_eq!(config["config"]["Cmd"][0], "/bin/tool", "{name}");
        images.push(Image::read(&path(name)));
    }
    for image in &images[1..] {
        assert_eq!(differences(&images[0], image), [""; 0]);
    }
}

#[test]
fn an_image_says_what_it_holds() {
    let stagewright = Stagewright::new();
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let _ = stagewright.build_into(&project(), &layout, &[]).success();
    let image = Image::read(&layout);
    assert_eq!(image.config.cmd, ["/bin/tool"]);
    assert!(
        image.config.env.contains(&"A=1".to_owned()),
        "{:?}",
        image.config.env
    );
    let layers = image
        .config
        .history
        .iter()
        .filter(|entry| !entry.empty_layer)
        .count();
    assert_eq!(layers, image.layers.len(), "one history entry a layer");
    let tool = image.rootfs.get("/bin/tool").unwrap();
    assert_eq!((tool.mode, tool.uid, tool.gid), (0o751, 5, 6));
    let link = image.rootfs.get("/data/link").unwrap();
    assert_eq!(
        link.kind,
        Kind::Symlink {
            target: "a".to_owned()
        }
    );
}

#[test]
fn files_come_out_as_a_folder_and_as_a_tar() {
    let stagewright = Stagewright::new();
    let project = project();
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("files");
    build_to(
        &stagewright,
        &project,
        &format!("type=local,dest={}", folder.display()),
    );
    assert_eq!(
        fs_err::read_to_string(folder.join("data/link")).unwrap(),
        "a"
    );
    let tar = out.path().join("files.tar");
    build_to(
        &stagewright,
        &project,
        &format!("type=tar,dest={}", tar.display()),
    );
    assert_eq!(
        names(&tar),
        ["bin", "bin/tool", "data", "data/a", "data/link"]
    );
}

fn names(tar: &Path) -> Vec<String> {
    let listed = output(Command::new("tar").arg("-tf").arg(tar))
        .success()
        .stdout;
    let mut names: Vec<String> = listed
        .lines()
        .map(|name| {
            name.trim_start_matches("./")
                .trim_end_matches('/')
                .to_owned()
        })
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    names
}

#[test]
fn files_tell_programs_what_was_built() {
    let stagewright = Stagewright::new();
    let out = tempfile::tempdir().unwrap();
    let (iidfile, metadata) = (out.path().join("iid"), out.path().join("metadata.json"));
    let _ = stagewright
        .build(
            &project(),
            &[
                "-t",
                "app:1",
                "--iidfile",
                iidfile.to_str().unwrap(),
                "--metadata-file",
                metadata.to_str().unwrap(),
            ],
        )
        .success();
    let id = fs_err::read_to_string(&iidfile).unwrap();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    let text = fs_err::read_to_string(&metadata).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let digest = document["containerimage.config.digest"]
        .as_str()
        .unwrap_or_default();
    assert_eq!(digest, id, "{document}");
}

#[test]
fn an_image_built_twice_from_nothing_has_the_same_files() {
    let project = project();
    let out = tempfile::tempdir().unwrap();
    let images = ["a", "b"].map(|name| {
        let layout = out.path().join(name);
        let _ = Stagewright::new()
            .build_into(&project, &layout, &[])
            .success();
        Image::read(&layout)
    });
    assert_eq!(differences(&images[0], &images[1]), [""; 0]);
}

#[test]
#[ignore = "needs root"]
fn privileged_load_puts_the_image_into_podman() {
    let stagewright = Stagewright::with_busybox();
    let storage = tempfile::tempdir().unwrap();
    let conf = storage.path().join("storage.conf");
    fs_err::write(
        &conf,
        format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{0}/graph\"\nrunroot = \"{0}/run\"\n",
            storage.path().display()
        ),
    )
    .unwrap();
    let project = Project::new().file("Dockerfile", "FROM busybox\nCOPY Dockerfile /d\n");
    let mut load = stagewright.build_command(&project, &["-t", "loaded:1", "--load"]);
    let _ = output(load.env("CONTAINERS_STORAGE_CONF", &conf)).success();
    let mut images = Command::new(program("podman", "podman"));
    images.args([
        "image",
        "inspect",
        "--format",
        "{{.Config.Cmd}}",
        "docker.io/library/loaded:1",
    ]);
    let shown = output(images.env("CONTAINERS_STORAGE_CONF", &conf)).success();
    assert_eq!(shown.stdout.trim(), "[sh]");
}

#[test]
fn what_is_no_file_is_written_into_and_a_link_is_followed() {
    let stagewright = Stagewright::new();
    let project = project();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let build = |dest: &str| {
        let option = format!("type=tar,dest={}", path(dest).display());
        let _ = stagewright.build(&project, &["-o", &option]).success();
        fs_err::symlink_metadata(path(dest)).unwrap().file_type()
    };
    assert!(build("plain").is_file());
    let expected = fs_err::read(path("plain")).unwrap();

    let _ = output(Command::new("mkfifo").arg(path("pipe"))).success();
    let pipe = path("pipe");
    let reader = std::thread::spawn(move || fs_err::read(pipe).unwrap());
    assert!(build("pipe").is_fifo());
    assert!(reader.join().unwrap() == expected);

    fs_err::write(path("file"), "old").unwrap();
    fs_err::os::unix::fs::symlink("file", path("link")).unwrap();
    assert!(build("link").is_symlink());
    assert!(fs_err::read(path("file")).unwrap() == expected);
    // As a shell does, to where there is nothing yet.
    fs_err::create_dir(path("folder")).unwrap();
    fs_err::os::unix::fs::symlink("folder/new", path("other")).unwrap();
    fs_err::os::unix::fs::symlink("other", path("ahead")).unwrap();
    assert!(build("ahead").is_symlink());
    assert!(fs_err::read(path("folder/new")).unwrap() == expected);
    let left: Vec<_> = fs_err::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 7, "{left:?}");
}

/// Builds into a layout on a base of two layers, and returns the `index.json` and the manifest.
fn formed(option: &str, arguments: &[&str]) -> (serde_json::Value, serde_json::Value) {
    let stagewright = Stagewright::new();
    let out = tempfile::tempdir().unwrap();
    let base = out.path().join("base");
    let gzip = format!("type=oci,dest={},compression=gzip", base.display());
    let _ = stagewright.build(&project(), &["-o", &gzip]).success();
    let on_base = Project::new().file("Dockerfile", "FROM base\nCOPY Dockerfile /added\n");
    let layout = out.path().join("image");
    let context = format!("--build-context=base=oci-layout://{}", base.display());
    let option = format!("type=oci,dest={}{option}", layout.display());
    let all = [&["-o", &option, &context], arguments].concat();
    let _ = stagewright.build(&on_base, &all).success();
    assert!(Image::read(&layout).rootfs.get("/added").is_some());
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
    };
    let index = read(&layout.join("index.json"));
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let manifest = read(&layout.join("blobs").join(digest.replace(':', "/")));
    (index, manifest)
}

fn layer_types(manifest: &serde_json::Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            let text = layer["mediaType"].as_str().unwrap();
            text.rsplit('.').next().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn layers_are_compressed_as_asked_and_those_of_the_base_only_by_force() {
    for (option, expected) in [
        ("", ["tar+gzip", "tar+gzip", "tar+gzip"]),
        (",compression=zstd", ["tar+gzip", "tar+gzip", "tar+zstd"]),
        (
            ",compression=zstd,force-compression=true,compression-level=9",
            ["tar+zstd", "tar+zstd", "tar+zstd"],
        ),
        (
            ",compression=uncompressed,force-compression=true",
            ["tar", "tar", "tar"],
        ),
    ] {
        assert_eq!(layer_types(&formed(option, &[]).1), expected, "{option}");
    }
    let (_, docker) = formed(",oci-mediatypes=false", &[]);
    assert_eq!(layer_types(&docker), ["gzip", "gzip", "gzip"]);
    let media_type = "application/vnd.docker.distribution.manifest.v2+json";
    assert_eq!(docker["mediaType"], media_type);
    let size = |option: &str| -> u64 {
        let manifest = formed(option, &[]).1;
        manifest["layers"][2]["size"].as_u64().unwrap()
    };
    assert!(size(",compression-level=0") > size(",compression-level=9"));
    let refused = Stagewright::new().build(
        &project(),
        &["-o", "type=oci,dest=/nowhere,compression-level=99"],
    );
    assert_eq!(refused.output.code(), Some(1));
    assert!(
        refused.output.stderr.contains("from 0 to 9"),
        "{}",
        refused.output
    );
}

#[test]
fn annotations_are_where_they_belong() {
    let (index, manifest) = formed(
        ",annotation.a=1,annotation-manifest-descriptor.b=2",
        &[
            "--annotation",
            "c=3",
            "--annotation",
            "manifest,manifest-descriptor:d=4",
        ],
    );
    let of = |value: &serde_json::Value, key: &str| {
        value["annotations"][key].as_str().unwrap_or("").to_owned()
    };
    for (key, value) in [("a", "1"), ("c", "3"), ("d", "4"), ("b", "")] {
        assert_eq!(of(&manifest, key), value, "{key}");
    }
    for (key, value) in [("b", "2"), ("d", "4"), ("a", "")] {
        assert_eq!(of(&index["manifests"][0], key), value, "{key}");
    }
    let out = tempfile::tempdir().unwrap();
    let option = format!("type=oci,dest={}", out.path().join("x").display());
    for (arguments, expected) in [
        (["--annotation", "index:a=b"], "several platforms"),
        (["--annotation", "manifest[linux/x/y/z]:a=b"], "annotation"),
    ] {
        let all = [&["-o", &option][..], &arguments].concat();
        let refused = Stagewright::new().build(&project(), &all);
        assert_eq!(refused.output.code(), Some(1), "{}", refused.output);
        assert!(
            refused.output.stderr.contains(expected),
            "{}",
            refused.output
        );
    }
}

#[test]
fn several_platforms_are_one_index() {
    let registry = Registry::start();
    let name = format!("{}/app:1", registry.address());
    let project = Project::new().file(
        "Dockerfile",
        "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /for-$TARGETARCH\n",
    );
    let out = tempfile::tempdir().unwrap();
    let (layout, file) = (out.path().join("image"), out.path().join("metadata"));
    let platforms = ["--platform", "linux/amd64,linux/arm64/v8", "-t", &name];
    let more = [
        "--push",
        "--annotation",
        "index:a=b",
        "--metadata-file",
        file.to_str().unwrap(),
    ];
    let stagewright = Stagewright::new();
    let _ = stagewright
        .build_into(&project, &layout, &[&platforms[..], &more].concat())
        .success();
    let (media_type, bytes) = registry.manifest("app", "1").unwrap();
    assert_eq!(media_type, "application/vnd.oci.image.index.v1+json");
    let index: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let of = |place: usize| index["manifests"][place]["platform"]["architecture"].clone();
    assert_eq!((of(0), of(1)), ("amd64".into(), "arm64".into()));
    assert_eq!(index["annotations"]["a"], "b");
    let text = fs_err::read_to_string(&file).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        metadata["containerimage.descriptor"]["mediaType"],
        media_type
    );
    for (platform, path) in [("linux/amd64", "/for-amd64"), ("linux/arm64", "/for-arm64")] {
        let from = Project::new().file("Dockerfile", format!("FROM {name}\n"));
        let one = out.path().join(path.trim_start_matches('/'));
        // A store of its own, which knows no image of the name.
        let _ = Stagewright::new()
            .build_into(&from, &one, &["--platform", platform])
            .success();
        assert!(Image::read(&one).rootfs.get(path).is_some(), "{platform}");
    }
    let other = Project::new().file("Dockerfile", format!("FROM {name}\nCOPY Dockerfile /\n"));
    let refused = Stagewright::new().build(&other, &["--platform", "linux/s390x,linux/arm64"]);
    assert_eq!(refused.output.code(), Some(1), "{}", refused.output);
    for option in ["type=tar,dest=", "type=docker,dest="] {
        let option = format!("{option}{}", out.path().join("x.tar").display());
        let refused = stagewright.build(&project, &[&platforms[..], &["-o", &option]].concat());
        assert!(
            refused.output.stderr.contains("one platform"),
            "{}",
            refused.output
        );
    }
}

#[test]
fn an_image_of_the_store_is_saved_into_a_file_or_a_stream() {
    let stagewright = Stagewright::new();
    let project = Project::new().file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let _ = stagewright.build(&project, &["-t", "saved:1"]).success();
    let folder = tempfile::tempdir().unwrap();
    let save = |arguments: &[&str]| {
        let mut command = stagewright.command("save");
        command
            .args(arguments)
            .arg("saved:1")
            .arg("--store")
            .arg(stagewright.store());
        command
    };
    for format in ["docker-archive", "oci-archive"] {
        let file = folder.path().join(format);
        let name = file.display().to_string();
        let _ =
            stagewright_testkit::output(&mut save(&["--format", format, "-o", &name])).success();
        let streamed = save(&["--format", format]).output().unwrap();
        assert!(streamed.status.success());
        assert_eq!(streamed.stdout, fs_err::read(&file).unwrap(), "{format}");
        let image = Image::read(&file);
        assert!(image.rootfs.get("/Dockerfile").is_some(), "{format}");
    }
}

/// What goes to standard output is the file that would have been written, and nothing else is.
#[test]
fn every_form_of_one_file_goes_to_standard_output() {
    let stagewright = Stagewright::new();
    let project = project();
    let folder = tempfile::tempdir().unwrap();
    for form in [
        "type=tar",
        "type=oci",
        "type=oci,tar=true,compression=zstd",
        "type=docker",
    ] {
        let file = folder.path().join("file.tar");
        build_to(
            &stagewright,
            &project,
            &format!("{form},dest={}", file.display()),
        );
        let to = format!("{form},dest=-");
        let mut command = stagewright.build_command(&project, &["-t", "app:1", "-o", &to]);
        let streamed = command.stdin(std::process::Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&streamed.stderr);
        assert!(streamed.status.success(), "{form}: {told}");
        assert!(
            streamed.stdout == fs_err::read(&file).unwrap(),
            "{form}: {} bytes: {told}",
            streamed.stdout.len()
        );
    }
    for (outputs, expected) in [
        (&["type=local,dest=-"][..], "use type=tar"),
        (&["type=tar,dest=-", "type=oci,dest=-"], "only one output"),
        (&["type=oci,dest=-,tar=false"], "needs dest=PATH"),
    ] {
        let mut arguments = Vec::new();
        for output in outputs {
            arguments.extend(["-o", output]);
        }
        let mut command = stagewright.build_command(&project, &arguments);
        let refused = stagewright_testkit::output(&mut command).failure(2);
        assert!(refused.stderr.contains(expected), "{refused}");
    }
}

#[test]
fn what_is_shown_after_a_build_goes_on_with_its_numbers() {
    let project = Project::new()
        .file("Dockerfile", "FROM scratch\nCOPY a /\n")
        .file("a", "a");
    let out = tempfile::tempdir().unwrap();
    let cache = format!("--cache-to=type=local,dest={}", out.path().display());
    let platforms = "--platform=linux/amd64,linux/arm64";
    let arguments = ["--progress=plain", platforms, &cache];
    let mut command = Stagewright::new().build_command(&project, &arguments);
    // A heading follows an empty line, but for the first.
    let text = format!("\n\n{}", output(&mut command).success().stderr);
    let headings = text.split("\n\n#").skip(1);
    let numbers: Vec<usize> = headings
        .filter_map(|heading| heading.split(' ').next()?.parse().ok())
        .collect();
    assert!(numbers.len() > 8, "{text}");
    let ascend = (1..)
        .zip(&numbers)
        .all(|(expected, number)| expected == *number);
    assert!(ascend, "{text}");
}
