//! A BusyBox root file system to run steps in.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use fs_err as fs;
use stagewright_exec::{CancelHandle, ExecError, Exit, Mode, ProbeOptions, RootFs, Sandbox, Step};

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) sandbox: Sandbox,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lower = directory.path().join("lower");
        for folder in ["bin", "etc", "tmp", "proc"] {
            fs::create_dir_all(lower.join(folder)).unwrap();
        }
        fs::copy("/bin/busybox", lower.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "id", "ls", "sleep", "mount", "unshare", "hostname", "stat", "touch",
            "echo", "mknod", "head", "chmod", "setsid",
        ] {
            symlink("busybox", lower.join("bin").join(applet)).unwrap();
        }
        fs::set_permissions(&lower, std::fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(directory.path().join("draft/upper")).unwrap();
        fs::create_dir_all(directory.path().join("draft/work")).unwrap();
        Self {
            directory,
            sandbox: Sandbox::probe(ProbeOptions::default()).unwrap(),
        }
    }

    /// Makes one on a host that has been looked at, and makes no namespaces.
    pub(crate) fn without_namespaces() -> Self {
        let world = Self::new();
        let trial = Some(world.directory.path().join("trial"));
        let options = ProbeOptions {
            trial,
            ..ProbeOptions::default()
        };
        for folder in ["lower", "upper", "work"] {
            fs::create_dir_all(world.directory.path().join("trial").join(folder)).unwrap();
        }
        let sandbox = Sandbox::probe(options).unwrap();
        assert_eq!(sandbox.mode(), Mode::Chroot, "{:?}", sandbox.report());
        Self { sandbox, ..world }
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.directory.path().join("draft/upper")
    }

    pub(crate) fn step(&self, script: &str) -> Step {
        let root = RootFs::Overlay {
            lowers: vec![self.directory.path().join("lower")],
            upper: self.upper(),
            work: self.directory.path().join("draft/work"),
        };
        let argv = ["/bin/sh", "-c", script].map(OsString::from).to_vec();
        Step {
            env: vec![("PATH".into(), "/bin".into())],
            ..Step::new(root, argv)
        }
    }

    pub(crate) fn run(&self, step: &Step) -> (Result<Exit, ExecError>, String) {
        // Each step has an upper and a work directory of its own.
        let draft = self.directory.path().join("draft");
        fs::remove_dir_all(&draft).unwrap();
        fs::create_dir_all(draft.join("upper")).unwrap();
        fs::create_dir_all(draft.join("work")).unwrap();
        let mut text = Vec::new();
        let cancel = CancelHandle::new().unwrap();
        let result = self
            .sandbox
            .run(step, &mut |_, bytes| text.extend_from_slice(bytes), &cancel);
        (result, String::from_utf8_lossy(&text).into_owned())
    }

    #[track_caller]
    pub(crate) fn output(&self, script: &str) -> String {
        let (result, text) = self.run(&self.step(script));
        assert_eq!(result.unwrap(), Exit::Code(0), "{text}");
        text
    }
}
