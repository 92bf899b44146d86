//! Images whose layers have a table of contents.

use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use stagewright_testkit::{Image, Project, Registry, Stagewright, differences, output, program};

const TOC: &str = "containerd.io/snapshot/stargz/toc.digest";
const SIZE: &str = "io.containers.estargz.uncompressed-size";

fn project() -> Project {
    Project::new()
        .file(
            "Dockerfile",
            "FROM scratch\nCOPY tool /bin/\nCOPY data /data/\n",
        )
        .file("tool", "#!/bin/sh\n")
        .file("data/a", "a".repeat(3_000_000))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// A layout's manifest, and its layers uncompressed; each is checked against the config.
fn opened(layout: &Path) -> (Value, Vec<Vec<u8>>) {
    let blob = |descriptor: &Value| {
        let name = descriptor["digest"].as_str().unwrap().replace(':', "/");
        layout.join("blobs").join(name)
    };
    let index = read(&layout.join("index.json"));
    let manifest = read(&blob(&index["manifests"][0]));
    let config = read(&blob(&manifest["config"]));
    let mut layers = Vec::new();
    for (place, layer) in manifest["layers"].as_array().unwrap().iter().enumerate() {
        let mut plain = Vec::new();
        let file = fs_err::File::open(blob(layer)).unwrap();
        flate2::read::MultiGzDecoder::new(file)
            .read_to_end(&mut plain)
            .unwrap();
        let diff_id = config["rootfs"]["diff_ids"][place].as_str().unwrap();
        assert_eq!(digest(&plain), diff_id, "layer {place}");
        layers.push(plain);
    }
    (manifest, layers)
}

fn digest(bytes: &[u8]) -> String {
    let mut command = Command::new("sha256sum");
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes).unwrap();
    let said = child.wait_with_output().unwrap().stdout;
    format!("sha256:{}", String::from_utf8_lossy(&said[..64]))
}

fn annotation<'a>(layer: &'a Value, key: &str) -> Option<&'a str> {
    layer["annotations"][key].as_str()
}

#[test]
fn layers_have_a_table_and_are_layers_for_everybody() {
    let out = tempfile::tempdir().unwrap();
    let stagewright = Stagewright::new();
    let project = project();
    let build = |stagewright: &Stagewright, name: &str, more: &str| {
        let layout = out.path().join(name);
        let option = format!("type=oci,dest={}{more}", layout.display());
        let _ = stagewright
            .build(&project, &["-t", "app:1", "-o", &option])
            .success();
        layout
    };
    let plain = build(&stagewright, "plain", "");
    let layout = build(&stagewright, "estargz", ",compression=estargz");
    let (manifest, layers) = opened(&layout);
    for (layer, plain) in manifest["layers"].as_array().unwrap().iter().zip(&layers) {
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        assert_eq!(layer["mediaType"], media_type);
        assert!(annotation(layer, TOC).unwrap().starts_with("sha256:"));
        assert_eq!(
            annotation(layer, SIZE),
            Some(plain.len().to_string().as_str())
        );
    }
    let (one, other) = (Image::read(&plain), Image::read(&layout));
    assert_eq!(differences(&one, &other), [""; 0]);
    let mut skopeo = Command::new(program("skopeo", "skopeo"));
    let copied = out.path().join("copied");
    skopeo.args([
        "--insecure-policy",
        "copy",
        &format!("oci:{}", layout.display()),
        &format!("dir:{}", copied.display()),
    ]);
    let _ = output(&mut skopeo).success();
    // Remembered; that it is the same from nothing is shown with times of their own.
    let again = build(&stagewright, "again", ",compression=estargz");
    let level = build(
        &stagewright,
        "level",
        ",compression=estargz,compression-level=1",
    );
    assert_eq!(opened(&again).0, manifest);
    assert_ne!(opened(&level).0["layers"], manifest["layers"]);
    for wrong in [
        "type=oci,dest=x,compression=estargz,oci-mediatypes=false",
        "type=docker,dest=x,compression=estargz",
        "type=oci,dest=x,compression=estargz,compression-level=12",
    ] {
        let refused = stagewright.build(&project, &["-o", wrong]);
        assert_eq!(refused.output.code(), Some(1), "{}", refused.output);
        assert!(
            refused.output.stderr.contains("compression"),
            "{}",
            refused.output
        );
    }
}

#[test]
fn times_are_clamped_in_the_table_too() {
    let out = tempfile::tempdir().unwrap();
    let made = ["a", "b"].map(|name| {
        let layout = out.path().join(name);
        let option = format!(
            "type=oci,dest={},compression=estargz,rewrite-timestamp=true",
            layout.display()
        );
        let stagewright = Stagewright::new();
        let project = project();
        let mut command = stagewright.build_command(&project, &["-o", &option]);
        let _ = output(command.env("SOURCE_DATE_EPOCH", "1000000000")).success();
        let (manifest, layers) = opened(&layout);
        let text = String::from_utf8_lossy(&layers[0]).into_owned();
        assert!(text.contains("\"modtime\":\"2001-09-09T01:46:40Z\""));
        manifest
    });
    assert_eq!(made[0], made[1]);
}

#[test]
fn a_base_with_tables_keeps_them_and_one_without_gets_them_by_force() {
    let registry = Registry::start();
    let name = |tail: &str| format!("{}/{tail}", registry.address());
    let out = tempfile::tempdir().unwrap();
    for compression in ["estargz", "gzip"] {
        let push = format!("type=registry,compression={compression}");
        let tag = name(&format!("base:{compression}"));
        let _ = Stagewright::new()
            .build(&project(), &["-t", &tag, "-o", &push])
            .success();
    }
    let (_, bytes) = registry.manifest("base", "estargz").unwrap();
    let base: Value = serde_json::from_slice(&bytes).unwrap();
    let build = |of: &str, text: &str, more: &str| {
        let stagewright = Stagewright::new();
        let text = format!("FROM {} AS base\n{text}", name(&format!("base:{of}")));
        let project = Project::new().file("Dockerfile", text);
        let layout = out.path().join(format!("{of}{}", more.len()));
        let option = format!("type=oci,dest={}{more}", layout.display());
        let _ = stagewright.build(&project, &["-o", &option]).success();
        assert!(Image::read(&layout).rootfs.get("/data/a").is_some());
        opened(&layout)
    };
    // Whether its files were needed or not, and whatever the rest is compressed as.
    for text in [
        "FROM base\nCOPY --from=base /bin/tool /x\n",
        "COPY Dockerfile /x\n",
    ] {
        let (manifest, layers) = build("estargz", text, ",compression=gzip");
        for place in 0..2 {
            assert_eq!(manifest["layers"][place], base["layers"][place]);
        }
        assert_eq!(layers.len(), 3);
        assert_eq!(annotation(&manifest["layers"][2], TOC), None);
    }
    let force = ",compression=estargz,force-compression=true";
    let (kept, _) = build("estargz", "COPY Dockerfile /x\n", force);
    assert_eq!(kept["layers"][0], base["layers"][0]);
    let (made, _) = build("gzip", "COPY Dockerfile /x\n", force);
    for layer in made["layers"].as_array().unwrap() {
        assert!(annotation(layer, TOC).is_some());
    }
}
