//! `cargo xtask demo`: the main job before one's eyes: build, run, fetch, build again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::host;
use crate::state::State;

/// Where the lesson's application listens.
const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 3000);
const TAG: &str = "lesson:demo";
/// How long the application may take to answer, and to end.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// How often the cached build is timed; the median is shown.
const WARM_RUNS: usize = 5;
const POLL_PAUSE: Duration = Duration::from_millis(50);

/// Options of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArguments {
    /// Build with this command instead of the one made from this tree
    #[arg(long, value_name = "FILE")]
    command: Option<PathBuf>,
}

/// Runs the demo from an empty store to a build out of the cache.
pub(crate) fn run(arguments: &DemoArguments) -> Result<()> {
    ensure!(
        TcpStream::connect(SocketAddr::from(ADDRESS)).is_err(),
        "something listens on port 3000 already; end it, the lesson's application needs the port"
    );
    let state = State::open()?;
    say("1. the stand-ins for node:12-stretch and alpine:3.10 (no public registry is asked)");
    let registry = state.serve_bases()?;
    say("2. the command");
    let command = match &arguments.command {
        Some(file) => file.clone(),
        None => host::build_command()?,
    };
    let demo = Demo {
        command,
        store: state.folder().join("store"),
        mirror: registry.address(),
    };
    demo.forget()?;

    say("3. the lesson's Dockerfile, from an empty store");
    let cold = demo.build_shown()?;
    say("4. the image, run");
    let page = demo.fetch()?;
    print!("GET / -> {page}");
    say("5. the same build again: everything is there");
    let mut warm = Vec::new();
    for _ in 0..WARM_RUNS {
        warm.push(demo.build_counted()?);
    }
    warm.sort();
    let warm = warm[WARM_RUNS / 2];
    say("6. sizes: the fat build stage against the image");
    host::run(&mut demo.stagewright("sizes", &[TAG]))?;
    println!();
    println!("first build   {:>8.0} ms", milliseconds(cold));
    println!(
        "second build  {:>8.0} ms, no step ran (median of {WARM_RUNS})",
        milliseconds(warm)
    );
    println!("demo: passed");
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn say(what: &str) {
    println!("\n== {what}");
}

struct Demo<'a> {
    command: PathBuf,
    store: PathBuf,
    mirror: &'a str,
}

impl Demo<'_> {
    /// Removes the store of an earlier run, so that the first build is one.
    fn forget(&self) -> Result<()> {
        if self.store.exists() {
            fs_err::remove_dir_all(&self.store)?;
        }
        Ok(())
    }

    fn stagewright(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.command);
        command
            .arg(verb)
            .arg("--store")
            .arg(&self.store)
            .args(arguments);
        command
    }

    fn build(&self) -> Command {
        let mirror = format!("docker.io={}", self.mirror);
        let mut command = self.stagewright("build", &["--registry-mirror", &mirror, "-t", TAG]);
        command.arg(host::lesson());
        command
    }

    /// Builds as a person would, and returns how long the whole process took.
    fn build_shown(&self) -> Result<Duration> {
        let started = Instant::now();
        host::run(&mut self.build())?;
        Ok(started.elapsed())
    }

    /// Builds with events, fails when a step ran, and returns how long the whole process took.
    fn build_counted(&self) -> Result<Duration> {
        let mut command = self.build();
        command.arg("--progress=rawjson");
        println!("$ {}", host::shown(&command));
        let started = Instant::now();
        let out = command
            .stdin(Stdio::null())
            .output()
            .context("starting the build")?;
        let time = started.elapsed();
        let printed = [out.stdout, out.stderr].concat();
        let text = String::from_utf8_lossy(&printed);
        ensure!(
            out.status.success(),
            "the build ended with {}\n{text}",
            out.status
        );
        let (mut cached, mut executed) = (0, Vec::new());
        for line in text.lines() {
            // Other lines than events are for people.
            let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
                continue;
            };
            if event["event"] == "vertex_finished" && event["step"] == true {
                match event["status"].as_str() {
                    Some("executed") => executed.push(event["name"].to_string()),
                    _ => cached += 1,
                }
            }
        }
        ensure!(
            executed.is_empty(),
            "these steps ran again: {}",
            executed.join(", ")
        );
        ensure!(cached > 0, "the build told of no step\n{text}");
        println!(
            "  {cached} steps, all from the cache, {:.0} ms",
            milliseconds(time)
        );
        Ok(time)
    }

    /// Runs the image, asks its application for the page, and ends it.
    fn fetch(&self) -> Result<String> {
        let mut command = self.stagewright("run", &[TAG]);
        println!("$ {}", host::shown(&command));
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the image")?;
        let mut application = Application { process };
        let page = application.page();
        application.end()?;
        page
    }
}

/// The running image; killed when it is dropped before its end.
struct Application {
    process: Child,
}

impl Application {
    fn page(&mut self) -> Result<String> {
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        loop {
            if let Ok(connection) = TcpStream::connect(SocketAddr::from(ADDRESS)) {
                return get(connection);
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the image's application ended with {status} before it answered");
            }
            ensure!(
                Instant::now() < deadline,
                "nothing answers on port 3000 after {} s",
                ANSWER_TIME_MAX.as_secs()
            );
            thread::sleep(POLL_PAUSE);
        }
    }

    /// Ends the application as Ctrl-C would, and sees to it that nothing is left listening.
    fn end(mut self) -> Result<()> {
        let pid = self.process.id().to_string();
        host::output(Command::new("kill").args(["-INT", &pid]))?;
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        while self.process.try_wait()?.is_none() {
            ensure!(
                Instant::now() < deadline,
                "`stagewright run` does not end on an interrupt"
            );
            thread::sleep(POLL_PAUSE);
        }
        while TcpStream::connect(SocketAddr::from(ADDRESS)).is_ok() {
            ensure!(
                Instant::now() < deadline,
                "the application is still listening"
            );
            thread::sleep(POLL_PAUSE);
        }
        Ok(())
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // Already ended is the usual case, and there is nobody to tell otherwise.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Fetches `/` and returns the body.
fn get(mut connection: TcpStream) -> Result<String> {
    connection.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    connection.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut reader = BufReader::new(connection);
    let mut status = String::new();
    reader.read_line(&mut status)?;
    ensure!(
        status.contains(" 200 "),
        "the application answered: {}",
        status.trim()
    );
    let mut rest = String::new();
    reader.read_to_string(&mut rest)?;
    let (_, body) = rest
        .split_once("\r\n\r\n")
        .context("the answer has no body")?;
    Ok(body.to_owned())
}
