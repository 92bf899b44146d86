//! The same samples in every language, each run with the package as it is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::place::{Place, emptied};
use crate::bases::Registry;
use crate::host;
use crate::state::State;

/// The samples; the last is run in the lesson's folder, with a registry to push to.
const NAMES: [&str; 7] = [
    "hello",
    "multi_stage",
    "cached_rebuild",
    "cancel",
    "code_stages",
    "failing_step",
    LESSON,
];
const LESSON: &str = "lesson";

/// What samples run with: the stand-in bases behind the names that they stand in for.
pub(super) struct Samples {
    bases: Registry,
}

impl Samples {
    /// Serves the bases; nothing where commands can't be run.
    pub(super) fn open() -> Result<Option<Self>> {
        if !host::is_root() {
            println!("not root: the samples are left out, as the bases are made by root");
            return Ok(None);
        }
        let bases = State::open()?.serve_bases()?;
        Ok(Some(Self { bases }))
    }

    /// Runs all samples of a language from a store of its own, and compares what they print;
    /// `program` is how one is started.
    pub(super) fn run(
        &self,
        place: &Place,
        language: &str,
        program: impl Fn(&str) -> Command,
    ) -> Result<()> {
        let folder = emptied(place.folder.join("samples").join(language))?;
        let mirrors = folder.join("registries.conf");
        let address = self.bases.address();
        fs_err::write(
            &mirrors,
            format!(
                "[[registry]]\nlocation = \"docker.io\"\n\n[[registry.mirror]]\nlocation = \"{address}\"\ninsecure = true\n"
            ),
        )?;
        for name in NAMES {
            let project = folder.join(name);
            let mut command = program(name);
            let registry = if name == LESSON {
                copy(&host::lesson(), &project)?;
                let registry = Registry::empty(&emptied(folder.join("registry"))?)?;
                command.arg(registry.address());
                Some(registry)
            } else {
                copy(&host::root().join("tests/samples/project"), &project)?;
                None
            };
            command
                .current_dir(&project)
                .env("XDG_CACHE_HOME", folder.join("cache"))
                .env("CONTAINERS_REGISTRIES_CONF", &mirrors);
            println!("sample {name} in {language}");
            compare(name, &host::output(&mut command)?)?;
            if let Some(registry) = registry {
                check_pushed(registry.address())?;
            }
        }
        Ok(())
    }
}

fn compare(name: &str, said: &str) -> Result<()> {
    let file = host::root().join(format!("tests/samples/expected/{name}.txt"));
    let expected = fs_err::read_to_string(&file)?;
    if said != expected {
        bail!("the sample {name} is to say:\n{expected}\nand said:\n{said}");
    }
    Ok(())
}

/// Asks another program for the image.
fn check_pushed(registry: &str) -> Result<()> {
    let found = host::output(
        Command::new("skopeo")
            .args(["inspect", "--tls-verify=false", "--config"])
            .arg(format!("docker://{registry}/lesson:1")),
    )?;
    let config: serde_json::Value = serde_json::from_str(&found).context("reading the config")?;
    if config["config"]["Cmd"] != serde_json::json!(["node", "index.js"]) {
        bail!("{registry} has another image: {found}");
    }
    Ok(())
}

/// Copies a folder of files and folders.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let dest: PathBuf = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &dest)?;
        } else {
            fs_err::copy(entry.path(), dest)?;
        }
    }
    Ok(())
}
