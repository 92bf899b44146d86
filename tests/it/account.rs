//! The unprivileged user that tests run as.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use stagewright_testkit::{Output, Project, Stagewright, busybox, output};

/// A folder that the unprivileged user owns, with a copy of the command in it: the tree that the
/// command was built in may be out of that user's reach.
pub(crate) struct Account {
    user: String,
    folder: tempfile::TempDir,
}

impl Account {
    pub(crate) fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    pub(crate) fn new_in(place: &Path) -> Self {
        match std::env::var("STAGEWRIGHT_TEST_USER") {
            Ok(user) => Self::of_in(user, place),
            Err(_) => panic!("there is no unprivileged user to run as: run `cargo xtask test`"),
        }
    }

    pub(crate) fn of(user: String) -> Self {
        Self::of_in(user, &std::env::temp_dir())
    }

    /// One whose folder, with the store, is made in another.
    pub(crate) fn of_in(user: String, place: &Path) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("stagewright-user-")
            .tempdir_in(place)
            .unwrap();
        let program = Stagewright::new().command("build").get_program().to_owned();
        fs_err::copy(Path::new(&program), folder.path().join("stagewright")).unwrap();
        let account = Self { user, folder };
        busybox(&account.path("busybox"));
        account
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Builds a project into a layout.
    pub(crate) fn build(&self, project: &Project, name: &str) -> Output {
        self.build_with(project, name, &[])
    }

    pub(crate) fn build_with(&self, project: &Project, name: &str, arguments: &[&str]) -> Output {
        let mut command = self.command("build", project);
        command
            .arg("--progress=rawjson")
            .arg(format!(
                "--build-context=busybox=oci-layout://{}",
                self.path("busybox").display()
            ))
            .arg("-o")
            .arg(format!("type=oci,dest={}", self.path(name).display()))
            .args(arguments)
            .arg(project.path());
        output(&mut command)
    }

    /// Runs a verb of the cache.
    pub(crate) fn cache(&self, arguments: &[&str]) -> Output {
        let mut command = self.command("cache", &Project::new());
        command.args(arguments);
        output(&mut command)
    }

    pub(crate) fn command(&self, verb: &str, project: &Project) -> Command {
        let mut command = self.run_as("env", project);
        command
            .arg(format!(
                "STAGEWRIGHT_STORE={}",
                self.path("store").display()
            ))
            .arg(self.path("stagewright"))
            .arg(verb);
        command
    }

    /// Makes a folder that only the user can look into.
    pub(crate) fn private_folder(&self, name: &str) -> std::path::PathBuf {
        let folder = self.path(name);
        fs_err::create_dir(&folder).unwrap();
        let private = std::fs::Permissions::from_mode(0o700);
        fs_err::set_permissions(&folder, private).unwrap();
        self.give(&[], &folder);
        folder
    }

    fn give(&self, options: &[&str], path: &Path) {
        let mut chown = Command::new("chown");
        chown.args(options).arg(format!("{0}:{0}", self.user));
        let _ = output(chown.arg(path)).success();
    }

    /// Returns a program that runs as the user, to whom a project is given.
    pub(crate) fn run_as(&self, program: &str, project: &Project) -> Command {
        self.give(&["-R"], &self.path("busybox"));
        self.give(&["-R"], project.path());
        self.give(&[], self.folder.path());
        let readable = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(self.folder.path(), readable).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &self.user, "--regid", &self.user])
            .args(["--clear-groups", "--reset-env", "env"])
            .arg(format!("HOME={}", self.folder.path().display()));
        // What is taken from the sandbox to see that a test notices.
        if let Ok(guards) = std::env::var("STAGEWRIGHT_WEAKEN") {
            command.arg(format!("STAGEWRIGHT_WEAKEN={guards}"));
        }
        command.arg(program);
        command
    }
}
