//! `cargo xtask guards`: takes the guards of the sandbox away, one at a time, and sees that the suite of escapes notices.
//!
//! The command is built with a feature that lets the environment take guards away; a release build with it does not
//! compile.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{host, test};

/// The variable that takes guards away.
const VARIABLE: &str = "STAGEWRIGHT_WEAKEN";
/// What is taken away, and the tests that must notice. Some guards stand behind one another: what the filter refuses is not
/// seen to be possible otherwise, and a descriptor of the host that was closed leads nowhere.
const GUARDS: [(&str, &str); 14] = [
    ("filter", "calls::privileged_calls_of_the_kernel"),
    ("capabilities", "calls::privileged_calls_of_the_kernel"),
    ("masks", "kernel::privileged_the_kernel"),
    ("read-only", "kernel::privileged_the_kernel"),
    ("devices", "kernel::privileged_the_kernel"),
    ("descriptors", "calls::privileged_what_the_host_has_open"),
    (
        "directory,descriptors",
        "calls::privileged_directories_of_the_host",
    ),
    ("directory", "calls::privileged_directories_of_the_sandbox"),
    ("tracing", "calls::privileged_process_one"),
    ("keyring", "calls::privileged_keys_of_the_host"),
    ("keyring,filter", "calls::privileged_what_the_host_has_open"),
    ("propagation", "images::privileged_mounts_of_steps"),
    ("links", "mounts::privileged_targets"),
    ("old root", "mounts::privileged_targets"),
];
/// What is no guard, and done without as on kernels before 6.8: layers are given to overlayfs one by one.
const OLD_KERNEL: &str = "one by one";
/// The tests that must notice.
const SUITE: &str = "escape::";

/// Fails when a test passes without the guard that it is for, or one fails with all.
pub(crate) fn run() -> Result<()> {
    if !host::is_root() {
        bail!("the suite of escapes needs root");
    }
    let user = test::make_user()?;
    let mut build = host::cargo();
    build.args(["build", "--quiet", "--locked"]);
    build.args(["--package=stagewright-cli", "--package=stagewright-exec"]);
    build.arg("--features=stagewright-exec/weakened-for-tests");
    host::run(&mut build)?;
    let folder = tempfile::tempdir().context("making a folder")?;
    // The next build puts the usual command in its place.
    let program = folder.path().join("stagewright");
    fs_err::copy(host::target_folder()?.join("debug/stagewright"), &program)?;
    let failing = |guards: &str| -> Result<Vec<String>> {
        let mut suite = host::cargo();
        suite
            .args(["nextest", "run", "--package=stagewright-tests", "--locked"])
            .args([
                "--run-ignored=all",
                "--no-fail-fast",
                "--color=never",
                SUITE,
            ])
            .env("STAGEWRIGHT_BIN", &program)
            .env(user.0, &user.1)
            .env(VARIABLE, guards);
        failures(&mut suite)
    };
    let failed = failing("")?;
    if !failed.is_empty() {
        bail!("with all guards these fail: {}", failed.join(", "));
    }
    let mut unnoticed = Vec::new();
    for (guards, test) in GUARDS {
        let failed = failing(guards)?;
        println!("without {guards}: {}", failed.join(", "));
        if !failed.iter().any(|failed| failed.starts_with(test)) {
            unnoticed.push(format!("{guards} ({test})"));
        }
    }
    let failed = failing(OLD_KERNEL)?;
    if !failed.is_empty() {
        bail!("as on older kernels these fail: {}", failed.join(", "));
    }
    if !unnoticed.is_empty() {
        bail!(
            "no test notices that these are gone: {}",
            unnoticed.join("; ")
        );
    }
    Ok(())
}

/// Returns the tests that fail.
fn failures(test: &mut Command) -> Result<Vec<String>> {
    let shown = host::shown(test);
    let out = test.output().with_context(|| format!("running {shown}"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    let mut failed: Vec<String> = said
        .lines()
        .filter(|line| {
            let line = line.trim_start();
            ["FAIL ", "TIMEOUT ", "SIGABRT "]
                .iter()
                .any(|word| line.starts_with(word))
        })
        .filter_map(|line| Some(line.split_once(SUITE)?.1.trim().to_owned()))
        .collect();
    failed.sort();
    failed.dedup();
    if failed.is_empty() && !out.status.success() {
        bail!("{shown} failed, and no test did: {said}");
    }
    Ok(failed)
}
