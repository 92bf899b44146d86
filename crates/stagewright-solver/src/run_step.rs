//! `RUN`.

use stagewright_digest::LayerId;
use stagewright_exec::{
    CancelHandle, ExecError, Exit, Network, Security, Step, Stream, User, emulator,
};
use stagewright_oci::Platform;
use stagewright_plan::{ExecOp, NetworkMode, SecurityMode};
use stagewright_snapshot::StepRoot;

use crate::action;
use crate::error::StepError;
use crate::event::LogStream;
use crate::failed_step::FailedStep;
use crate::file_step;
use crate::run_mounts;
use crate::services::Services;
use crate::step_log::{Clip, Tail};
use crate::vertex::VertexResult;

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
    let prepared = StepRoot::prepare(&services.snapshots, &parent.layers, sandbox.stacking())?;
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
        resolv_conf: limits.resolv_conf.clone(),
        timeout: limits.timeout,
        cgroup_parent: limits.cgroup_parent.clone(),
        limits: limits.cgroup.clone(),
        ..Step::new(prepared.root_fs(), op.argv.iter().map(Into::into).collect())
    };
    let ended = execute(services, &step, event).and_then(|ended| check_exit(op, ended));
    if let Err(error) = ended {
        let ran = is_of_the_program(&error);
        if ran || matches!(error, StepError::Exec(ExecError::Setup { .. })) {
            services.note_room();
        }
        if let Some(place) = &services.failed
            && ran
        {
            let failed = FailedStep::new(services, op, step, prepared, mounts.leases);
            place.put(failed);
        }
        return Err(error);
    }
    // The mounts' directories and locks are needed until here.
    drop(mounts.leases);
    Ok(prepared.commit(&services.snapshots, named)?)
}

/// Programs of another processor need an emulator: without this, the error would be that of the first
/// program that the kernel does not take.
fn check_platform(op: &ExecOp) -> Result<(), StepError> {
    let host = Platform::host();
    if host
        .candidates()
        .iter()
        .any(|runs| runs.os == op.platform.os && runs.architecture == op.platform.architecture)
    {
        return Ok(());
    }
    let reason = match emulator(&op.platform.architecture) {
        Ok(_) if op.platform.os == host.os => return Ok(()),
        Ok(_) => "only Linux is".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(StepError::Unsupported(format!(
        "steps of {} cannot be run on {host}: {reason}; or run them in a stage that is FROM --platform=$BUILDPLATFORM and copy from it",
        op.platform
    )))
}

/// Tells a step that ran and failed from one that was not run, or stopped from outside.
fn is_of_the_program(error: &StepError) -> bool {
    matches!(
        error,
        StepError::Exit { .. }
            | StepError::Signal { .. }
            | StepError::Exec(ExecError::Start { .. } | ExecError::TimedOut(_))
    )
}

struct Ended {
    exit: Exit,
    tail: Tail,
}

fn execute(services: &Services, step: &Step, event: u64) -> Result<Ended, StepError> {
    let cancel = CancelHandle::new()?;
    let mut tail = Tail::default();
    let mut clip = Clip::new(services.options.limits.log_bytes);
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
        for shown in clip.shown(bytes).into_iter().flatten() {
            let stream = if shown.is_ours {
                LogStream::Stderr
            } else {
                stream
            };
            services.reporter.log(event, stream, &shown.bytes);
        }
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
