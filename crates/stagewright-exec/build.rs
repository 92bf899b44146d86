//! Compiles the executable that is embedded in the library: a program without dependencies, linked
//! statically, so that it runs in any root file system and wherever the library goes.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let directory = PathBuf::from(env("CARGO_MANIFEST_DIR"));
    for folder in ["init", "init/sys"] {
        println!(
            "cargo::rerun-if-changed={}",
            directory.join(folder).display()
        );
    }
    for file in ["step", "message", "tree", "wire"] {
        println!(
            "cargo::rerun-if-changed={}",
            directory.join(format!("src/{file}.rs")).display()
        );
    }
    let out = Path::new(&env("OUT_DIR")).join("stagewright-init");
    let weakened = std::env::var_os("CARGO_FEATURE_WEAKENED_FOR_TESTS").is_some();
    assert!(
        !weakened || env("PROFILE") != "release",
        "the feature `weakened-for-tests` is for tests alone: it takes guards of the sandbox away"
    );
    let status = Command::new(env("RUSTC"))
        .args([
            "--edition",
            "2024",
            "--crate-name",
            "stagewright_init",
            "--crate-type",
            "bin",
        ])
        .args(["--target", &env("TARGET")])
        .args([
            "-C",
            "opt-level=s",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
        ])
        .args([
            "-C",
            "target-feature=+crt-static",
            "-C",
            "lto=fat",
            "-A",
            "dead_code",
        ])
        .args(
            weakened
                .then_some(["--cfg", "feature=\"weakened-for-tests\""])
                .into_iter()
                .flatten(),
        )
        .arg("-o")
        .arg(&out)
        .arg(directory.join("init/main.rs"))
        .status()
        .expect("because cargo has just run the same compiler");
    assert!(
        status.success(),
        "the executable that runs steps did not compile: see above"
    );
    println!("cargo::rustc-env=STAGEWRIGHT_INIT={}", out.display());
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
