//! Images in one tar.

use std::path::Path;

use stagewright_digest::Digest;
use stagewright_oci::{
    BlobContent, DockerArchive, ImageSelector, ImageSource as _, LayerEncoding, LayoutArchive,
    OutgoingBlob, OutgoingImage, open_image, write_docker_archive, write_layout_archive,
};

use crate::sample::{LAYER, check_sample, diff_id, platform, read, sample};

/// A tar from names and contents; a content that begins with `->` is a symbolic link.
fn tar(path: &Path, files: &[(&str, &[u8])]) {
    let mut archive = tar::Builder::new(fs_err::File::create(path).unwrap());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        if let Some(target) = content.strip_prefix(b"->") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            let target = std::str::from_utf8(target).unwrap();
            archive.append_link(&mut header, name, target).unwrap();
        } else {
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, *content).unwrap();
        }
    }
    archive.into_inner().unwrap();
}

#[test]
fn a_layout_in_a_tar_is_read_and_has_pinned_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let mut bytes = Vec::new();
    write_layout_archive(&sample(&["app:v1"]), &mut bytes).unwrap();
    let mut again = Vec::new();
    write_layout_archive(&sample(&["app:v1"]), &mut again).unwrap();
    assert_eq!(bytes, again);
    assert_eq!(
        Digest::of(&bytes).to_string(),
        "sha256:9167b70aa0204c9d09ab1d951ed6a38987a16aab5723daf1826136c4d3c66235"
    );
    fs_err::write(&path, bytes).unwrap();
    let archive = LayoutArchive::open(&path).unwrap();
    for name in ["v1", "app:v1"] {
        let selector = ImageSelector::Name(name.to_owned());
        let summary = archive
            .resolve(&selector, &platform("linux/amd64"))
            .unwrap();
        check_sample(&archive, &summary);
    }
    let digest = ImageSelector::Digest(sample(&[]).root().digest);
    let opened = open_image(&path).unwrap();
    check_sample(
        &*opened,
        &opened.resolve(&digest, &platform("linux/amd64")).unwrap(),
    );
}

#[test]
fn our_docker_archive_is_read_in_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let file = fs_err::File::create(&path).unwrap();
    write_docker_archive(&sample(&["app:v1", "q.io/x/y"]), file).unwrap();
    let archive = DockerArchive::open(&path).unwrap();
    assert_eq!(
        archive.names().collect::<Vec<_>>(),
        ["app:v1", "q.io/x/y:latest"]
    );
    let by_name = ImageSelector::Name("docker.io/library/app:v1".to_owned());
    let summary = archive.resolve(&by_name, &platform("linux/amd64")).unwrap();
    check_sample(&archive, &summary);
    let opened = open_image(&path).unwrap();
    check_sample(
        &*opened,
        &opened.resolve(&by_name, &platform("linux/amd64")).unwrap(),
    );
}

#[test]
fn an_old_docker_archive_with_links_and_compressed_layers_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    // The header of gzip is enough here: nothing unpacks the layer.
    let packed = b"\x1f\x8b\x08 packed";
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{0}","{1}","{0}"]}}}}"#,
        diff_id(LAYER),
        diff_id(b"unpacked"),
    );
    tar(
        &path,
        &[
            ("./c.json", config.as_bytes()),
            ("a/layer.tar", LAYER),
            ("b/layer.tar", packed),
            ("c/layer.tar", b"->../a/layer.tar"),
            (
                "manifest.json",
                br#"[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar","b/layer.tar","c/layer.tar"]}]"#,
            ),
        ],
    );
    let archive = DockerArchive::open(&path).unwrap();
    let summary = archive
        .resolve(&ImageSelector::Sole, &platform("linux/amd64"))
        .unwrap();
    let layers = &summary.layers;
    assert_eq!(layers[0].descriptor.digest, Digest::of(LAYER));
    assert_eq!(layers[1].encoding, LayerEncoding::Gzip);
    assert_eq!(layers[1].descriptor.digest, Digest::of(packed));
    assert_eq!(layers[1].diff_id, diff_id(b"unpacked"));
    assert_eq!(layers[2], layers[0]);
    for (layer, expected) in layers.iter().zip([LAYER, packed, LAYER]) {
        assert_eq!(read(&archive, &layer.descriptor).unwrap(), expected);
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let config = br#"{"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let wrong_diff = format!(
        r#"{{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        diff_id(b"other")
    );
    let one_layer = br#"[{"Config":"c","Layers":["l"]}]"#;
    for (files, expected) in [
        (
            &[("etc/passwd", &b"x"[..])][..],
            "neither oci-layout nor manifest.json",
        ),
        (&[("oci-layout", b"{}")], "oci-layout is not valid"),
        (
            &[("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)],
            "no file index.json",
        ),
        (&[("manifest.json", b"{}")], "manifest.json is not valid"),
        (
            &[("manifest.json", b"[]")],
            "no image \"of any name\"; it has none",
        ),
        (&[("manifest.json", one_layer)], "lacks the file \"c\""),
        (
            &[("manifest.json", one_layer), ("c", b"x")],
            "config is not valid",
        ),
        (
            &[("manifest.json", one_layer), ("c", config)],
            "1 layers and the config 0",
        ),
        (
            &[("manifest.json", one_layer), ("c", wrong_diff.as_bytes())],
            "lacks the file \"l\"",
        ),
        (
            &[
                ("manifest.json", one_layer),
                ("c", wrong_diff.as_bytes()),
                ("l", b"->l"),
            ],
            "lacks the file \"l\"",
        ),
        (
            &[
                ("manifest.json", one_layer),
                ("c", wrong_diff.as_bytes()),
                ("l", LAYER),
            ],
            "is damaged",
        ),
    ] {
        tar(&path, files);
        let result = open_image(&path).map_err(Into::into).and_then(|source| {
            let found = source.resolve(&ImageSelector::Sole, &platform("linux/amd64"))?;
            read(&*source, &found.layers[0].descriptor)
        });
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    fs_err::write(&path, b"\x1f\x8b\x08").unwrap();
    let error = open_image(&path).err().unwrap().to_string();
    assert!(error.contains("decompress it first"), "{error}");
    fs_err::write(&path, [7; 2000]).unwrap();
    assert!(
        open_image(&path)
            .err()
            .unwrap()
            .to_string()
            .contains("no tar")
    );
}

#[test]
fn a_source_that_changes_while_it_is_written_fails() {
    let image = sample(&["a"]);
    let mut layer = image.blobs()[1].clone();
    layer.content = BlobContent::Bytes(b"shorter".to_vec().into());
    let mut changed = crate::sample::sample_platform("linux/amd64");
    changed.blobs[1] = OutgoingBlob { ..layer };
    let changed = OutgoingImage::single(changed, Vec::new());
    let error = write_layout_archive(&changed, Vec::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("is damaged"), "{error}");
}
