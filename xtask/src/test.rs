//! `cargo xtask test`: installs what the tests need, and runs them all.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::{self, Tool};
use crate::ignored;
use crate::state::State;

/// What the tests need beyond what the stand-in bases do.
const TOOLS: &[Tool] = &[
    Tool {
        program: "buildah",
        package: "buildah",
    },
    Tool {
        program: "docker-registry",
        package: "docker-registry",
    },
    Tool {
        program: "dockerd",
        package: "docker.io",
    },
    Tool {
        program: "fuse-overlayfs",
        package: "fuse-overlayfs",
    },
    Tool {
        program: "git",
        package: "git",
    },
    Tool {
        program: "newuidmap",
        package: "uidmap",
    },
    Tool {
        program: "openssl",
        package: "openssl",
    },
    Tool {
        program: "pasta",
        package: "passt",
    },
    Tool {
        program: "podman",
        package: "podman",
    },
    Tool {
        program: "qemu-aarch64-static",
        package: "qemu-user-static",
    },
    Tool {
        program: "runc",
        package: "runc",
    },
    Tool {
        program: "skopeo",
        package: "skopeo",
    },
    Tool {
        program: "slirp4netns",
        package: "slirp4netns",
    },
    Tool {
        program: "ssh",
        package: "openssh-client",
    },
    Tool {
        program: "sshd",
        package: "openssh-server",
    },
];

/// The user that rootless tests run as.
const USER: &str = "stagewright-test";

/// Options of `test`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct TestArguments {
    /// Run only the tests whose names contain one of these
    filters: Vec<String>,
}

/// Runs every test: those that need root or the network too, when this is root.
pub(crate) fn run(arguments: &TestArguments) -> Result<()> {
    let state = State::open()?;
    let ignored = ignored::list()?;
    if !host::is_root() {
        println!("not root: the tests that need it are skipped. What is skipped, and why:");
        for test in &ignored {
            println!("  {} ({}): {}", test.name, test.path, test.reason);
        }
        return run_tests(arguments, &Environment::default());
    }
    host::install_missing(TOOLS)?;
    let user = make_user()?;
    register_emulator()?;
    let registry = state.serve_bases()?;
    let command = host::build_command()?;
    let containers = write_containers_conf(state.folder())?;
    let environment = Environment {
        all: true,
        variables: vec![
            ("STAGEWRIGHT_BIN", command.display().to_string()),
            ("STAGEWRIGHT_TEST_MIRROR", registry.address().to_owned()),
            user,
            ("CONTAINERS_CONF", containers),
        ],
    };
    println!(
        "root: {} tests that a plain `cargo test` leaves out run too",
        ignored.len()
    );
    run_tests(arguments, &environment)
}

#[derive(Default)]
struct Environment {
    /// Whether the tests marked as ignored run too.
    all: bool,
    variables: Vec<(&'static str, String)>,
}

/// Runs the examples in the documentation, then everything else; the runner's summary is last.
fn run_tests(arguments: &TestArguments, environment: &Environment) -> Result<()> {
    if arguments.filters.is_empty() {
        host::run(host::cargo().args(["test", "--workspace", "--locked", "--doc", "--quiet"]))?;
    }
    let nextest = host::find_program("cargo-nextest").is_some();
    let mut command = host::cargo();
    if nextest {
        command.args([
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--no-fail-fast",
        ]);
        if environment.all {
            command.args(["--run-ignored", "all"]);
        }
        command.args(&arguments.filters);
    } else {
        command.args([
            "test",
            "--workspace",
            "--locked",
            "--all-targets",
            "--no-fail-fast",
            "--",
        ]);
        if environment.all {
            command.arg("--include-ignored");
        }
        command.args(&arguments.filters);
    }
    command.envs(
        environment
            .variables
            .iter()
            .map(|(name, value)| (name, value)),
    );
    host::run(&mut command)
}

/// Makes the unprivileged user with a range of subordinate ids, when it is not there. Returns the variable that tells tests of it.
pub(crate) fn make_user() -> Result<(&'static str, String)> {
    let known = |file: &str| -> Result<bool> {
        let text = fs_err::read_to_string(file)?;
        Ok(text
            .lines()
            .any(|line| line.split(':').next() == Some(USER)))
    };
    if !known("/etc/passwd")? {
        println!("making the user {USER}: rootless tests run as it");
        host::run(Command::new("useradd").args(["--create-home", "--shell", "/bin/sh", USER]))?;
    }
    if !known("/etc/subuid").unwrap_or(false) {
        let ranges = [
            "--add-subuids",
            "200000-265535",
            "--add-subgids",
            "200000-265535",
        ];
        host::run(Command::new("usermod").args(ranges).arg(USER))?;
    }
    Ok(("STAGEWRIGHT_TEST_USER", USER.to_owned()))
}

/// Has the kernel hand programs of arm64 to the emulator, if nothing of this machine has done so.
fn register_emulator() -> Result<()> {
    let folder = Path::new("/proc/sys/fs/binfmt_misc");
    if !folder.join("status").exists() {
        let mut mount = Command::new("mount");
        mount.args(["-t", "binfmt_misc", "binfmt_misc"]).arg(folder);
        host::run(&mut mount)?;
    }
    if !folder.join("qemu-aarch64").exists() {
        println!("registering the emulator of arm64 with the kernel");
        let kind = fs_err::read("/usr/lib/binfmt.d/qemu-aarch64.conf")?;
        fs_err::write(folder.join("register"), kind)?;
    }
    Ok(())
}

/// Writes settings for Buildah and Podman: a container asks for no higher limits than there are,
/// which root in a virtual machine may not be allowed to raise.
fn write_containers_conf(folder: &Path) -> Result<String> {
    let limits = fs_err::read_to_string("/proc/self/limits")?;
    let hard = |name: &str| -> Result<u64> {
        let line = limits
            .lines()
            .find(|line| line.starts_with(name))
            .with_context(|| format!("/proc/self/limits has no \"{name}\""))?;
        // NAME, soft limit, hard limit, unit: the name holds spaces.
        let hard = line[name.len()..]
            .split_whitespace()
            .nth(1)
            .unwrap_or_default();
        Ok(hard.parse().unwrap_or(u64::MAX))
    };
    let files = hard("Max open files")?.min(1 << 20);
    // Buildah lowers this one to 32768 by its own default and then fails on anything higher.
    let processes = hard("Max processes")?.min(32_768);
    let file = folder.join("containers.conf");
    fs_err::write(
        &file,
        format!(
            "[containers]\ndefault_ulimits = [\"nofile={files}:{files}\", \"nproc={processes}:{processes}\"]\n"
        ),
    )?;
    Ok(file.display().to_string())
}
