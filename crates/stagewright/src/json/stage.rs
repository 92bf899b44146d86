//! Stages in JSON.

use serde::Deserialize;

use super::request::{NetworkJson, SecretJson, pick};
use crate::error::Error;
use crate::stage::{CommandLine, CopySource, CopyStep, Mount, RunStep, Stage};

/// A [`Stage`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StageJson {
    base: Named,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    platform: Option<String>,
    #[serde(default)]
    steps: Vec<StepJson>,
}

/// A name, or a stage before this one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Name(String),
    Stage { stage: usize },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CommandJson {
    Shell(String),
    Exec(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StepJson {
    Run {
        command: CommandJson,
        #[serde(default)]
        mounts: Vec<MountJson>,
        #[serde(default)]
        network: Option<NetworkJson>,
    },
    Copy {
        sources: Vec<String>,
        dest: String,
        #[serde(default)]
        from: Option<Named>,
        #[serde(default)]
        chown: Option<String>,
        #[serde(default)]
        chmod: Option<String>,
        #[serde(default)]
        link: bool,
        #[serde(default)]
        parents: bool,
        #[serde(default)]
        exclude: Vec<String>,
    },
    Workdir(String),
    Env(String, String),
    Arg(String, Option<String>),
    Label(String, String),
    User(String),
    Expose(String),
    Volume(String),
    StopSignal(String),
    Shell(Vec<String>),
    Cmd(CommandJson),
    Entrypoint(CommandJson),
    Instruction(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum MountJson {
    Cache {
        target: String,
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        sharing: Option<String>,
    },
    Bind {
        target: String,
        #[serde(default)]
        from: Option<Named>,
        #[serde(default)]
        source: Option<String>,
        #[serde(default)]
        writable: bool,
    },
    Tmpfs {
        target: String,
        #[serde(default)]
        size_bytes: Option<u64>,
    },
    Secret {
        id: String,
        #[serde(default)]
        target: Option<String>,
        #[serde(default)]
        env: Option<String>,
        #[serde(default)]
        value: Option<SecretJson>,
    },
}

/// Makes the stages, each of which may name those before it.
pub(super) fn stages(described: Vec<StageJson>) -> Result<Vec<Stage>, Error> {
    let mut stages: Vec<Stage> = Vec::new();
    for json in described {
        let mut stage = match json.base {
            Named::Name(name) => Stage::from(name),
            Named::Stage { stage } => Stage::from(pick(&stages, stage)?),
        };
        if let Some(name) = json.name {
            stage = stage.named(name);
        }
        if let Some(platform) = json.platform {
            stage = stage.platform(platform);
        }
        for step in json.steps {
            stage = add(stage, step, &stages)?;
        }
        stages.push(stage);
    }
    Ok(stages)
}

fn add(stage: Stage, step: StepJson, stages: &[Stage]) -> Result<Stage, Error> {
    Ok(match step {
        StepJson::Run {
            command,
            mounts,
            network,
        } => {
            let mut step = RunStep::of(command.into());
            step.network = network.map(Into::into);
            for json in mounts {
                step = step.mount(mount(json, stages)?);
            }
            stage.run_with(step)
        }
        StepJson::Copy {
            sources,
            dest,
            from,
            chown,
            chmod,
            link,
            parents,
            exclude,
        } => stage.copy_with(CopyStep {
            from: source(from, stages)?,
            sources,
            dest,
            chown,
            chmod,
            link,
            parents,
            exclude,
        }),
        StepJson::Workdir(path) => stage.workdir(path),
        StepJson::Env(name, value) => stage.env(name, value),
        StepJson::Arg(name, default) => stage.arg(name, default),
        StepJson::Label(name, value) => stage.label(name, value),
        StepJson::User(user) => stage.user(user),
        StepJson::Expose(port) => stage.expose(port),
        StepJson::Volume(path) => stage.volume(path),
        StepJson::StopSignal(signal) => stage.stop_signal(signal),
        StepJson::Shell(argv) => stage.shell(argv),
        StepJson::Cmd(command) => stage.cmd(command),
        StepJson::Entrypoint(command) => stage.entrypoint(command),
        StepJson::Instruction(text) => stage.instruction(text),
    })
}

impl From<CommandJson> for CommandLine {
    fn from(command: CommandJson) -> Self {
        match command {
            CommandJson::Shell(text) => Self::Shell(text),
            CommandJson::Exec(argv) => Self::Exec(argv),
        }
    }
}

fn source(from: Option<Named>, stages: &[Stage]) -> Result<CopySource, Error> {
    Ok(match from {
        None => CopySource::Context,
        Some(Named::Name(name)) => CopySource::Named(name),
        Some(Named::Stage { stage }) => CopySource::Stage(pick(stages, stage)?),
    })
}

fn mount(json: MountJson, stages: &[Stage]) -> Result<Mount, Error> {
    Ok(match json {
        MountJson::Cache {
            target,
            id,
            sharing,
        } => Mount::Cache {
            target,
            id,
            sharing,
        },
        MountJson::Bind {
            target,
            from,
            source: path,
            writable,
        } => Mount::Bind {
            target,
            from: source(from, stages)?,
            source: path,
            writable,
        },
        MountJson::Tmpfs { target, size_bytes } => Mount::Tmpfs { target, size_bytes },
        MountJson::Secret {
            id,
            target,
            env,
            value,
        } => Mount::Secret {
            id,
            target,
            env,
            value: value.map(Into::into),
        },
    })
}
