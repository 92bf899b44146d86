//! What does a step cost next to the same program with the least around it (`unshare`, `chroot`), in Bubblewrap and in runc?
//! And a build with one new step, of which the sandbox is a part?
//!
//! `cargo bench -p stagewright-benches --bench steps [FOLDER]`: the folder names the disk; run it as root and as a plain
//! user. What is compared takes turns. What is not installed is left out, and that is told.

#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use stagewright::{BuildRequest, Builder, BuilderOptions, NamedContext};
use stagewright_exec::{CancelHandle, Exit, ProbeOptions, RootFs, Sandbox, Step, UserNamespace};

const ROUNDS: usize = 40;

/// One of those that are compared.
struct Runner {
    name: &'static str,
    run: Box<dyn FnMut()>,
    times: Vec<f64>,
}

fn main() {
    let place = std::env::args()
        .nth(1)
        .filter(|argument| !argument.starts_with('-'));
    let folder = match place {
        Some(place) => tempfile::tempdir_in(place).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let root = folder.path().join("root");
    make_root(&root);
    let mut runners = vec![
        program("true alone", Command::new(root.join("bin/true"))),
        program("unshare + chroot", unshared(&root)),
    ];
    if let Some(path) = find("bwrap") {
        let mut command = Command::new(path);
        command
            .args(["--unshare-all", "--share-net", "--bind"])
            .arg(&root)
            .args(["/", "--proc", "/proc", "--dev", "/dev", "/bin/true"]);
        runners.push(program("bwrap, no overlay", command));
    }
    if let Some(path) = find("runc") {
        runners.push(program(
            "runc, no overlay",
            runc(&path, folder.path(), &root),
        ));
    }
    runners.push(sandbox(folder.path(), &root));
    runners.push(build(folder.path()));
    for _ in 0..ROUNDS {
        for runner in &mut runners {
            let began = Instant::now();
            (runner.run)();
            runner.times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    report(&mut runners);
}

fn report(runners: &mut [Runner]) {
    let threads = std::thread::available_parallelism().unwrap();
    println!("{ROUNDS} rounds on {threads} processors; ms\n");
    println!("| | median | min | above unshare + chroot, median | min | ratio of medians |");
    println!("|---|---|---|---|---|---|");
    let figures: Vec<(&str, f64, f64)> = runners
        .iter_mut()
        .map(|runner| {
            runner.times.sort_by(f64::total_cmp);
            (runner.name, runner.times[ROUNDS / 2], runner.times[0])
        })
        .collect();
    let (_, median_least, min_least) = figures[1];
    for (name, median, min) in figures {
        println!(
            "| {name} | {median:.1} | {min:.1} | {:.1} | {:.1} | {:.2} |",
            median - median_least,
            min - min_least,
            median / median_least
        );
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let usual = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let found = usual
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        println!("{name} is not installed: it is left out");
    }
    found
}

fn make_root(root: &Path) {
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs_err::create_dir_all(root.join(name)).unwrap();
    }
    let busybox = find("busybox").unwrap();
    fs_err::copy(busybox, root.join("bin/busybox")).unwrap();
    for name in ["sh", "true"] {
        fs_err::hard_link(root.join("bin/busybox"), root.join("bin").join(name)).unwrap();
    }
}

fn is_root() -> bool {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap();
    line.split_whitespace().nth(1) == Some("0")
}

/// A program that is run to its end.
fn program(name: &'static str, mut command: Command) -> Runner {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let run = move || {
        let status = command.status().unwrap();
        assert!(status.success(), "{name}: {status}: {command:?}");
    };
    Runner {
        name,
        run: Box::new(run),
        times: Vec::new(),
    }
}

fn unshared(root: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--ipc", "--uts", "--cgroup", "--fork"]);
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("chroot").arg(root).arg("/bin/true");
    command
}

/// runc with its own usual settings, without a terminal and without a network of its own.
fn runc(path: &Path, folder: &Path, root: &Path) -> Command {
    let bundle = folder.join("bundle");
    fs_err::create_dir(&bundle).unwrap();
    let mut spec = Command::new(path);
    spec.arg("spec").current_dir(&bundle);
    if !is_root() {
        spec.arg("--rootless");
    }
    assert!(spec.status().unwrap().success());
    let file = bundle.join("config.json");
    let text = fs_err::read_to_string(&file)
        .unwrap()
        .replace("\"terminal\": true", "\"terminal\": false")
        .replace("\"sh\"", "\"/bin/true\"")
        .replace("\"path\": \"rootfs\"", &format!("\"path\": {root:?}"));
    fs_err::write(&file, text).unwrap();
    let mut command = Command::new(path);
    command
        .arg("--root")
        .arg(folder.join("runc"))
        .args(["run", "--bundle"])
        .arg(bundle)
        .arg("bench");
    command
}

/// The sandbox alone: an overlay, and all else that a step gets.
fn sandbox(folder: &Path, root: &Path) -> Runner {
    let namespace = UserNamespace::if_needed().map(Arc::new);
    let options = ProbeOptions {
        namespace,
        ..ProbeOptions::default()
    };
    let sandbox = Sandbox::probe(options).unwrap();
    let (folder, root) = (folder.join("steps"), root.to_owned());
    let mut number = 0;
    let run = move || {
        number += 1;
        let draft = folder.join(number.to_string());
        let (upper, work) = (draft.join("upper"), draft.join("work"));
        for folder in [&upper, &work] {
            fs_err::create_dir_all(folder).unwrap();
        }
        let root = RootFs::Overlay {
            lowers: vec![root.clone()],
            upper,
            work,
        };
        let step = Step::new(root, vec![OsString::from("/bin/true")]);
        let cancel = CancelHandle::new().unwrap();
        let exit = sandbox.run(&step, &mut |_, _| {}, &cancel).unwrap();
        assert_eq!(exit, Exit::Code(0));
    };
    Runner {
        name: "the sandbox, with overlay",
        run: Box::new(run),
        times: Vec::new(),
    }
}

/// A whole build in this process: two steps of the cache and one that is new.
fn build(folder: &Path) -> Runner {
    let layout = folder.join("busybox");
    stagewright_testkit::busybox(&layout);
    let builder = Builder::open(BuilderOptions::at(folder.join("store"))).unwrap();
    let mut number = 0;
    let mut run = move || {
        number += 1;
        let text = format!("FROM busybox\nRUN mkdir /a\nRUN mkdir /b\nRUN true {number}\n");
        let mut request = BuildRequest::text(text);
        let context = NamedContext::OciLayout {
            path: layout.clone(),
            reference: None,
        };
        request.named_contexts = vec![("busybox".to_owned(), context)];
        let _ = builder.build(request).wait().unwrap();
    };
    run();
    Runner {
        name: "a build with a new step",
        run: Box::new(run),
        times: Vec::new(),
    }
}
