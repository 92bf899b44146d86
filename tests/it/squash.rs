//! Images whose layers become one.

use std::path::Path;

use serde_json::Value;
use stagewright_testkit::{Buildah, Image, Project, Stagewright, differences, rootfs_differences};

use crate::account::Account;
use crate::rootless::OWNERS;

/// What steps make, change and remove, of the base and of each other.
const CHANGES: &str = "\
FROM busybox
COPY dir /d
RUN rm /d/b.txt && rm -r /d/sub && rm /bin/wget && rm -r /home && mkdir /home && touch /home/new
RUN mkdir /x && echo 1 > /x/1 && echo f > /y && echo secret > /made && mkdir -p /gone/deep
RUN rm -r /x && echo now a file > /x && rm /y && mkdir /y && echo 2 > /y/2 && rm -r /made /gone
RUN echo one > /one && ln /one /two && ln -s one /three && ln -s /nowhere /four
RUN rm /one && chown 33:50 /x && chmod 2770 /home && rm -r /tmp && echo file > /tmp
";
const STAGES: &str = "\
FROM busybox AS build
WORKDIR /build
COPY a.txt ./
RUN cat a.txt > made && rm /bin/wget
FROM build
COPY --from=0 /build/made /copied
RUN rm /build/a.txt
CMD [\"cat\", \"/copied\"]
";

fn project(dockerfile: &str) -> Project {
    Project::new()
        .file("Dockerfile", dockerfile)
        .file("a.txt", "a\n")
        .file("dir/b.txt", "b\n")
        .file("dir/sub/c.sh", "#!/bin/sh\necho c\n")
        .file("dir/.hidden", "")
}

/// The paths in the last layer of an image, as its tar has them.
fn last_layer(layout: &Path) -> Vec<String> {
    let image = Image::read(layout);
    let digest = image.layers.last().unwrap()["digest"].as_str().unwrap();
    let blob = layout.join("blobs").join(digest.replace(':', "/"));
    let tar = flate2::read::MultiGzDecoder::new(fs_err::File::open(blob).unwrap());
    let mut tar = tar::Archive::new(tar);
    let paths = tar.entries().unwrap().map(|entry| {
        let path = entry.unwrap().path().unwrap().display().to_string();
        path.trim_end_matches('/').to_owned()
    });
    paths.collect()
}

#[test]
#[ignore = "needs root"]
fn privileged_squashed_images_hold_what_they_would_hold_and_what_buildahs_hold() {
    let stagewright = Stagewright::with_busybox();
    let buildah = Buildah::new();
    buildah.add_base(
        &stagewright.busybox_layout(),
        "docker.io/library/busybox:latest",
    );
    let base = Image::read(&stagewright.busybox_layout()).layers.len();
    let out = tempfile::tempdir().unwrap();
    for (name, dockerfile) in [("changes", CHANGES), ("stages", STAGES), ("owners", OWNERS)] {
        let project = project(dockerfile);
        let plain = out.path().join(name);
        let _ = stagewright.build_into(&project, &plain, &[]).success();
        let plain = Image::read(&plain);
        // In Buildah it is no option to keep the layers of the base alone but not to cache.
        for (flag, theirs, layers) in [
            ("--squash", &["--layers=false"][..], base + 1),
            ("--squash-all", &["--layers=false", "--squash"], 1),
        ] {
            let layout = out.path().join(format!("{name}{flag}"));
            let first = stagewright.build_into(&project, &layout, &[flag]).success();
            assert_eq!(first.executed().len(), 1, "{name} {flag}: {first:?}");
            let image = Image::read(&layout);
            assert_eq!(image.layers.len(), layers, "{name} {flag}");
            let different = rootfs_differences(&image.rootfs, &plain.rootfs);
            assert_eq!(different, [""; 0], "{name} {flag}");
            let made = image.config.history.iter().filter(|line| !line.empty_layer);
            assert_eq!(made.count(), layers, "{:?}", image.config.history);
            let again = out.path().join("again");
            let second = stagewright.build_into(&project, &again, &[flag]).success();
            assert_eq!(second.executed(), [""; 0], "{name} {flag}");
            let index = |layout: &Path| fs_err::read(layout.join("index.json")).unwrap();
            assert_eq!(index(&again), index(&layout), "{name} {flag}");
            fs_err::remove_dir_all(&again).unwrap();
            // There each stage has a layer and a history of its own.
            if name == "changes" {
                let theirs = buildah.build(&project, theirs);
                let different = differences(&image, &theirs);
                assert_eq!(different, [""; 0], "{name} {flag}");
            }
        }
    }
    // What was made and removed left no trace, and what is hidden is of the base.
    let hidden = |flag: &str| -> Vec<String> {
        let paths = last_layer(&out.path().join(format!("changes{flag}")));
        for path in ["made", "gone", "d/b.txt", "d/sub"] {
            assert!(
                !paths.iter().any(|found| found.ends_with(path)),
                "{paths:?}"
            );
        }
        let marks = paths.into_iter().filter(|path| path.contains(".wh."));
        marks.collect()
    };
    assert_eq!(hidden("--squash-all"), [""; 0]);
    assert_eq!(hidden("--squash"), ["bin/.wh.wget"]);
}

#[test]
fn squashing_is_a_form_of_the_image_of_each_platform() {
    let stagewright = Stagewright::new();
    let project = project(
        "FROM scratch AS base\nCOPY a.txt /1\nFROM base\nCOPY a.txt /2\nCOPY dir /d\nENV A=1\n",
    );
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let platforms = "--platform=linux/amd64,linux/arm64";
    let built = stagewright
        .build_into(&project, &layout, &["--squash", platforms])
        .success();
    let squashed = built.executed();
    let squashed = squashed
        .iter()
        .filter(|name| name.starts_with("the layers"));
    assert_eq!(squashed.count(), 1, "both are of the same files");
    let image = Image::read(&layout);
    assert_eq!(image.layers.len(), 1);
    assert_eq!(
        last_layer(&layout),
        ["1", "2", "d", "d/.hidden", "d/b.txt", "d/sub", "d/sub/c.sh"]
    );
    let lines = image.config.history.iter().map(|line| line.empty_layer);
    assert_eq!(lines.collect::<Vec<_>>(), [true, true, true, false]);
    // Without it nothing runs and all is as it was.
    let layout = out.path().join("plain");
    let plain = stagewright
        .build_into(&project, &layout, &[platforms])
        .success();
    assert_eq!(plain.executed(), [""; 0]);
    assert_eq!(Image::read(&layout).layers.len(), 3);
    let both = stagewright.build(&project, &["--squash", "--squash-all"]);
    assert_eq!(both.output.code(), Some(2), "{both:?}");
    // A file that changed is copied, and what becomes one layer is made anew.
    project.write("a.txt", "b\n");
    let changed = stagewright.build(&project, &["--squash"]).success();
    assert_eq!(changed.executed().len(), 4, "{changed:?}");
    // Where no layer is made there is none.
    let nothing = Project::new().file("Dockerfile", "FROM scratch\nENV A=1\n");
    for flag in ["--squash", "--squash-all"] {
        let layout = out.path().join(flag);
        let _ = stagewright.build_into(&nothing, &layout, &[flag]).success();
        assert_eq!(Image::read(&layout).layers, [Value::Null; 0]);
    }
}

#[test]
fn squashed_layers_are_found_in_the_caches_of_others() {
    let project = project("FROM scratch\nCOPY a.txt /1\nCOPY dir /d\n");
    let out = tempfile::tempdir().unwrap();
    for mode in ["min", "max"] {
        let cache = out.path().join(mode).display().to_string();
        let image = |name: &str| out.path().join(format!("{mode}-{name}"));
        let flags = ["--squash", "--reproducible"];
        let to = format!("--cache-to=type=local,dest={cache},mode={mode}");
        let one = Stagewright::new();
        let arguments = [&flags[..], &[&to]].concat();
        let _ = one
            .build_into(&project, &image("one"), &arguments)
            .success();
        let other = Stagewright::new();
        let from = format!("--cache-from=type=local,src={cache}");
        let arguments = [&flags[..], &[&from]].concat();
        let built = other
            .build_into(&project, &image("other"), &arguments)
            .success();
        assert_eq!(built.executed(), [""; 0], "{mode}");
        let index = |name: &str| fs_err::read(image(name).join("index.json")).unwrap();
        assert_eq!(index("one"), index("other"), "{mode}");
    }
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_user_squashes_as_root_does() {
    let project = project(CHANGES);
    let account = Account::new();
    let root = Stagewright::with_busybox();
    let out = tempfile::tempdir().unwrap();
    for flag in ["--squash", "--squash-all"] {
        let layout = out.path().join(flag);
        let _ = root.build_into(&project, &layout, &[flag]).success();
        let _ = account.build_with(&project, flag, &[flag]).success();
        let theirs = account.path(flag);
        let different = differences(&Image::read(&theirs), &Image::read(&layout));
        assert_eq!(different, [""; 0], "{flag}");
        assert_eq!(last_layer(&theirs), last_layer(&layout), "{flag}");
    }
}
