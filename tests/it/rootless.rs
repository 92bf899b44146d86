//! Without root: what only copies is built the same, what runs a step says that it needs root.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use stagewright_testkit::{Image, Output, Project, Stagewright, busybox, differences, output};

/// A folder that the unprivileged user owns, with a copy of the command in it: the tree that the
/// command was built in may be out of that user's reach.
struct Account {
    user: String,
    folder: tempfile::TempDir,
}

impl Account {
    fn new() -> Self {
        let user = match std::env::var("STAGEWRIGHT_TEST_USER") {
            Ok(user) => user,
            Err(_) => panic!("there is no unprivileged user to run as: run `cargo xtask test`"),
        };
        let folder = tempfile::Builder::new()
            .prefix("stagewright-user-")
            .tempdir()
            .unwrap();
        let program = Stagewright::new().command("build").get_program().to_owned();
        fs_err::copy(Path::new(&program), folder.path().join("stagewright")).unwrap();
        let account = Self { user, folder };
        busybox(&account.path("busybox"));
        account
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn build(&self, project: &Project, name: &str) -> Output {
        let owned = output(
            Command::new("chown")
                .args(["-R", &self.user])
                .arg(self.folder.path())
                .arg(project.path()),
        );
        let _ = owned.success();
        let readable = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(self.folder.path(), readable).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid",
                &self.user,
                "--regid",
                &self.user,
                "--init-groups",
                "--reset-env",
            ])
            .arg(self.path("stagewright"))
            .args(["build", "--progress=rawjson", "--store"])
            .arg(self.path("store"))
            .arg(format!(
                "--build-context=busybox=oci-layout://{}",
                self.path("busybox").display()
            ))
            .arg("-o")
            .arg(format!("type=oci,dest={}", self.path(name).display()))
            .arg(project.path());
        output(&mut command)
    }
}

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

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_step_without_root_says_that_it_needs_it() {
    let project = Project::new().file("Dockerfile", "FROM busybox\nRUN true\n");
    let account = Account::new();
    let failed = account.build(&project, "image");
    assert_eq!(failed.code(), Some(1), "{failed}");
    assert!(failed.stderr.contains("Dockerfile:2"), "{failed}");
    assert!(failed.stderr.contains("root"), "{failed}");
}
