//! Image layouts in a folder.

use stagewright_oci::{
    BlobPlacement, ImageLayout, ImageSelector, ImageSource as _, Index, OutgoingImage, media_type,
};

use crate::sample::{check_sample, names, platform, read, sample, sample_platform};

fn write(path: &std::path::Path, image: &OutgoingImage) -> ImageLayout {
    ImageLayout::write(path, image, BlobPlacement::Copy).unwrap()
}

#[test]
fn an_image_is_found_by_every_one_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let image = sample(&["app:v1", "localhost:5000/app"]);
    let layout = write(&folder.path().join("out"), &image);
    for selector in [
        ImageSelector::Sole,
        ImageSelector::Name("v1".to_owned()),
        ImageSelector::Name("latest".to_owned()),
        ImageSelector::Name("app:v1".to_owned()),
        ImageSelector::Name("docker.io/library/app:v1".to_owned()),
        ImageSelector::Name("localhost:5000/app".to_owned()),
        ImageSelector::Digest(image.root().digest),
    ] {
        let summary = layout.resolve(&selector, &platform("linux/amd64")).unwrap();
        assert_eq!(summary.manifest_digest, image.root().digest);
        check_sample(&layout, &summary);
    }
    let missing = ImageSelector::Name("other".to_owned());
    let error = layout
        .resolve(&missing, &platform("linux/amd64"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no image \"other\"; it has docker.io/library/app:v1"),
        "{error}"
    );
}

#[test]
fn images_are_added_and_names_move() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    write(&path, &sample(&["a:1"]));
    write(&path, &sample(&["b:1"]));
    let arm = OutgoingImage::single(sample_platform("linux/arm64"), names(&["a:1"]));
    let layout = write(&path, &arm);
    assert_eq!(layout.index().manifests.len(), 2);
    let by_name = |name: &str| {
        let selector = ImageSelector::Name(name.to_owned());
        layout
            .resolve(&selector, &platform("linux/amd64"))
            .unwrap()
            .config
            .architecture
    };
    assert_eq!(by_name("a:1"), "arm64");
    assert_eq!(by_name("b:1"), "amd64");
    let error = layout
        .resolve(&ImageSelector::Sole, &platform("linux/amd64"))
        .unwrap_err();
    assert!(error.to_string().contains("name one of them"), "{error}");
}

#[test]
fn writing_twice_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let first = fs_err::read(write(&path, &sample(&["a"])).path().join("index.json")).unwrap();
    let second = fs_err::read(write(&path, &sample(&["a"])).path().join("index.json")).unwrap();
    assert_eq!(first, second);
    let left: Vec<_> = fs_err::read_dir(path.join("blobs/sha256"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn an_index_gives_the_platform_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let both = vec![
        sample_platform("linux/amd64"),
        sample_platform("linux/arm64"),
    ];
    let image = OutgoingImage::index(both, names(&["a"]), Index::oci);
    assert_eq!(image.root().media_type, media_type::OCI_INDEX);
    // The layer is shared: two configs, two manifests, one layer, one index.
    assert_eq!(image.blobs().len(), 6);
    let layout = write(folder.path(), &image);
    for wanted in ["linux/amd64", "linux/arm64"] {
        let summary = layout
            .resolve(&ImageSelector::Sole, &platform(wanted))
            .unwrap();
        assert_eq!(summary.config.platform(), platform(wanted));
        assert_eq!(summary.resolved_digest, image.root().digest);
        assert_ne!(summary.manifest_digest, image.root().digest);
    }
    let error = layout
        .resolve(&ImageSelector::Sole, &platform("linux/s390x"))
        .unwrap_err();
    let expected = "there is no image for linux/s390x, only for linux/amd64, linux/arm64";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_damaged_blob_is_never_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let layout = write(folder.path(), &sample(&[]));
    let summary = layout
        .resolve(&ImageSelector::Sole, &platform("linux/amd64"))
        .unwrap();
    let layer = &summary.layers[0].descriptor;
    fs_err::write(layout.blob_path(&layer.digest), b"not really A tar").unwrap();
    let error = read(&layout, layer).unwrap_err().to_string();
    assert!(error.contains("is damaged"), "{error}");
    fs_err::remove_file(layout.blob_path(&layer.digest)).unwrap();
    let error = read(&layout, layer).unwrap_err().to_string();
    assert!(error.contains("lacks the blob"), "{error}");
    fs_err::write(layout.blob_path(&summary.manifest_digest), b"{}").unwrap();
    assert!(
        layout
            .resolve(&ImageSelector::Sole, &platform("linux/amd64"))
            .is_err()
    );
}

#[test]
fn only_layouts_are_opened_and_nothing_else_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let error = ImageLayout::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("is not an OCI image layout: it has no file oci-layout"),
        "{error}"
    );
    fs_err::write(folder.path().join("precious"), "x").unwrap();
    let error = ImageLayout::write(folder.path(), &sample(&[]), BlobPlacement::Copy);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("name another folder"), "{error}");
    fs_err::write(
        folder.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"2.0"}"#,
    )
    .unwrap();
    let error = ImageLayout::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("only 1.x is known"), "{error}");
}
