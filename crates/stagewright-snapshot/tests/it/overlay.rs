//! Steps on a real overlay.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags};
use stagewright_digest::LayerId;
use stagewright_layer::{Entry, EntryKind, EntryPath, LayerIndex, LayerWriter, Metadata};
use stagewright_snapshot::{Forms, Prepared};

use crate::place::{Place, listing, own, path, scanned};

/// An overlay that is mounted until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(prepared: &Prepared, at: PathBuf) -> Self {
        fs::create_dir_all(&at).unwrap();
        let empty = prepared.directory().join("empty");
        let mut lowers: Vec<String> = prepared
            .lowers()
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        if lowers.is_empty() {
            fs::create_dir_all(&empty).unwrap();
            lowers.push(empty.display().to_string());
        }
        // One option a lower: all in one string are limited to a page.
        let overlay = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        let set = |key: &str, value: &str| {
            rustix::mount::fsconfig_set_string(overlay.as_fd(), key, value).unwrap();
        };
        for lower in &lowers {
            set("lowerdir+", lower);
        }
        set("upperdir", prepared.upper().to_str().unwrap());
        set("workdir", prepared.work().to_str().unwrap());
        for option in ["redirect_dir", "metacopy", "index"] {
            set(option, "off");
        }
        rustix::mount::fsconfig_create(overlay.as_fd()).unwrap();
        let none = MountAttrFlags::empty();
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        let mount = rustix::mount::fsmount(overlay.as_fd(), flags, none).unwrap();
        let from = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(mount.as_fd(), "", rustix::fs::CWD, &at, from).unwrap();
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::empty()).unwrap();
    }
}

fn place() -> Place {
    Place::new()
}

/// Runs a step on layers.
fn step(place: &Place, layers: &[LayerId], run: impl FnOnce(&Path)) -> Option<LayerId> {
    let prepared = place.snapshots.prepare(layers).unwrap();
    let mounted = Mounted::new(&prepared, prepared.directory().join("root"));
    run(&mounted.0);
    drop(mounted);
    place.snapshots.commit(prepared, true).unwrap()
}

/// Checks that the kernel sees in layers what the merged view says.
fn check_view(place: &Place, layers: &[LayerId]) -> Vec<String> {
    let tree = place.snapshots.tree(layers).unwrap();
    let prepared = place.snapshots.prepare(layers).unwrap();
    let mounted = Mounted::new(&prepared, prepared.directory().join("root"));
    let lines = |entries: Vec<Entry>| -> Vec<String> {
        let entries = entries.into_iter().map(|entry| {
            let kind = match entry.kind {
                EntryKind::File { bytes, content } => format!("file {bytes} {content}"),
                other => format!("{other:?}"),
            };
            let Metadata {
                mode,
                uid,
                gid,
                xattrs,
                ..
            } = entry.metadata;
            format!("{} {kind} {mode:o} {uid}:{gid} {xattrs:?}", entry.path)
        });
        entries.collect()
    };
    let seen = stagewright_snapshot::TreeAgent::scan(
        &crate::place::agent(),
        &mounted.0,
        stagewright_snapshot::Marks::Overlayfs,
    )
    .unwrap();
    let resolved = |index: &LayerIndex| -> Vec<Entry> {
        let records = index.records().iter();
        let entry = |record| {
            let source = index.source(record).entry.clone();
            Entry {
                path: stagewright_layer::Record::clone(record).entry.path,
                ..source
            }
        };
        records.map(entry).collect()
    };
    let expected = tree
        .walk(&EntryPath::root())
        .map(|entry| entry.entry)
        .collect();
    assert_eq!(lines(resolved(&seen)), lines(expected));
    drop(mounted);
    assert_eq!(
        place.snapshots.commit(prepared, true).unwrap(),
        None,
        "looking changes nothing"
    );
    listing(&tree)
}

#[test]
#[ignore = "needs root"]
fn privileged_steps_make_layers_of_what_they_change() {
    let place = place();
    let base = place.layer(
        &[],
        Forms::PACKED,
        &[
            "etc/",
            "etc/passwd root",
            "etc/gone x",
            "dir/",
            "dir/old x",
            "tmp/",
            "keep same",
        ],
    );
    let made = step(&place, &[base], |root| {
        fs::write(root.join("etc/new"), "new").unwrap();
        fs::remove_file(root.join("etc/gone")).unwrap();
        fs::remove_dir_all(root.join("dir")).unwrap();
        fs::create_dir(root.join("dir")).unwrap();
        fs::write(root.join("dir/fresh"), "f").unwrap();
        fs::write(root.join("tmp/work"), "w").unwrap();
        fs::remove_file(root.join("tmp/work")).unwrap();
        fs::hard_link(root.join("etc/new"), root.join("a-link")).unwrap();
        symlink("etc/new", root.join("s")).unwrap();
    })
    .unwrap();
    let index = place.snapshots.index(&made).unwrap();
    let paths: Vec<_> = index
        .entries()
        .map(|entry| entry.path.to_string())
        .collect();
    let expected = [
        "/a-link",
        "/dir",
        "/dir/fresh",
        "/etc",
        "/etc/gone",
        "/etc/new",
        "/s",
    ];
    assert_eq!(paths, expected);
    let kind = |at: &str| index.get(&path(at)).unwrap().kind.clone();
    assert_eq!(kind("dir"), EntryKind::Directory { opaque: true });
    assert_eq!(kind("etc"), EntryKind::Directory { opaque: false });
    assert_eq!(kind("etc/gone"), EntryKind::Whiteout);
    assert_eq!(
        kind("etc/new"),
        EntryKind::Hardlink {
            target: path("a-link")
        }
    );
    let expected = [
        "a-link new",
        "dir/",
        "dir/fresh f",
        "etc/",
        "etc/new new",
        "etc/passwd root",
        "keep same",
        "s -> etc/new",
        "tmp/",
    ];
    assert_eq!(check_view(&place, &[base, made]), expected);
    // The same through the packed form: unpacked again elsewhere, the kernel sees the same.
    let packed = place.snapshots.packed(&made).unwrap();
    let other = self::place();
    let lower = other.layer(
        &[],
        Forms::PACKED,
        &[
            "etc/",
            "etc/passwd root",
            "etc/gone x",
            "dir/",
            "dir/old x",
            "tmp/",
            "keep same",
        ],
    );
    let blob = || Ok(Box::new(std::io::BufReader::new(fs::File::open(&packed.path)?)) as _);
    other
        .snapshots
        .import(&packed.diff_id, Forms::UNPACKED, blob)
        .unwrap();
    assert_eq!(
        check_view(&other, &[lower, LayerId::Pulled(packed.diff_id)]),
        expected
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_step_that_changes_nothing_makes_no_layer() {
    let place = place();
    let base = place.layer(&[], Forms::BOTH, &["tmp/", "etc/", "etc/passwd root"]);
    let none = step(&place, &[base], |root| {
        fs::write(root.join("tmp/x"), "x").unwrap();
        fs::remove_file(root.join("tmp/x")).unwrap();
        fs::read(root.join("etc/passwd")).unwrap();
        fs::File::options()
            .append(true)
            .open(root.join("etc/passwd"))
            .unwrap();
        fs::create_dir(root.join("new")).unwrap();
        fs::remove_dir(root.join("new")).unwrap();
    });
    assert_eq!(none, None);
    let mode = step(&place, &[base], |root| {
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    });
    assert!(mode.is_some());
    let scratch = step(&place, &[], |root| fs::write(root.join("f"), "x").unwrap()).unwrap();
    assert_eq!(check_view(&place, &[scratch]), ["f x"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_the_same_changes_have_the_same_name() {
    let place = place();
    let base = place.layer(&[], Forms::BOTH, &["d/", "d/a 1", "e/"]);
    let run = |root: &Path| {
        fs::write(root.join("d/b"), "2").unwrap();
        fs::create_dir(root.join("e/new")).unwrap();
    };
    let first = step(&place, &[base], run).unwrap();
    let second = step(&place, &[base], |root| {
        run(root);
        // What is made and removed again leaves no trace, nor does what hides nothing.
        fs::create_dir(root.join("e/gone")).unwrap();
        fs::remove_dir(root.join("e/gone")).unwrap();
        fs::remove_dir(root.join("e/new")).unwrap();
        fs::create_dir(root.join("e/new")).unwrap();
    });
    assert_eq!(second, Some(first));
}

#[test]
#[ignore = "needs root"]
fn privileged_owners_devices_and_capabilities_survive_every_form() {
    let place = place();
    let made = step(&place, &[], |root| {
        let tool = root.join("tool");
        fs::write(&tool, "elf").unwrap();
        std::os::unix::fs::chown(&tool, Some(33), Some(70_000)).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o6755)).unwrap();
        let capability: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&tool, "security.capability", &capability, flags).unwrap();
        let device = rustix::fs::makedev(1, 3);
        let kind = rustix::fs::FileType::CharacterDevice;
        let directory = fs::File::open(root).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(&directory, "null", kind, mode, device).unwrap();
        fs::create_dir(root.join("dir")).unwrap();
        std::os::unix::fs::chown(root.join("dir"), Some(1000), Some(1000)).unwrap();
        fs::set_permissions(root.join("dir"), fs::Permissions::from_mode(0o2711)).unwrap();
    })
    .unwrap();
    let first = scanned(&place.snapshots.unpacked(&made).unwrap());
    assert!(
        first
            .iter()
            .any(|line| line.contains("33:70000") && line.contains("6755"))
    );
    let packed = place.snapshots.packed(&made).unwrap();
    let other = self::place();
    let blob = || Ok(Box::new(std::io::BufReader::new(fs::File::open(&packed.path)?)) as _);
    other
        .snapshots
        .import(&packed.diff_id, Forms::BOTH, blob)
        .unwrap();
    let id = LayerId::Pulled(packed.diff_id);
    let second = scanned(&other.snapshots.unpacked(&id).unwrap());
    assert_eq!(
        first[1..],
        second[1..],
        "all but the root directory, which no layer mentions"
    );
    let index = other.snapshots.index(&id).unwrap();
    assert_eq!(LayerId::Made(index.content_digest()), made);
    assert!(
        index
            .get(&path("tool"))
            .unwrap()
            .metadata
            .xattrs
            .contains_key(&b"security.capability"[..])
    );
    let kind = &index.get(&path("null")).unwrap().kind;
    assert_eq!(*kind, EntryKind::CharDevice { major: 1, minor: 3 });
}

/// A layer may hold `var/lib/x` without saying what `var` is: the layer below does.
#[test]
#[ignore = "needs root"]
fn privileged_directories_keep_the_attributes_of_the_layer_that_says_them() {
    let place = place();
    let mut builder = place
        .snapshots
        .builder(place.snapshots.tree(&[]).unwrap(), Forms::PACKED);
    builder.directory(
        path("var"),
        Metadata {
            uid: 5,
            gid: 6,
            ..own(0o2770)
        },
    );
    let base = builder.finish().unwrap().unwrap();
    let mut writer = LayerWriter::new(Vec::new());
    writer
        .append_file(&path("var/lib/x"), &own(0o644), 1, &mut &b"x"[..])
        .unwrap();
    let written = writer.finish().unwrap();
    let blob = || Ok(Box::new(std::io::Cursor::new(written.writer.clone())) as _);
    place
        .snapshots
        .import(&written.diff_id, Forms::UNPACKED, blob)
        .unwrap();
    let layers = [base, LayerId::Pulled(written.diff_id)];
    check_view(&place, &layers);
    let made = step(&place, &layers, |root| {
        let metadata = fs::metadata(root.join("var")).unwrap();
        assert_eq!(
            (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()),
            (0o2770, 5, 6)
        );
        fs::write(root.join("var/y"), "y").unwrap();
    });
    let index = place.snapshots.index(&made.unwrap()).unwrap();
    let paths: Vec<_> = index
        .entries()
        .map(|entry| entry.path.to_string())
        .collect();
    assert_eq!(paths, ["/var", "/var/y"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_long_chains_are_flattened() {
    let place = place();
    let mut layers: Vec<LayerId> = Vec::new();
    for number in 0..130 {
        let line = format!("dir/file-{} {number}", number % 120);
        layers.push(place.layer(&layers, Forms::PACKED, &["dir/", &line]));
    }
    let prepared = place.snapshots.prepare(&layers).unwrap();
    assert_eq!(prepared.lowers().len(), 80);
    drop(prepared);
    let seen = check_view(&place, &layers);
    assert_eq!(seen.len(), 121);
    assert!(seen.contains(&"dir/file-3 123".to_owned()), "{seen:?}");
    let top = step(&place, &layers, |root| {
        fs::remove_file(root.join("dir/file-0")).unwrap()
    });
    layers.push(top.unwrap());
    assert_eq!(check_view(&place, &layers).len(), 120);
}

#[test]
#[ignore = "needs root"]
fn privileged_thirty_steps_on_each_other() {
    let place = place();
    let mut layers: Vec<LayerId> = Vec::new();
    for number in 0..30 {
        let made = step(&place, &layers, |root| {
            fs::write(root.join(format!("file-{number}")), number.to_string()).unwrap();
            if number > 0 {
                fs::remove_file(root.join(format!("file-{}", number - 1))).unwrap();
            }
        });
        layers.push(made.unwrap());
    }
    assert_eq!(check_view(&place, &layers), ["file-29 29"]);
}

/// Two steps may make the same files: their layers have one name and one directory.
#[test]
#[ignore = "needs root"]
fn privileged_a_layer_can_come_twice() {
    let place = place();
    let base = place.layer(&[], Forms::PACKED, &["dir/", "dir/old x", "file base"]);
    let first = |root: &Path| {
        fs::remove_dir_all(root.join("dir")).unwrap();
        fs::create_dir(root.join("dir")).unwrap();
        fs::write(root.join("dir/new"), "n").unwrap();
        fs::remove_file(root.join("file")).unwrap();
    };
    let x = step(&place, &[base], first).unwrap();
    let y = step(&place, &[base, x], |root| {
        fs::write(root.join("file"), "base").unwrap();
        fs::write(root.join("dir/more"), "m").unwrap();
    })
    .unwrap();
    let again = step(&place, &[base, x, y], first).unwrap();
    assert_eq!(again, x);
    assert_eq!(check_view(&place, &[base, x, y, x]), ["dir/", "dir/new n"]);
}

#[test]
fn what_is_dropped_leaves_nothing_behind() {
    let place = place();
    let base = place.layer(&[], Forms::PACKED, &["a x"]);
    let prepared = place.snapshots.prepare(&[base]).unwrap();
    let directory = prepared.directory().to_owned();
    assert!(prepared.upper().is_dir() && prepared.work().is_dir());
    drop(prepared);
    assert!(!directory.exists());
}
