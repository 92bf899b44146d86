//! `RUN`.

use std::collections::VecDeque;

use stagewright_digest::LayerId;
use stagewright_exec::{CancelHandle, Exit, Network, Security, Step, Stream, User};
use stagewright_oci::Platform;
use stagewright_plan::{ExecOp, NetworkMode, SecurityMode};
use stagewright_snapshot::StepRoot;

use crate::action;
use crate::error::StepError;
use crate::event::LogStream;
use crate::file_step;
use crate::run_mounts;
use crate::services::Services;
use crate::vertex::VertexResult;

/// How many of a step's last lines an error carries.
const TAIL_LINES: usize = 20;
/// A line longer than this is cut in an error.
const TAIL_LINE_BYTES: usize = 4096;
/// As in BuildKit, so that programs that look at it behave as they do there.
const HOSTNAME: &str = "buildkitsandbox";
/// Docker's default.
const SHM_BYTES: u64 = 64 << 20;

/// Runs a step and returns the layer that it made, if it changed anything. `named` finds the
/// digest of the layer's tar as well.
pub(crate) fn run(
    services: &Services,
    op: &ExecOp,
    inputs: &[VertexResult],
    event: u64,
    named: bool,
) -> Result<Option<LayerId>, StepError> {
    if op.network == NetworkMode::Host {
        services.require("network.host")?;
    }
    if op.security == SecurityMode::Insecure {
        services.require("security.insecure")?;
    }
    check_platform(op)?;
    // Before anything is unpacked: a host that can run no steps says so, rather than what failed.
    let sandbox = services.sandbox.get()?;
    services.tell_mode(sandbox.report());
    let parent = action::parent(inputs)?;
    let tree = services.tree(parent, event)?;
    let account = file_step::accounts(&tree)?.user(&op.user)?;
    let mounts = run_mounts::prepare(services, op, inputs, event)?;
    let prepared = StepRoot::prepare(&services.snapshots, &parent.layers, sandbox.copies())?;
    let mut env = op.env.clone();
    env.extend(op.env_unkeyed.clone());
    env.extend(mounts.env.clone());
    if let Some(socket) = &mounts.ssh_auth_sock {
        env.entry("SSH_AUTH_SOCK".to_owned())
            .or_insert_with(|| socket.clone());
    }
    env.entry("HOME".to_owned())
        .or_insert_with(|| account.home.clone());
    let limits = &services.options.limits;
    let step = Step {
        env: env
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        cwd: op.cwd.clone().into(),
        user: User {
            uid: account.uid,
            gid: account.gid,
            groups: account.groups,
        },
        hostname: op.hostname.clone().unwrap_or_else(|| HOSTNAME.to_owned()),
        mounts: mounts.mounts,
        network: match op.network {
            NetworkMode::Default => services.options.network,
            NetworkMode::Host => Network::Host,
            NetworkMode::None => Network::None,
        },
        security: match op.security {
            SecurityMode::Sandbox => Security::Sandbox,
            SecurityMode::Insecure => Security::Insecure,
        },
        ulimits: limits.ulimits.clone(),
        shm_bytes: limits.shm_bytes.unwrap_or(SHM_BYTES),
        extra_hosts: limits.extra_hosts.clone(),
        timeout: limits.timeout,
        cgroup_parent: limits.cgroup_parent.clone(),
        limits: limits.cgroup.clone(),
        ..Step::new(prepared.root_fs(), op.argv.iter().map(Into::into).collect())
    };
    let tail = execute(services, &step, event)?;
    // The mounts' directories and locks are needed until here.
    drop(mounts.leases);
    check_exit(op, tail)?;
    Ok(prepared.commit(&services.snapshots, named)?)
}

/// Programs of another architecture are not run: the error would be that of the first that the
/// kernel does not take.
fn check_platform(op: &ExecOp) -> Result<(), StepError> {
    let host = Platform::host();
    if host
        .candidates()
        .iter()
        .any(|runs| runs.os == op.platform.os && runs.architecture == op.platform.architecture)
    {
        return Ok(());
    }
    Err(StepError::Unsupported(format!(
        "steps of {} cannot be run on {host}: run them in a stage that is FROM --platform=$BUILDPLATFORM and copy from it",
        op.platform
    )))
}

struct Ended {
    exit: Exit,
    tail: Tail,
}

fn execute(services: &Services, step: &Step, event: u64) -> Result<Ended, StepError> {
    let cancel = CancelHandle::new()?;
    let mut tail = Tail::default();
    let watch = {
        let (token, handle) = (services.cancel.clone(), cancel.clone());
        services.runtime.spawn(async move {
            token.cancelled().await;
            handle.cancel();
        })
    };
    let mut output = |stream: Stream, bytes: &[u8]| {
        tail.add(bytes);
        let stream = match stream {
            Stream::Stdout => LogStream::Stdout,
            Stream::Stderr => LogStream::Stderr,
        };
        services.reporter.log(event, stream, bytes);
    };
    let exit = services.sandbox.get()?.run(step, &mut output, &cancel);
    watch.abort();
    if services.cancel.is_cancelled() {
        return Err(StepError::Cancelled);
    }
    Ok(Ended { exit: exit?, tail })
}

fn check_exit(op: &ExecOp, ended: Ended) -> Result<(), StepError> {
    let command = op.argv.join(" ");
    let log_tail = ended.tail.lines();
    match ended.exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(code) => Err(StepError::Exit {
            command,
            code,
            log_tail,
        }),
        Exit::Signal(signal) => Err(StepError::Signal {
            command,
            signal,
            log_tail,
        }),
    }
}

/// The last lines of what a step wrote.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<Vec<u8>>,
    /// The last line has not ended yet.
    open: bool,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.open {
                self.lines.push_back(Vec::new());
                if self.lines.len() > TAIL_LINES {
                    self.lines.pop_front();
                }
            }
            let ended = piece.ends_with(b"\n");
            if let Some(line) = self.lines.back_mut() {
                let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                let room = TAIL_LINE_BYTES.saturating_sub(line.len());
                line.extend_from_slice(&text[..text.len().min(room)]);
            }
            self.open = !ended;
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines
            .iter()
            .map(|line| {
                String::from_utf8_lossy(line)
                    .trim_end_matches('\r')
                    .to_owned()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_keeps_whole_last_lines_however_they_come() {
        let mut tail = Tail::default();
        for number in 0..TAIL_LINES {
            tail.add(format!("line {number}\r\n").as_bytes());
        }
        tail.add(b"the l");
        tail.add(b"ast\nno end");
        let lines = tail.lines();
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines[0], "line 2");
        assert_eq!(lines[TAIL_LINES - 2..], ["the last", "no end"]);
    }
}
