//! Files of the host that steps see: `--volume` and `--device`.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use stagewright_testkit::{Build, Image, Project, Stagewright, output};

use crate::account::Account;
use crate::cache_transfer::NOTHING;
use crate::fallbacks::without_namespaces;
use crate::rootless::NOBODY_KNOWN;

/// A folder of the host with a file and a folder in it.
fn host_folder(path: &Path) {
    fs_err::create_dir_all(path.join("sub")).unwrap();
    fs_err::write(path.join("file"), "host\n").unwrap();
}

fn read(path: &Path) -> String {
    fs_err::read_to_string(path).unwrap()
}

/// What a step does to a volume at /v: it fails where it may not write.
const WRITES: &str = "\
FROM busybox
RUN test -d /v/sub && test $(cat /v/file) = host && echo step >> /v/file && echo new > /v/sub/new && cat /v/sub/new > /seen
";

#[test]
#[ignore = "needs root"]
fn privileged_steps_see_files_of_the_host_and_write_where_they_may() {
    let host = tempfile::tempdir().unwrap();
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file("Dockerfile", WRITES);
    let out = tempfile::tempdir().unwrap();
    let shown = |folder: &Path, options: &str| {
        host_folder(folder);
        format!("--volume={}:/v{options}", folder.display())
    };
    let build = |name: &str, volume: &str| {
        let build = stagewright.build_into(&project, &out.path().join(name), &[volume]);
        build.success()
    };
    let file = |name: &str| read(&host.path().join(name).join("file"));

    let _ = build("rw", &shown(&host.path().join("rw"), ""));
    assert_eq!(file("rw"), "host\nstep\n");
    assert_eq!(read(&host.path().join("rw/sub/new")), "new\n");
    // Neither the files nor the place where they were seen are in the image.
    let files = Image::read(&out.path().join("rw")).rootfs;
    assert!(files.get("/seen").is_some() && files.get("/v").is_none());

    let _ = build("discarded", &shown(&host.path().join("discarded"), ":O"));
    assert_eq!(file("discarded"), "host\n");
    assert!(!host.path().join("discarded/sub/new").exists());

    let readonly = shown(&host.path().join("ro"), ":ro");
    let told = stagewright.build(&project, &[&readonly]).output.to_string();
    assert!(told.contains("Read-only file system"), "{told}");
    assert_eq!(file("ro"), "host\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_place_of_a_volume_counts_and_what_it_holds_does_not() {
    let host = tempfile::tempdir().unwrap();
    let file = host.path().join("file");
    fs_err::write(&file, "1").unwrap();
    let stagewright = Stagewright::with_busybox();
    let dockerfile = "FROM busybox\nRUN cat /a/* /b/* > /seen || true\nCOPY Dockerfile /\n";
    let project = Project::new().file("Dockerfile", dockerfile);
    let build = |volume: &str| {
        let build = stagewright.build(&project, &[volume]).success();
        build
            .executed()
            .into_iter()
            .filter(|step| step.starts_with("RUN"))
            .count()
    };
    let show = |source: &Path, target: &str| format!("-v={}:{target}", source.display());
    assert_eq!(build(&show(&file, "/a/file")), 1);
    fs_err::write(&file, "2").unwrap();
    assert_eq!(build(&show(&file, "/a/file")), 0);
    assert_eq!(build(&show(host.path(), "/a/file")), 0);
    assert_eq!(build(&show(&file, "/a/file:ro")), 1);
    assert_eq!(build(&show(&file, "/b/file")), 1);
    let without = stagewright.build(&project, &[]).success();
    assert_ne!(without.executed(), NOTHING);

    // What it holds counts for who asks for it, wherever it lies.
    let keyed = |source: &Path| show(source, "/a/dir:ro,key");
    assert_eq!(build(&keyed(host.path())), 1);
    assert_eq!(build(&keyed(host.path())), 0);
    fs_err::write(&file, "3").unwrap();
    assert_eq!(build(&keyed(host.path())), 1);
    let other = tempfile::tempdir().unwrap();
    fs_err::copy(&file, other.path().join("file")).unwrap();
    assert_eq!(build(&keyed(other.path())), 0);
    fs_err::write(other.path().join("more"), "").unwrap();
    assert_eq!(build(&keyed(other.path())), 1);
    // Of a file, itself alone, and not what it is called.
    assert_eq!(build(&keyed(&other.path().join("file"))), 1);
    fs_err::remove_file(other.path().join("more")).unwrap();
    assert_eq!(build(&keyed(&other.path().join("file"))), 0);
    let odd = other.path().join("f[i]*le");
    fs_err::copy(&file, &odd).unwrap();
    assert_eq!(build(&keyed(&odd)), 0);
    fs_err::write(&odd, "4").unwrap();
    assert_eq!(build(&keyed(&odd)), 1);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_mount_of_the_steps_own_lies_above_a_volume() {
    let host = tempfile::tempdir().unwrap();
    host_folder(host.path());
    let dockerfile = "\
FROM busybox
RUN --mount=type=tmpfs,target=/v/sub echo 1 > /v/sub/lost && echo 2 > /v/kept
RUN --mount=type=secret,id=s,target=/v/file test $(cat /v/file) = hush
";
    let project = Project::new()
        .file("Dockerfile", dockerfile)
        .file("s", "hush");
    let volume = format!("-v={}:/v", host.path().display());
    let secret = format!("--secret=id=s,src={}", project.path().join("s").display());
    let _ = Stagewright::with_busybox()
        .build(&project, &[&volume, &secret])
        .success();
    assert!(!host.path().join("sub/lost").exists());
    assert_eq!(read(&host.path().join("kept")), "2\n");
    assert_eq!(read(&host.path().join("file")), "host\n");
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_user_shows_what_is_theirs() {
    for user in [None, Some(NOBODY_KNOWN)] {
        let account = user.map_or_else(Account::new, |user| Account::of(user.to_owned()));
        let folder = account.private_folder("host");
        host_folder(&folder);
        let mut chown = Command::new("chown");
        chown
            .args(["-R", &format!("{0}:{0}", account.user())])
            .arg(&folder);
        let _ = output(&mut chown).success();
        let owner = fs_err::metadata(&folder).unwrap().uid();
        let project = Project::new().file("Dockerfile", WRITES);
        let volume = |options: &str| format!("--volume={}:/v{options}", folder.display());
        let told = account
            .build_with(&project, "ro", &[&volume(":ro")])
            .failure(1);
        assert!(told.to_string().contains("Read-only file system"), "{told}");
        let _ = account
            .build_with(&project, "O", &[&volume(":O")])
            .success();
        assert_eq!(read(&folder.join("file")), "host\n");
        let _ = account.build_with(&project, "rw", &[&volume("")]).success();
        assert_eq!(read(&folder.join("file")), "host\nstep\n");
        assert_eq!(
            fs_err::metadata(folder.join("sub/new")).unwrap().uid(),
            owner
        );
        let device = "FROM busybox\nRUN test $(head -c 4 /dev/other | wc -c) = 4\n";
        let project = Project::new().file("Dockerfile", device);
        let shown = ["--device=/dev/zero:/dev/other"];
        let _ = account.build_with(&project, "device", &shown).success();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_where_nothing_can_be_mounted_volumes_are_read() {
    let host = tempfile::tempdir().unwrap();
    host_folder(host.path());
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file("Dockerfile", WRITES);
    let run = |options: &str| {
        let volume = format!("--volume={}:/v{options}", host.path().display());
        let command = stagewright.build_command(&project, &[&volume, "--progress=plain"]);
        output(&mut without_namespaces(&command))
    };
    let told = run("").failure(1).to_string();
    assert!(told.contains("give it :ro or :O"), "{told}");
    let _ = run(":O").success();
    assert_eq!(read(&host.path().join("file")), "host\n");
    assert!(!host.path().join("sub/new").exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_steps_use_a_device_that_they_are_shown() {
    // One that no step has of itself, and every host does.
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN test -c /dev/other && test $(head -c 4 /dev/other | wc -c) = 4 && test ! -e /dev/kmsg\n",
    );
    let stagewright = Stagewright::with_busybox();
    let _ = stagewright
        .build(&project, &["--device=/dev/zero:/dev/other"])
        .success();
    let dockerfile = "FROM busybox\nRUN test -c /dev/kmsg\n";
    let project = Project::new().file("Dockerfile", dockerfile);
    let _ = stagewright
        .build(&project, &["--device", "/dev/kmsg"])
        .success();
    assert_ne!(
        stagewright.build(&project, &["--no-cache"]).output.code(),
        Some(0)
    );
}

/// A step may make nodes of any device; it must not find a place where it can open them, nor change what the host's are.
#[test]
#[ignore = "needs root"]
fn privileged_a_step_uses_devices_and_neither_changes_nor_makes_any() {
    let host = tempfile::tempdir().unwrap();
    let node = host.path().join("null");
    let mut mknod = Command::new("mknod");
    mknod.args(["-m", "600"]).arg(&node).args(["c", "1", "3"]);
    let _ = output(&mut mknod).success();
    let dockerfile = "\
FROM busybox
RUN echo 1 > /devices/null && echo 1 > /dev/one && ! mknod /devices/zero c 1 5 && ! chmod 666 /devices/null \\
    && ! chmod 666 /dev/one && ! rm /devices/null && mknod /made c 1 5 && ! head -c 1 /made
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let devices = [
        format!("--device={}:/devices", host.path().display()),
        format!("--device={}:/dev/one:rwm", node.display()),
    ];
    let _ = Stagewright::with_busybox()
        .build(&project, &[&devices[0], &devices[1]])
        .success();
    let names: Vec<_> = fs_err::read_dir(host.path()).unwrap().collect();
    assert_eq!(names.len(), 1);
    assert_eq!(fs_err::metadata(&node).unwrap().mode() & 0o777, 0o600);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_folder_with_the_store_in_it_is_not_copied_into_itself() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file("Dockerfile", "FROM busybox\nRUN true\n");
    let home = stagewright.store().parent().unwrap().display().to_string();
    let told = |options: &str| {
        let volume = format!("--volume={home}:/v:{options}");
        let command = stagewright.build_command(&project, &[&volume, "--progress=plain"]);
        output(&mut without_namespaces(&command))
            .failure(1)
            .to_string()
    };
    for options in ["ro", "O"] {
        let told = told(options);
        assert!(told.contains("it holds the store"), "{options}: {told}");
    }
    let volume = format!("--volume={home}:/v:O");
    let told = stagewright.build(&project, &[&volume]).output.to_string();
    assert!(told.contains("it holds the store"), "{told}");
}

#[test]
fn what_cannot_be_shown_is_told() {
    let project = Project::new().file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    for (argument, code, expected) in [
        ("--volume=/missing:/v", 1, "/v cannot be shown to steps: "),
        ("--volume=cache:/v", 2, "use RUN --mount=type=cache"),
        ("--volume=/tmp:/v:z", 2, "the option \"z\""),
        ("--device=/etc/passwd", 1, "/etc/passwd is no device"),
        (
            "--device=nvidia.com/gpu=all",
            2,
            "CDI, which is not supported",
        ),
        ("--device=/dev/null:/dev/x:r", 2, "the access \"r\""),
    ] {
        let Build { output } = Stagewright::new().build(&project, &[argument]);
        let told = output.failure(code).to_string();
        assert!(told.contains(expected), "{argument}: {told}");
    }
    let twice = ["-v=/tmp:/v", "-v=/var:/v/"];
    let Build { output } = Stagewright::new().build(&project, &twice);
    let told = output.failure(1).to_string();
    assert!(told.contains("two volumes are to be seen at /v:"), "{told}");
}
