//! `cargo xtask bench compare`: the builders take turns at the same workloads.

use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::builders::{Archive, Builder};
use super::disk::Disk;
use super::equal;
use super::floors::Floors;
use super::measure::{self, Sample};
use super::report::Report;
use super::targets::Program;
use super::tree::Tree;
use super::workloads::{self, Workload};
use crate::bases::push;
use crate::host::{self, Tool};
use crate::state::State;

const TOOLS: &[Tool] = &[
    Tool {
        program: "buildah",
        package: "buildah",
    },
    Tool {
        program: "crun",
        package: "crun",
    },
    Tool {
        program: "dockerd",
        package: "docker.io",
    },
    Tool {
        program: "mkfs.ext4",
        package: "e2fsprogs",
    },
    Tool {
        program: "zstd",
        package: "zstd",
    },
];

/// How many builds of one Dockerfile run at once in the phase `crowd`.
const CROWD: usize = 20;

/// How often another builder that fails is asked.
const ATTEMPTS: usize = 3;

/// Options of `bench compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArguments {
    /// How often each figure is taken
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only these workloads, as w1,w4
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Only these phases, as cold,warm
    #[arg(long, value_delimiter = ',')]
    phases: Vec<Phase>,
    /// Only these builders besides this one, as docker-26,buildah-1.39
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Where the builders' states and the workloads lie
    #[arg(long, value_name = "DIR", default_value = "/var/tmp/stagewright-bench")]
    scratch: PathBuf,
    /// Where the tables and pictures are written
    #[arg(long, value_name = "DIR", default_value = "docs/bench")]
    out: PathBuf,
}

/// What is timed, in the order in which it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Phase {
    /// The bases are there and nothing else.
    Cold,
    /// Nothing changed.
    Warm,
    /// A file has a new modification time and the same bytes.
    Touch,
    /// Some bytes of a file changed.
    Byte,
    /// A comment changed, and what the step makes did not.
    Cutoff,
    /// Twenty builds of one Dockerfile at once, with nothing there but the bases.
    Crowd,
    /// The image as an archive, its layers as they are.
    Export,
    /// The image as an archive, compressed by gzip, of a layer that was never exported.
    Gzip,
    /// The same by Zstandard.
    Zstd,
    /// The image to a registry on the loopback interface, of a layer that it does not have.
    Push,
}

impl Phase {
    const ALL: [Self; 10] = [
        Self::Cold,
        Self::Warm,
        Self::Touch,
        Self::Byte,
        Self::Cutoff,
        Self::Crowd,
        Self::Export,
        Self::Gzip,
        Self::Zstd,
        Self::Push,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Touch => "touch",
            Self::Byte => "byte",
            Self::Cutoff => "cutoff",
            Self::Crowd => "crowd",
            Self::Export => "export",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Push => "push",
        }
    }

    /// Returns whether each round begins with a changed file.
    fn changes_bytes(self) -> bool {
        matches!(self, Self::Byte | Self::Gzip | Self::Zstd | Self::Push)
    }

    /// Returns whether it is not taken of builders that take tens of seconds for a build, or, several at once, their
    /// storage's lock from each other for minutes.
    fn is_slow(self) -> bool {
        matches!(self, Self::Touch | Self::Byte | Self::Cutoff | Self::Crowd)
    }

    /// Returns whether a workload has something to say in this phase.
    fn applies_to(self, workload: &Workload) -> bool {
        match self {
            Self::Export | Self::Gzip | Self::Push => ["w1", "w3", "w9"].contains(&workload.name),
            Self::Zstd => workload.name == "w9",
            Self::Crowd => workload.name == "w4",
            Self::Cutoff => workload.comment.is_some(),
            Self::Cold | Self::Warm => true,
            Self::Touch | Self::Byte => workload.name != "w9",
        }
    }
}

/// Takes every figure, prints the tables and writes them.
pub(super) fn run(arguments: &CompareArguments) -> Result<()> {
    ensure!(
        host::is_root(),
        "daemons and file systems of their own take root"
    );
    host::install_missing(TOOLS)?;
    let state = State::open()?;
    let registry = state.serve_bases()?;
    let program = host::build_command()?;
    fs_err::create_dir_all(&arguments.scratch)?;
    let scratch = fs_err::canonicalize(&arguments.scratch)?;
    println!("workloads: making them in {}", scratch.display());
    let mut workloads = workloads::make(&scratch.join("workloads"), registry.address())?;
    workloads.retain(|workload| {
        arguments.workloads.is_empty()
            || arguments.workloads.iter().any(|name| name == workload.name)
    });
    let seed = workloads::seed(&scratch.join("workloads"), registry.address())?;
    make_compiler(&program, &scratch, registry.address())?;
    let bases = [
        format!("{}/{}", registry.address(), workloads::COMPILER),
        format!("{}/library/node:12-stretch", registry.address()),
        format!("{}/library/alpine:3.10", registry.address()),
    ];
    let measured = Program::measure(&program)?;
    let builders = builders(arguments, &scratch, program)?;
    for builder in &builders {
        println!("{}: {}", builder.name, builder.version);
        builder.prepare(&bases, &seed)?;
    }
    let mut comparison = Comparison {
        floors: Floors::on_disk_of(&builders[0])?,
        builders,
        report: Report::new(measured),
        registry: registry.address().to_owned(),
        runs: arguments.runs,
        turn: 0,
    };
    for (number, workload) in workloads.iter().enumerate() {
        for phase in Phase::ALL {
            let wanted = arguments.phases.is_empty() || arguments.phases.contains(&phase);
            if wanted && phase.applies_to(workload) {
                comparison.take(workload, phase)?;
            }
        }
        println!("{} compared", workload.name);
        let compared = equal::compare(&comparison.builders, workload)?;
        comparison.report.compared(compared);
        for builder in &comparison.builders {
            builder.forget(workload)?;
            builder.trim()?;
        }
        // Who ends a long run has what was taken so far.
        comparison.report.write(
            &host::root().join(&arguments.out),
            &comparison.builders,
            &workloads[..=number],
        )?;
    }
    Ok(())
}

/// Makes the base with a compiler in it, and has the registry serve it.
fn make_compiler(
    program: &std::path::Path,
    scratch: &std::path::Path,
    registry: &str,
) -> Result<()> {
    let folder = workloads::compiler(&scratch.join("workloads"), registry)?;
    let layout = scratch.join("compiler.tar");
    host::output(
        Command::new(program)
            .args(["build", "--quiet", "--store"])
            .arg(scratch.join("compiler-store"))
            .arg("--output")
            .arg(format!("type=oci,dest={}", layout.display()))
            .arg(folder),
    )?;
    push(
        &format!("oci-archive:{}", layout.display()),
        &format!("{registry}/{}", workloads::COMPILER),
    )
}

fn builders(
    arguments: &CompareArguments,
    scratch: &std::path::Path,
    program: PathBuf,
) -> Result<Vec<Builder>> {
    let wanted =
        |name: &str| arguments.peers.is_empty() || arguments.peers.iter().any(|peer| peer == name);
    let disks = scratch.join("disks");
    let disk = |name: &str| Disk::make(&disks, name);
    // The tree sees what is mounted below the scratch folder before it is entered, and what is mounted later too.
    let mut builders = vec![Builder::stagewright(program, disk("stagewright")?)?];
    let newer = ["docker-26", "buildah-1.39", "podman-5.4"];
    let made: Vec<(&'static str, Disk)> = newer
        .into_iter()
        .filter(|name| wanted(name))
        .map(|name| Ok((name, disk(name)?)))
        .collect::<Result<_>>()?;
    if !made.is_empty() {
        let tree = Rc::new(Tree::enter(&scratch.join("trees"), scratch)?);
        for (name, disk) in made {
            let tree = Some(Rc::clone(&tree));
            builders.push(if name.starts_with("docker") {
                Builder::docker(name, tree, disk)?
            } else {
                Builder::containers(name, tree, disk)?
            });
        }
    }
    if wanted("docker-20.10") {
        builders.push(Builder::docker(
            "docker-20.10",
            None,
            disk("docker-20.10")?,
        )?);
    }
    Ok(builders)
}

struct Comparison {
    floors: Floors,
    builders: Vec<Builder>,
    report: Report,
    registry: String,
    runs: usize,
    /// Counts the changes, so that no two are the same.
    turn: usize,
}

impl Comparison {
    /// Takes one phase of one workload, the builders in turn within each run.
    fn take(&mut self, workload: &Workload, phase: Phase) -> Result<()> {
        println!("{} {}", workload.name, phase.name());
        let mut taking = Vec::new();
        for (place, builder) in self.builders.iter().enumerate() {
            if !(builder.is_slow() && phase.is_slow()) && prepare(builder, workload, phase)? {
                taking.push(place);
            }
        }
        for _ in 0..self.runs {
            self.turn += 1;
            match phase {
                Phase::Touch => {
                    workload.touch()?;
                    // Past the time in which a file's time says nothing of its bytes.
                    thread::sleep(Duration::from_millis(50));
                }
                _ if phase.changes_bytes() => workload.change(self.turn)?,
                Phase::Cutoff => {
                    workload.change_comment(self.turn)?;
                }
                _ => {}
            }
            for &place in &taking {
                let builder = &self.builders[place];
                match self.sample(builder, workload, phase) {
                    Ok(sample) => self.report.add(workload.name, phase, builder.name, sample),
                    Err(error) if !builder.is_ours() => {
                        // A second attempt would find what the first has done.
                        println!("left out: {error:#}");
                        prepare(builder, workload, phase)?;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                if phase == Phase::Gzip {
                    let bytes = fs_err::metadata(builder.archive_file())?.len();
                    self.report.archive(workload.name, builder.name, bytes);
                }
            }
            if let Some(seconds) = self.floors.take(&self.builders[0], workload, phase)? {
                self.report.floor(workload.name, phase, seconds);
            }
        }
        self.report.print_last(workload.name, phase);
        Ok(())
    }

    /// Takes one figure.
    fn sample(&self, builder: &Builder, workload: &Workload, phase: Phase) -> Result<Sample> {
        let log = builder.log();
        let timed = |command: Command| measure::once(command, builder.daemon(), &log);
        let built = || measure::once(builder.build(workload), None, &log);
        Ok(match phase {
            Phase::Cold => {
                builder.forget(workload)?;
                timed(builder.build(workload))?
            }
            Phase::Warm | Phase::Touch | Phase::Byte | Phase::Cutoff => {
                timed(builder.build(workload))?
            }
            Phase::Crowd => {
                builder.forget(workload)?;
                let commands = (0..CROWD)
                    .map(|number| builder.build_of(&format!("crowd{number}"), &workload.folder))
                    .collect();
                let wall = measure::together(commands, &log)?.as_secs_f64();
                Sample {
                    wall,
                    cpu: f64::NAN,
                    memory: f64::NAN,
                }
            }
            Phase::Export => timed(builder.archive(workload, Archive::Plain))?,
            Phase::Gzip => {
                built()?;
                timed(builder.archive(workload, Archive::Gzip))?
            }
            Phase::Zstd => {
                built()?;
                timed(builder.archive(workload, Archive::Zstd))?
            }
            Phase::Push => {
                built()?;
                let name = format!("{}/bench/{}:{}", self.registry, workload.name, builder.name);
                let (before, push) = builder.push(workload, &name);
                for mut command in before {
                    host::output(&mut command)?;
                }
                timed(push)?
            }
        })
    }
}

/// Builds what a phase begins with, if it begins with something. Another builder may need several attempts: a run of an hour
/// does not end when one of its steps fails. Returns whether it was built.
fn prepare(builder: &Builder, workload: &Workload, phase: Phase) -> Result<bool> {
    if matches!(phase, Phase::Cold | Phase::Crowd) {
        return Ok(true);
    }
    // What each change adds to every builder's state would fill its disk in the end.
    if phase.changes_bytes() {
        builder.forget(workload)?;
    }
    let attempts = if builder.is_ours() { 1 } else { ATTEMPTS };
    let mut built = measure::once(builder.build(workload), None, &builder.log());
    for _ in 1..attempts {
        if let Err(error) = &built {
            println!("once more: {error:#}");
            built = measure::once(builder.build(workload), None, &builder.log());
        }
    }
    match built {
        Err(error) if builder.is_ours() => Err(error),
        built => Ok(built.is_ok()),
    }
}
