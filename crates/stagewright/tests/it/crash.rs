//! A process that dies at any moment of a build, or at any operation on the store, loses nothing
//! that it had reported.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stagewright::{Builder, PruneOptions};
use stagewright_store::fault::{self, Fault};

use crate::lab::{self, Kind, Lab};

/// Tells the test binary that it is the builder, and where.
const BUILDER_ROOT: &str = "STAGEWRIGHT_TEST_BUILDER_ROOT";
const BUILDER_KIND: &str = "STAGEWRIGHT_TEST_BUILDER_KIND";
/// With what number the builder begins.
const BUILDER_FIRST: &str = "STAGEWRIGHT_TEST_BUILDER_FIRST";
/// That the builder removes what no name needs after each build.
const BUILDER_PRUNES: &str = "STAGEWRIGHT_TEST_BUILDER_PRUNES";
/// Under what name the builder takes the machine to be started.
const BUILDER_BOOT: &str = "STAGEWRIGHT_TEST_BUILDER_BOOT";
/// At which operation of the store it dies.
const BUILDER_POINT: &str = "STAGEWRIGHT_TEST_BUILDER_POINT";

/// How often the builder is killed at a moment, and at an operation, on a store that is used.
const KILLS_BY_TIME: u64 = 100;
const KILLS_BY_POINT: u64 = 100;
const KILLS_OF_COMMANDS: u64 = 40;
const KILLS_WHILE_PRUNING: u64 = 100;
/// An operation that no build reaches.
const NEVER: u64 = u64::MAX;

/// The builder: does nothing unless it was started by a test below.
#[test]
fn builder() {
    let Some(root) = std::env::var_os(BUILDER_ROOT) else {
        return;
    };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let kind = match number(BUILDER_KIND) {
        0 => Kind::Copies,
        1 => Kind::Based,
        _ => Kind::Commands,
    };
    let lab = Lab::at(Path::new(&root), kind);
    if let Ok(boot) = std::env::var(BUILDER_BOOT) {
        fault::begin_boot(&boot);
    }
    fault::arm(Some((number(BUILDER_POINT), Fault::Kill)));
    let builder = lab.open().unwrap();
    let first = number(BUILDER_FIRST);
    for n in first.. {
        let built = lab.build(&builder, n).unwrap();
        writeln!(std::io::stdout(), "\nreported {n} {}.", built.image.id()).unwrap();
        lab.export(&built.image, "exported.tar").unwrap();
        if n % 4 == 0 {
            builder.layer_uses().unwrap();
        }
        if std::env::var_os(BUILDER_PRUNES).is_some() {
            let all = PruneOptions {
                all: true,
                ..PruneOptions::default()
            };
            builder.prune_cache(&all).unwrap();
        }
    }
}

/// A build that was reported: its number and its image.
pub(crate) type Report = (u64, String);

pub(crate) struct Doomed {
    process: Child,
}

impl Doomed {
    fn start(lab: &Lab, kind: Kind, first: u64, point: u64) -> Self {
        Self::started(&mut Self::command(lab, kind, first, point))
    }

    /// Starts one that removes what no name needs after each build.
    fn pruning(lab: &Lab, first: u64, point: u64) -> Self {
        Self::started(Self::command(lab, Kind::Copies, first, point).env(BUILDER_PRUNES, "1"))
    }

    /// Starts one on a machine that was started under a name.
    pub(crate) fn booted(lab: &Lab, kind: Kind, first: u64, boot: &str) -> Self {
        Self::started(Self::command(lab, kind, first, NEVER).env(BUILDER_BOOT, boot))
    }

    fn command(lab: &Lab, kind: Kind, first: u64, point: u64) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "crash::builder", "--nocapture"])
            .env(BUILDER_ROOT, &lab.root)
            .env(BUILDER_KIND, (kind as u64).to_string())
            .env(BUILDER_FIRST, first.to_string())
            .env(BUILDER_POINT, point.to_string());
        command
    }

    fn started(command: &mut Command) -> Self {
        let process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process }
    }

    /// Waits for its end, and returns what it reported.
    fn reports(mut self, mut text: String) -> Vec<Report> {
        let mut output = self.process.stdout.take().unwrap();
        output.read_to_string(&mut text).unwrap();
        let status = self.process.wait().unwrap();
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(status.signal(), Some(9), "it was not killed: {text}");
        text.lines().filter_map(report).collect()
    }

    /// Kills it a while after its first report.
    fn kill_after(self, delay: Duration) -> Vec<Report> {
        self.end_after(delay, || {})
    }

    /// Does something a while after its first report, and kills it then.
    pub(crate) fn end_after(mut self, delay: Duration, what: impl FnOnce()) -> Vec<Report> {
        let mut output = BufReader::new(self.process.stdout.take().unwrap());
        let mut text = String::new();
        while !text.contains("reported") {
            assert_ne!(output.read_line(&mut text).unwrap(), 0, "it ended");
        }
        std::thread::sleep(delay);
        what();
        // It may have ended by itself when its disk was gone.
        let _ = self.process.kill();
        output.read_to_string(&mut text).unwrap();
        self.process.wait().unwrap();
        text.lines().filter_map(report).collect()
    }
}

/// A line that was cut off reports nothing.
fn report(line: &str) -> Option<Report> {
    let (number, id) = line.strip_prefix("reported ")?.split_once(' ')?;
    Some((number.parse().ok()?, id.strip_suffix('.')?.to_owned()))
}

/// Checks that what was reported is there.
pub(crate) type Check = fn(&Lab, &Builder, u64, &str);

/// Checks the store after a death, and builds what was interrupted. Returns the next number.
pub(crate) fn recover(lab: &Lab, first: u64, reports: &[Report], check: Check) -> u64 {
    let builder = lab.open().unwrap();
    lab.check_store(&builder);
    for (number, id) in reports {
        check(lab, &builder, *number, id);
    }
    let next = reports.last().map_or(first, |(number, _)| number + 1);
    let built = lab.build(&builder, next).unwrap();
    lab.check_files(&built.image, next);
    lab.export(&built.image, "exported.tar").unwrap();
    lab.check_store(&builder);
    next + 1
}

/// Every operation from the making of the store to the end of so many builds.
fn die_at_each_operation(kind: Kind, builds: usize) {
    let mut point = 0;
    loop {
        let folder = lab::folder(kind);
        let lab = Lab::make(folder.path(), kind);
        let reports = Doomed::start(&lab, kind, 0, point).reports(String::new());
        recover(&lab, 0, &reports, Lab::check_kept);
        if reports.len() >= builds {
            break;
        }
        point += 1;
    }
    assert!(point > 100, "only {point} operations were met");
}

#[test]
fn a_builder_that_dies_at_any_operation_of_its_first_builds_leaves_a_whole_store() {
    die_at_each_operation(Kind::Copies, 2);
}

/// What is stored of the base is whole too: the next build exports it as it came.
#[test]
fn a_builder_that_dies_at_any_operation_with_a_base_image_leaves_a_whole_store() {
    die_at_each_operation(Kind::Based, 1);
}

fn die_again_and_again(
    kind: Kind,
    kills: u64,
    check: Check,
    doom: impl Fn(&Lab, u64, u64) -> Vec<Report>,
) {
    let folder = lab::folder(kind);
    let lab = Lab::make(folder.path(), kind);
    let (mut first, mut all) = (0, Vec::new());
    for kill in 0..kills {
        let reports = doom(&lab, first, kill);
        first = recover(&lab, first, &reports, check);
        all.extend(reports);
    }
    let builder = lab.open().unwrap();
    for (number, id) in &all {
        check(&lab, &builder, *number, id);
    }
    let temporary = fs_err::read_dir(lab.store().join("tmp")).unwrap().count();
    assert_eq!(temporary, 0, "what dead builders left is cleaned");
}

#[test]
fn a_builder_that_dies_at_any_operation_loses_nothing_that_it_reported() {
    die_again_and_again(
        Kind::Copies,
        KILLS_BY_POINT,
        Lab::check_kept,
        |lab, first, kill| {
            Doomed::start(lab, Kind::Copies, first, kill * 7919 % 331).reports(String::new())
        },
    );
}

#[test]
fn a_builder_that_is_killed_at_any_moment_loses_nothing_that_it_reported() {
    die_again_and_again(
        Kind::Copies,
        KILLS_BY_TIME,
        Lab::check_kept,
        |lab, first, kill| {
            let delay = Duration::from_micros(kill * 7919 % 30_000);
            Doomed::start(lab, Kind::Copies, first, NEVER).kill_after(delay)
        },
    );
}

/// What names need stays, whatever the moment of a collection at which its process dies.
#[test]
fn a_builder_that_dies_while_it_collects_loses_no_image_that_has_a_name() {
    let check: Check = |lab, builder, number, id| {
        lab.check_named(builder, number, id);
    };
    die_again_and_again(
        Kind::Copies,
        KILLS_WHILE_PRUNING,
        check,
        |lab, first, kill| {
            if kill % 2 == 0 {
                let delay = Duration::from_micros(kill * 7919 % 30_000);
                return Doomed::pruning(lab, first, NEVER).kill_after(delay);
            }
            Doomed::pruning(lab, first, kill * 7919 % 331).reports(String::new())
        },
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_builder_that_dies_while_commands_run_loses_nothing_that_it_reported() {
    die_again_and_again(
        Kind::Commands,
        KILLS_OF_COMMANDS,
        Lab::check_kept,
        |lab, first, kill| {
            if kill % 2 == 0 {
                let delay = Duration::from_micros(kill * 7919 % 60_000);
                return Doomed::start(lab, Kind::Commands, first, NEVER).kill_after(delay);
            }
            Doomed::start(lab, Kind::Commands, first, kill * 7919 % 397).reports(String::new())
        },
    );
}
