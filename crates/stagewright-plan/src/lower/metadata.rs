//! Instructions that change the image config only.

use stagewright_dockerfile::{Command, Healthcheck, Instruction, Span, check_signal, expand_ports};
use stagewright_oci as oci;

use super::image_config::{quoted_list, set_env};
use super::stage::StageState;
use crate::error::LowerError;

impl StageState<'_, '_> {
    /// Applies an instruction that makes no vertex. Returns its line of the history, if it has one.
    pub(crate) fn metadata(
        &mut self,
        instruction: &Instruction,
        span: Span,
    ) -> Result<Option<String>, LowerError> {
        let line = match instruction {
            Instruction::Env(env) => {
                let mut line = "ENV".to_owned();
                // All values of one line see the variables as they were before it.
                let mut pairs = Vec::new();
                for pair in &env.pairs {
                    pairs.push((
                        self.expand(&pair.key, span)?,
                        self.expand(&pair.value, span)?,
                    ));
                }
                for (name, value) in pairs {
                    line += &format!(" {name}={value}");
                    set_env(&mut self.end.config.config.env, &name, &value);
                    self.end.env.insert(name, value);
                }
                line
            }
            Instruction::Label(label) => {
                let mut line = "LABEL".to_owned();
                for pair in &label.pairs {
                    let (key, value) = (
                        self.expand(&pair.key, span)?,
                        self.expand(&pair.value, span)?,
                    );
                    line += &format!(" {key}={value}");
                    self.end.config.config.labels.insert(key, value);
                }
                line
            }
            Instruction::Maintainer(maintainer) => {
                self.end.config.author = Some(maintainer.name.clone());
                format!("MAINTAINER {}", maintainer.name)
            }
            Instruction::Cmd(cmd) => {
                let words = self.with_shell(&cmd.command);
                let line = format!("CMD {}", quoted_list(&words));
                self.end.config.config.cmd = Some(words);
                self.end.config.config.args_escaped = true;
                self.cmd_set = true;
                line
            }
            Instruction::Entrypoint(entrypoint) => {
                let words = self.with_shell(&entrypoint.command);
                let line = format!("ENTRYPOINT {}", quoted_list(&words));
                self.end.config.config.entrypoint = Some(words);
                if !self.cmd_set {
                    self.end.config.config.cmd = None;
                }
                line
            }
            Instruction::Shell(shell) => {
                self.end.config.config.shell = Some(shell.words.clone());
                format!("SHELL [{}]", shell.words.join(" "))
            }
            Instruction::User(user) => {
                let user = self.expand(&user.user, span)?;
                self.end.config.config.user.clone_from(&user);
                format!("USER {user}")
            }
            Instruction::Expose(expose) => {
                // A variable may hold several ports, or none.
                let expanded = self.expand_all(&expose.ports, span)?.join(" ");
                let words: Vec<String> = expanded.split_whitespace().map(str::to_owned).collect();
                let ports =
                    expand_ports(&words).map_err(|message| LowerError::at(span, message))?;
                self.end
                    .config
                    .config
                    .exposed_ports
                    .extend(ports.iter().cloned());
                format!("EXPOSE [{}]", ports.join(" "))
            }
            Instruction::Volume(volume) => {
                let volumes = self.expand_all(&volume.paths, span)?;
                if volumes.iter().any(String::is_empty) {
                    return Err(LowerError::at(
                        span,
                        "VOLUME specified can not be an empty string",
                    ));
                }
                let line = format!("VOLUME [{}]", volumes.join(" "));
                self.end.config.config.volumes.extend(volumes);
                line
            }
            Instruction::Stopsignal(stopsignal) => {
                let signal = self.expand(&stopsignal.signal, span)?;
                check_signal(&signal).map_err(|message| LowerError::at(span, message))?;
                let line = format!("STOPSIGNAL {signal}");
                self.end.config.config.stop_signal = Some(signal);
                line
            }
            Instruction::Healthcheck(healthcheck) => {
                let check = health_config(healthcheck);
                let line = format!("HEALTHCHECK {}", quoted_list(&check.test));
                self.end.config.config.healthcheck = Some(check);
                line
            }
            Instruction::Onbuild(onbuild) => {
                self.end
                    .config
                    .config
                    .on_build
                    .push(onbuild.trigger.clone());
                return Ok(None);
            }
            // These make vertices, or change what is in scope: see the stage.
            Instruction::Add(_)
            | Instruction::Arg(_)
            | Instruction::Copy(_)
            | Instruction::Run(_)
            | Instruction::Workdir(_) => return Ok(None),
        };
        Ok(Some(line))
    }
}

/// A command in shell form is run with the image's shell when the check runs, not now.
fn health_config(healthcheck: &Healthcheck) -> oci::Healthcheck {
    let test = match &healthcheck.command {
        None => vec!["NONE".to_owned()],
        Some(Command::Shell(text)) => vec!["CMD-SHELL".to_owned(), text.clone()],
        Some(Command::Exec(words)) => std::iter::once("CMD".to_owned())
            .chain(words.iter().cloned())
            .collect(),
    };
    oci::Healthcheck {
        test,
        interval: healthcheck.interval_ns,
        timeout: healthcheck.timeout_ns,
        start_period: healthcheck.start_period_ns,
        start_interval: healthcheck.start_interval_ns,
        retries: healthcheck.retries,
    }
}
