//! The same image without root: built by a user with subordinate ids.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use stagewright_testkit::{Image, Output, Project, Stagewright, busybox, differences, output};

const DOCKERFILE: &str = "\
FROM busybox AS build
WORKDIR /build
COPY a.txt ./
RUN cat a.txt > made && chown www:staff made && mkdir -m 700 private
FROM busybox
RUN rm -r /home && echo hello > /hello && chown -R 33:50 /var/www
COPY --from=build --chown=www:www /build /app
USER www
RUN id -un > /tmp/user
CMD [\"cat\", \"/hello\"]
";

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
        Self { user, folder }
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
fn privileged_an_image_built_without_root_is_the_same() {
    let project = Project::new()
        .file("Dockerfile", DOCKERFILE)
        .file("a.txt", "a\n");
    let root = Stagewright::with_busybox();
    let out = tempfile::tempdir().unwrap();
    let theirs = out.path().join("image");
    let _ = root.build_into(&project, &theirs, &[]).success();

    let account = Account::new();
    busybox(&account.path("busybox"));
    let _ = account.build(&project, "image").success();
    let different = differences(&Image::read(&account.path("image")), &Image::read(&theirs));
    assert!(different.is_empty(), "{}", different.join("\n"));

    let again = stagewright_testkit::Build {
        output: account.build(&project, "again").success(),
    };
    assert_eq!(again.executed(), [""; 0]);
}
