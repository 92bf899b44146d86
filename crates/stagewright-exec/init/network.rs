//! The program that connects a network of the step's own to the host's.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::message::{Failure, FailureKind, Means};
use crate::step::Network;
use crate::sys;
use crate::trouble::Doing;
use crate::wire::Bytes;

/// How long it may take to connect.
const PATIENCE_MS: i32 = 15_000;
const STEP_MS: i32 = 5;

/// A child that stays in the host's network until the step's is there, and then becomes the
/// program. It ends with this process.
pub(crate) struct Connector {
    child: i32,
    go: OwnedFd,
    said: OwnedFd,
    program: PathBuf,
}

impl Connector {
    /// Makes the child, if the step's network needs one.
    pub(crate) fn prepare(network: Network, means: &Means) -> Result<Option<Self>, Failure> {
        let (Network::Pasta | Network::Slirp4netns, Some(program)) = (network, &means.network_program)
        else {
            return Ok(None);
        };
        let (wait, go) = sys::pipe().doing("making a pipe", "")?;
        let (said, say) = sys::pipe().doing("making a pipe", "")?;
        let outside = sys::pid();
        let child = sys::split().doing("starting the network", "")?;
        if child == 0 {
            drop((go, said));
            let _ = sys::die_with_parent();
            let mut byte = [0];
            if !matches!(sys::read(wait.as_fd(), &mut byte), Ok(1)) {
                sys::exit(1);
            }
            let rootless = means.user_namespace.is_some();
            become_program(network, program, outside, rootless, &say);
        }
        Ok(Some(Self { child, go, said, program: program.clone() }))
    }

    /// Lets it go and waits until there is a way out of the namespace that this process is in by now.
    pub(crate) fn connect(&self, means: &Means) -> Result<(), Failure> {
        if means.user_namespace.is_some() {
            sys::allow_tracing().doing("showing the namespaces", "")?;
        }
        sys::write_all(self.go.as_fd(), b"1").doing("starting the network", &self.program)?;
        let mut text = Vec::new();
        let mut left = PATIENCE_MS;
        while !has_way_out() {
            let mut fds = [sys::PollFd { fd: self.said.as_raw_fd(), events: sys::POLLIN, revents: 0 }];
            if sys::poll(&mut fds, STEP_MS).unwrap_or(false) {
                let mut bytes = [0; 1024];
                match sys::read(self.said.as_fd(), &mut bytes) {
                    Ok(count) if count > 0 => text.extend_from_slice(&bytes[..count]),
                    _ => return Err(self.failed(&text, "it ended")),
                }
                continue;
            }
            left -= STEP_MS;
            if left <= 0 {
                return Err(self.failed(&text, "it made no connection in time"));
            }
        }
        Ok(())
    }

    fn failed(&self, said: &[u8], what: &str) -> Failure {
        let said = String::from_utf8_lossy(said);
        let lines: Vec<&str> = said.lines().filter(|line| !line.contains("syslog")).collect();
        let program = self.program.display();
        Failure {
            kind: FailureKind::Unsupported,
            doing: format!(
                "{program} could not connect the step's network, {what}: {}; ask for another network (`--network`)",
                lines.join("; ")
            ),
            subject: Bytes(Vec::new()),
            errno: 0,
        }
    }

    /// Ends it.
    pub(crate) fn end(self) {
        sys::kill(self.child, sys::SIGKILL);
        sys::wait(self.child);
    }
}

/// Says whether this process's network has a default route.
fn has_way_out() -> bool {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let four = read("/proc/self/net/route");
    let six = read("/proc/self/net/ipv6_route");
    let is_default = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [device, "00000000", ..] => *device != "lo",
            [destination, "00", .., device] => {
                destination.bytes().all(|byte| byte == b'0') && *device != "lo"
            }
            _ => false,
        }
    };
    four.lines().chain(six.lines()).any(is_default)
}

fn become_program(
    network: Network,
    program: &Path,
    outside: i32,
    rootless: bool,
    say: &OwnedFd,
) -> ! {
    let tell = |text: &str| {
        let _ = sys::write_all(say.as_fd(), text.as_bytes());
    };
    match arguments(network, program, outside, rootless, say) {
        Ok(argv) => {
            sys::close_from(3, true);
            let error = match sys::c_string(program) {
                Ok(file) => sys::execute(&file, &argv, &[]),
                Err(error) => error,
            };
            tell(&error.to_string());
        }
        Err(error) => tell(&error.to_string()),
    }
    sys::exit(1)
}

/// Prepares the standard streams and returns the program's arguments.
fn arguments(
    network: Network,
    program: &Path,
    outside: i32,
    rootless: bool,
    say: &OwnedFd,
) -> std::io::Result<Vec<CString>> {
    let null = sys::open("/dev/null".as_ref(), sys::O_RDWR, 0)?;
    sys::dup_onto(null.as_fd(), 0)?;
    sys::dup_onto(null.as_fd(), 1)?;
    sys::dup_onto(say.as_fd(), 2)?;
    let namespace = format!("/proc/{outside}/ns/net");
    let mut words: Vec<String> = vec![program.display().to_string()];
    let mut add = |text: &str| words.extend(text.split(' ').map(str::to_owned));
    match network {
        Network::Slirp4netns => {
            add("--configure --mtu=65520 --disable-host-loopback");
            add(&format!("{outside} tap0"));
        }
        _ => {
            // The step reaches what the host reaches, but not what listens on the host alone.
            add("--config-net --no-map-gw -t none -u none -T none -U none -f -q");
            add(&format!("--dns-forward {}", crate::step::PASTA_NAME_SERVER));
            if rootless {
                add(&format!("--userns /proc/{outside}/ns/user --netns {namespace}"));
            } else {
                // It gives up the right to look at this process before it opens the namespace.
                let namespace = sys::open(namespace.as_ref(), sys::O_RDONLY, 0)?;
                sys::dup_onto(namespace.as_fd(), 0)?;
                add("--netns-only --runas 0:0 --netns /proc/self/fd/0");
            }
        }
    }
    words.into_iter().map(sys::c_string).collect()
}
