//! What must be done at least: the work of a phase by the plainest means, timed in turns with the builders.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};

use super::builders::Builder;
use super::compare::Phase;
use super::measure;
use super::workloads::{self, Workload};
use crate::host;

/// The floors of one run, and where they are measured.
pub(super) struct Floors {
    /// A folder on the disk of the first builder.
    place: PathBuf,
}

impl Floors {
    /// Returns the floors on the disk of a builder.
    pub(super) fn on_disk_of(builder: &Builder) -> Result<Self> {
        let place = builder.folder().join("floors");
        fs_err::create_dir_all(&place)?;
        Ok(Self { place })
    }

    /// Says what the floor of a phase is, where it has one.
    pub(super) fn what(workload: &str, phase: Phase) -> Option<&'static str> {
        Some(match (workload, phase) {
            ("w2", Phase::Cold) => "this builder with the longest chain alone",
            ("w3", Phase::Cold) => {
                "reading, BLAKE3 and writing of the same bytes, one after the other"
            }
            ("w3", Phase::Warm) => "a look at each file, by a thread for each processor",
            ("w5", Phase::Cold) => "the step's command alone, in a mounted overlay",
            _ => return None,
        })
    }

    /// Takes the floor of a phase in seconds.
    pub(super) fn take(
        &self,
        builder: &Builder,
        workload: &Workload,
        phase: Phase,
    ) -> Result<Option<f64>> {
        if Self::what(workload.name, phase).is_none() {
            return Ok(None);
        }
        Ok(Some(match (workload.name, phase) {
            ("w2", _) => {
                builder.forget(workload)?;
                let mut command = builder.build_of("chain", &workload.folder);
                command
                    .arg("-f")
                    .arg(workload.folder.join(workloads::CHAIN));
                measure::once(command, None, &builder.log())?.wall
            }
            ("w3", Phase::Warm) => looks(&workload.folder)?,
            ("w3", _) => self.copies(&workload.folder)?,
            _ => self.command(builder, workload)?,
        }))
    }

    /// Reads every file, hashes it and writes all into one.
    fn copies(&self, folder: &Path) -> Result<f64> {
        let target = self.place.join("copy");
        // A file that is overwritten would cost what freeing its blocks costs.
        let _ = fs_err::remove_file(&target);
        host::output(&mut Command::new("sync"))?;
        let mut buffer = vec![0; 1 << 20];
        let started = Instant::now();
        let mut copy = fs_err::File::create(&target)?;
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                let mut file = fs_err::File::open(entry.path())?;
                let mut hasher = blake3::Hasher::new();
                loop {
                    let read = file.read(&mut buffer)?;
                    if read == 0 {
                        break;
                    }
                    hasher.update(&buffer[..read]);
                    copy.write_all(&buffer[..read])?;
                }
                std::hint::black_box(hasher.finalize());
            }
        }
        copy.sync_all()?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// Runs the script of `w5` on the base's files, as a step runs it and nothing more.
    fn command(&self, builder: &Builder, workload: &Workload) -> Result<f64> {
        let root = self.place.join("root");
        if !root.exists() {
            let mut command = builder.build_of("floor", &workload.folder);
            command.arg("-f").arg(workload.folder.join(workloads::BASE));
            command.arg("--output");
            command.arg(format!("type=local,dest={}", root.display()));
            host::output(&mut command)?;
        }
        let overlay = self.place.join("overlay");
        let [upper, work, merged] = ["upper", "work", "merged"].map(|name| overlay.join(name));
        for folder in [&upper, &work, &merged] {
            fs_err::create_dir_all(folder)?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            root.display(),
            upper.display(),
            work.display()
        );
        host::output(
            Command::new("mount")
                .args(["-t", "overlay", "overlay", "-o", &options])
                .arg(&merged),
        )?;
        let script = merged.join("gen.sh");
        let taken = fs_err::copy(workload.folder.join("gen.sh"), script)
            .context("copying the script")
            .and_then(|_| {
                let mut command = Command::new("chroot");
                command.arg(&merged).args(["/bin/sh", "/gen.sh"]);
                measure::once(command, None, &self.place.join("last.log"))
            });
        host::output(Command::new("umount").arg(&merged))?;
        fs_err::remove_dir_all(&overlay)?;
        Ok(taken?.wall)
    }
}

/// Looks at each file below a folder.
fn looks(folder: &Path) -> Result<f64> {
    let started = Instant::now();
    // The folders that nobody has looked into yet, and how many are being looked into.
    let todo = Mutex::new((vec![folder.to_owned()], 0));
    let locked = || todo.lock().map_err(|_| anyhow!("a thread panicked"));
    let work = || -> Result<()> {
        loop {
            let next = {
                let mut todo = locked()?;
                let next = todo.0.pop();
                todo.1 += usize::from(next.is_some());
                if next.is_none() && todo.1 == 0 {
                    return Ok(());
                }
                next
            };
            let Some(folder) = next else {
                thread::yield_now();
                continue;
            };
            let found = folders_in(&folder);
            let mut todo = locked()?;
            todo.1 -= 1;
            todo.0.extend(found?);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..thread::available_parallelism().map_or(1, usize::from))
            .map(|_| scope.spawn(work))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    Ok(started.elapsed().as_secs_f64())
}

/// Looks at each entry of a folder and returns the folders among them.
fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if std::hint::black_box(entry.metadata()?).is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
