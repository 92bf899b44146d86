//! Inside containers that were given no privileges.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use stagewright_testkit::{
    Build, Image, LayerTar, Output, Project, Stagewright, differences, output, program,
};

use crate::account::Account;
use crate::rootless::OWNERS;

/// Where the account's folder and the project are seen in a container.
pub(crate) const HERE: &str = "/here";
const PROJECT: &str = "/project";

/// Podman with a storage of its own, as a user or as root.
pub(crate) struct Podman<'a> {
    pub(crate) account: &'a Account,
    pub(crate) project: &'a Project,
    /// Where a user's podman keeps what runs; root's keeps it where it always does.
    pub(crate) runtime: Option<Runtime>,
    /// Options of `podman run`.
    pub(crate) options: Vec<String>,
    /// How podman keeps root file systems.
    pub(crate) storage: &'static str,
    /// The folder of the store, as the container sees it.
    pub(crate) store: String,
    /// Programs of this machine that the container has too, each of the package of its name.
    pub(crate) programs: &'static [&'static str],
}

/// The folder of what runs for a user, of one test. In a user's folder of all tests, podman would
/// find the number of the process that holds the namespaces of another, and trust it when that
/// process is gone and the number is another one's.
pub(crate) struct Runtime {
    folder: PathBuf,
}

impl Runtime {
    fn new(account: &Account) -> Self {
        Self {
            folder: account.private_folder("runtime"),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // It holds the namespaces until it is told to end.
        if let Ok(pid) = fs_err::read_to_string(self.folder.join("libpod/tmp/pause.pid")) {
            let _ = output(Command::new("kill").arg(pid.trim()));
        }
    }
}

impl<'a> Podman<'a> {
    pub(crate) fn new(account: &'a Account, project: &'a Project, as_root: bool) -> Self {
        Self {
            account,
            project,
            runtime: (!as_root).then(|| Runtime::new(account)),
            options: Vec::new(),
            storage: "vfs",
            store: format!("{HERE}/store"),
            programs: &[],
        }
    }
}

impl Podman<'_> {
    /// Makes the image that the command is run in: BusyBox, and the libraries that the command is
    /// linked to, and the other programs with theirs.
    pub(crate) fn import(&self) {
        let mut layer = LayerTar::new().file(
            "bin/busybox",
            0o755,
            fs_err::read(program("busybox", "busybox-static")).unwrap(),
        );
        for folder in ["dev", "etc", "proc", "root", "sys"] {
            layer = layer.folder(folder, 0o755);
        }
        layer = layer.folder("tmp", 0o1777);
        for applet in ["sh", "id", "cat", "grep", "mkdir"] {
            layer = layer.hard_link(&format!("bin/{applet}"), "bin/busybox");
        }
        let command = self.account.path("stagewright");
        // The command itself would be copied for each container: it lies in the account's folder.
        let place = format!("{HERE}/stagewright");
        layer = layer.symlink("usr/bin/stagewright", &place);
        let mut files: BTreeSet<String> = libraries(&command).into_iter().collect();
        for name in self.programs {
            let found = program(name, name);
            files.extend(libraries(&found));
            let place = format!("usr/bin/{name}");
            layer = layer.file(&place, 0o755, fs_err::read(found).unwrap());
        }
        for library in files {
            let name = library.trim_start_matches('/');
            layer = layer.file(name, 0o755, fs_err::read(&library).unwrap());
        }
        let tar = self.account.path("container.tar");
        fs_err::write(&tar, layer.finish()).unwrap();
        let mut import = self.podman("import");
        import.arg(&tar).arg("nested:1");
        let _ = output(&mut import).success();
    }

    fn podman(&self, verb: &str) -> Command {
        let podman = program("podman", "podman");
        let mut command = match &self.runtime {
            None => Command::new(podman),
            Some(runtime) => {
                let mut command = self.account.run_as("env", self.project);
                command
                    .arg(format!("XDG_RUNTIME_DIR={}", runtime.folder.display()))
                    .arg(podman);
                command
            }
        };
        let folder = self.account.path("podman");
        command
            .current_dir("/")
            .arg("--root")
            .arg(folder.join("root"))
            .arg("--runroot")
            .arg(folder.join("run"))
            .arg(format!("--storage-driver={}", self.storage))
            .arg("--cgroup-manager=cgroupfs")
            .arg("--runtime")
            .arg(program("runc", "runc"))
            .arg(verb);
        command
    }

    /// Runs the command in a container without privileges.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_program(&[&["stagewright"], arguments].concat())
    }

    /// Runs a program in a container without privileges.
    pub(crate) fn run_program(&self, words: &[&str]) -> Output {
        let mut run = self.podman("run");
        run.args(["--rm", "--network=host", "--ulimit=host"])
            .args(&self.options)
            .args([
                "--volume",
                &format!("{}:{HERE}", self.account.folder().display()),
            ])
            .args([
                "--volume",
                &format!("{}:{PROJECT}:ro", self.project.path().display()),
            ])
            .arg("nested:1")
            .args(words);
        output(&mut run)
    }

    pub(crate) fn build(&self, name: &str) -> Output {
        self.build_with(name, &[])
    }

    pub(crate) fn build_with(&self, name: &str, more: &[&str]) -> Output {
        let out = format!("type=oci,tar=false,dest={HERE}/{name}");
        let busybox = format!("--build-context=busybox=oci-layout://{HERE}/busybox");
        let store = format!("--store={}", self.store);
        let arguments = [
            "build",
            "--progress=rawjson",
            &store,
            &busybox,
            "-o",
            &out,
            PROJECT,
        ];
        self.run(&[&arguments, more].concat())
    }
}

/// Returns the shared libraries of a program, its loader included.
fn libraries(command: &Path) -> Vec<String> {
    let told = output(Command::new("ldd").arg(command)).success();
    let words = told.stdout.split_whitespace();
    words
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

fn makes_the_image_of_root(as_root: bool) {
    let account = Account::new();
    let project = Project::new().file("Dockerfile", OWNERS);
    let out = tempfile::tempdir().unwrap();
    let theirs = out.path().join("image");
    let root = Stagewright::with_busybox();
    let _ = root.build_into(&project, &theirs, &[]).success();

    let podman = Podman::new(&account, &project, as_root);
    podman.import();
    let told = podman
        .run(&["doctor", &format!("--store={HERE}/store")])
        .success();
    assert!(told.stdout.contains("mode: nested"), "{told}");
    let _ = podman.build("image").success();
    let different = differences(&Image::read(&account.path("image")), &Image::read(&theirs));
    assert!(different.is_empty(), "{}", different.join("\n"));
    let again = Build {
        output: podman.build("again").success(),
    };
    assert_eq!(again.executed(), [""; 0]);
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_users_container_makes_the_same_image_as_root() {
    makes_the_image_of_root(false);
}

#[test]
#[ignore = "needs root"]
fn privileged_roots_container_makes_the_same_image_as_root() {
    makes_the_image_of_root(true);
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_step_in_a_container_changes_nothing_of_the_container() {
    let account = Account::new();
    let dockerfile = "\
FROM busybox
RUN ! (echo 500 > /proc/1/oom_score_adj) && ! (echo 1 > /proc/sys/kernel/panic) && ! ls /proc/1/root/ && ! cat /proc/1/environ
RUN test \"$(cat /proc/self/comm)\" = cat && test -e /proc/self/fd/1 && echo x > /dev/null && ! mount -t tmpfs x /tmp
RUN --network=none cat /proc/net/dev > /dev/null && test \"$(ls /proc/net/ | grep -c dev)\" != 0
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let podman = Podman::new(&account, &project, false);
    podman.import();
    let _ = podman.build("image").success();
}
