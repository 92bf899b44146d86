//! Without root: the same images as with it, where the user's ids allow it.

use std::process::Command;

use stagewright_testkit::{
    Image, ImageWriter, LayerTar, Project, Stagewright, differences, output,
};

use crate::account::Account;

/// A user that no file knows, and that has no subordinate ids therefore.
pub(crate) const NOBODY_KNOWN: &str = "54321";

#[test]
#[ignore = "needs root to become another user"]
fn privileged_files_alone_make_the_same_image_without_root() {
    let dockerfile = "\
FROM scratch AS files
COPY a.txt /x/
FROM scratch
COPY --from=files --chown=33:50 --chmod=640 /x /y
USER 33
";
    let project = Project::new()
        .file("Dockerfile", dockerfile)
        .file("a.txt", "a\n");
    let root = Stagewright::new();
    let out = tempfile::tempdir().unwrap();
    let theirs = out.path().join("image");
    let _ = root.build_into(&project, &theirs, &[]).success();

    let account = Account::new();
    let _ = account.build(&project, "image").success();
    let different = differences(&Image::read(&account.path("image")), &Image::read(&theirs));
    assert!(different.is_empty(), "{}", different.join("\n"));

    let again = stagewright_testkit::Build {
        output: account.build(&project, "again").success(),
    };
    assert_eq!(again.executed(), [""; 0]);
}

/// Two users and root, each with a store of their own, build the same at the same time, several times each.
#[test]
#[ignore = "needs root to become another user"]
fn privileged_users_with_stores_of_their_own_build_at_once() {
    const BUILDS: usize = 4;
    let dockerfile = |number: usize| {
        format!(
            "FROM busybox AS made\nCOPY a.txt /x/\nRUN cat /x/a.txt > /x/b.txt\nFROM scratch\nCOPY --from=made /x /{number}\n"
        )
    };
    let project = |number| {
        Project::new()
            .file("Dockerfile", dockerfile(number))
            .file("a.txt", "a\n")
    };
    let root = Stagewright::with_busybox();
    let accounts = [Account::new(), Account::of(NOBODY_KNOWN.to_owned())];
    let out = tempfile::tempdir().unwrap();
    let theirs = &|number: usize| out.path().join(number.to_string());
    std::thread::scope(|scope| {
        for number in 0..BUILDS {
            let (root, project) = (&root, &project);
            scope.spawn(move || {
                let build = root.build_into(&project(number), &theirs(number), &[]);
                build.success()
            });
            for account in &accounts {
                scope.spawn(move || {
                    let name = number.to_string();
                    account.build(&project(number), &name).success()
                });
            }
        }
    });
    for account in &accounts {
        for number in 0..BUILDS {
            let ours = Image::read(&account.path(&number.to_string()));
            let different = differences(&ours, &Image::read(&theirs(number)));
            assert!(different.is_empty(), "{}", different.join("\n"));
        }
        let verified = account.cache(&["verify"]).success();
        assert!(verified.stdout.contains("all whole"), "{verified}");
    }
}

/// Builds as root and as a user, and says where the images differ.
fn different(account: &Account, project: &Project) -> Vec<String> {
    let root = Stagewright::with_busybox();
    let out = tempfile::tempdir().unwrap();
    let theirs = out.path().join("image");
    let _ = root.build_into(project, &theirs, &[]).success();
    let _ = account.build(project, "image").success();
    differences(&Image::read(&account.path("image")), &Image::read(&theirs))
}

/// Files of several owners, made, changed and removed by steps.
pub(crate) const OWNERS: &str = "\
FROM busybox AS base
RUN mkdir -p /srv/a /srv/b && echo 1 > /srv/a/f && ln /srv/a/f /srv/a/g && echo gone > /srv/b/gone \\
    && chown 33:34 /srv/a/f && chown 5:6 /srv/b && chmod 4755 /srv/a/f && chmod 700 /srv/b
RUN rm /srv/a/g && rm -rf /srv/b && mkdir /srv/b && chown 1000:1000 /srv/b && ln -s a /srv/link
USER 1000:1000
RUN echo mine > /srv/b/x && chmod 600 /srv/b/x && test ! -e /srv/b/gone
FROM busybox
COPY --from=base --chown=7:8 /srv/a /a
COPY --from=base /srv/b /b
RUN test \"$(stat -c %u:%g:%a /b/x)\" = 1000:1000:600 && rm -r /a
";

#[test]
#[ignore = "needs root to become another user"]
fn privileged_steps_make_the_same_image_without_root() {
    let project = Project::new().file("Dockerfile", OWNERS);
    let account = Account::new();
    let different = different(&account, &project);
    assert!(different.is_empty(), "{}", different.join("\n"));
    let again = stagewright_testkit::Build {
        output: account.build(&project, "again").success(),
    };
    assert_eq!(again.executed(), [""; 0]);
    let verified = account.cache(&["verify"]).success();
    assert!(verified.stdout.contains("all whole"), "{verified}");
    // Files of ids that the user does not have go too.
    let _ = account.cache(&["prune", "--all"]).success();
    let left = fs_err::read_dir(account.path("store/layers")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_what_root_exported_as_its_cache_is_used_without_root() {
    let project = Project::new().file("Dockerfile", OWNERS);
    let account = Account::new();
    let root = Stagewright::with_busybox();
    let cache = tempfile::tempdir_in(account.folder()).unwrap();
    let cache = cache.path().join("cache");
    let to = format!("type=local,dest={},mode=max", cache.display());
    let _ = root.build(&project, &["--cache-to", &to]).success();
    let owned = Command::new("chown")
        .args(["-R", account.user()])
        .arg(cache.parent().unwrap())
        .status();
    assert!(owned.unwrap().success());

    let from = format!("--cache-from=type=local,src={}", cache.display());
    let imported = stagewright_testkit::Build {
        output: account.build_with(&project, "image", &[&from]).success(),
    };
    assert_eq!(imported.executed(), [""; 0]);
    // A step on top mounts what came, with the owners that it came with.
    let longer = format!("{OWNERS}RUN test \"$(stat -c %u:%g:%a /b/x)\" = 1000:1000:600\n");
    project.write("Dockerfile", longer.replace("&& rm -r /a", "&& touch /b/x"));
    let imported = stagewright_testkit::Build {
        output: account.build_with(&project, "longer", &[&from]).success(),
    };
    assert_eq!(imported.executed().len(), 2);
    let verified = account.cache(&["verify"]).success();
    assert!(verified.stdout.contains("all whole"), "{verified}");
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_user_without_subordinate_ids_runs_what_needs_one_id() {
    let dockerfile = "\
FROM busybox
COPY --chown=33:34 Dockerfile /given
RUN echo 1 > /mine && chmod 750 /mine && mkdir /dir && mv /mine /dir/moved && rm /given
COPY --chown=33:34 --chmod=640 Dockerfile /given
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let account = Account::of(NOBODY_KNOWN.to_owned());
    let different = different(&account, &project);
    assert!(different.is_empty(), "{}", different.join("\n"));

    project.write("Dockerfile", "FROM busybox\nRUN chown 33:33 /bin\n");
    let failed = account.build(&project, "no");
    assert_eq!(failed.code(), Some(1), "{failed}");
    assert!(failed.stderr.contains("Dockerfile:2"), "{failed}");
    let told = output(&mut account.command("doctor", &project)).success();
    assert!(told.stdout.contains("rootless with one id"), "{told}");
    assert!(told.stdout.contains("/etc/subuid"), "{told}");
}

/// A base's layer has devices. Its layers stay as they are in the image; the steps of a user neither have the devices nor
/// reach what they stand for.
#[test]
#[ignore = "needs root to become another user"]
fn privileged_devices_of_base_images_are_kept_and_not_made_without_root() {
    let dockerfile = "\
FROM busybox AS tools
FROM devices
COPY --from=tools / /
RUN for f in zero disk; do if test -e /$f || head -c 1 /$f; then echo MADE; fi; done; echo all were tried; echo 1 > /last
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let out = tempfile::tempdir().unwrap();
    let base = project.path().join("base");
    let layer = LayerTar::new()
        .device("disk", (254, 0))
        .device("zero", (1, 5));
    ImageWriter::new().layer(layer).write(&base, "latest");
    let context = format!("--build-context=devices=oci-layout://{}", base.display());

    let account = Account::new();
    let built = account.build_with(&project, "image", &[&context]).success();
    assert!(built.stdout.contains("all were tried"), "{built}");
    assert!(!built.stdout.contains("MADE\\n"), "{built}");
    let root = Stagewright::with_busybox();
    let theirs = out.path().join("image");
    let _ = root.build_into(&project, &theirs, &[&context]).success();
    let ours = Image::read(&account.path("image"));
    for name in ["disk", "zero"] {
        assert!(ours.rootfs.entries.contains_key(name), "{name}");
    }
    let different = differences(&ours, &Image::read(&theirs));
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// Two stages that may run in any order, files of several owners, and files that steps make.
const ORDERS: &str = "\
FROM busybox AS one
COPY src /src
RUN echo one > /src/made && chown 33:34 /src/made && chmod 4755 /src/made && date > /dev/null
FROM busybox AS two
RUN mkdir /two && echo two > /two/file && ln /two/file /two/linked && chown 7:8 /two
FROM busybox
COPY --from=one --chown=9:9 /src /src
COPY --from=two /two /two
RUN rm /src/a && touch /last
";

#[test]
#[ignore = "needs root to become another user"]
fn privileged_neither_the_user_nor_the_order_nor_the_store_makes_another_image() {
    let clone = || {
        Project::new()
            .file("Dockerfile", ORDERS)
            .file("src/a", "a")
            .file("src/b", "b")
    };
    let (first, second) = (clone(), clone());
    second.touch("src/a");
    let digest = |layout: &std::path::Path| {
        let index = fs_err::read(layout.join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        index["manifests"][0]["digest"].as_str().unwrap().to_owned()
    };
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1600000000"];
    let root = Stagewright::with_busybox();
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let _ = root.build_into(&first, &layout, &epoch).success();
    let account = Account::new();
    // The second stage first, one step at a time, in a store that knows of an older build.
    let natural = account.build_with(&second, "natural", &["--jobs", "1"]);
    let _ = natural.success();
    let last_first = ["--jobs", "1", "--target", "two"];
    for (name, more) in [("two", &last_first[..]), ("image", &last_first[..2])] {
        let _ = account
            .build_with(&second, name, &[&epoch[..], more].concat())
            .success();
    }
    assert_eq!(digest(&account.path("image")), digest(&layout));
    assert_ne!(digest(&account.path("natural")), digest(&layout));
}
