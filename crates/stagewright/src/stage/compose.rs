//! Writes stages, and those that they need, as one Dockerfile, behind one that there is already.

use std::collections::{BTreeMap, BTreeSet};

use stagewright_dockerfile::Dockerfile;

use super::definition::{Stage, StageBase};
use super::instruction::{CopySource, Item, Mount};
use super::render;
use super::words::flag_value;
use crate::error::{Error, ErrorKind};
use crate::request::{Secret, SecretValue};

/// How deep stages may lie on one another.
const DEPTH_MAX: usize = 200;

/// Stages as one Dockerfile.
pub(crate) struct Composed {
    /// What follows the Dockerfile that there is.
    pub(crate) text: String,
    /// The index of the stage to build if the request names none, counted from the first stage of
    /// the whole.
    pub(crate) target: Option<usize>,
    /// The indexes of the stages that are named contexts.
    pub(crate) contexts: Vec<(String, usize)>,
    /// The secrets that came with values.
    pub(crate) secrets: Vec<Secret>,
}

/// Writes the stage to build, and those that are named contexts. Nothing if there are none.
/// `taken` are the names of the other named contexts.
pub(crate) fn compose(
    before: Option<&Dockerfile>,
    target: Option<&Stage>,
    contexts: &[(String, Stage)],
    taken: &[String],
) -> Result<Option<Composed>, Error> {
    if target.is_none() && contexts.is_empty() {
        return Ok(None);
    }
    if before.is_some_and(|file| file.directives.escape != '\\') {
        let message = "stages in code cannot be built with a Dockerfile whose escape is not \\";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let stages = before.map_or(&[][..], |file| &file.stages);
    // A context whose stage has the same name needs no second one.
    let of_contexts = contexts
        .iter()
        .filter(|(name, stage)| stage.definition().name.as_ref() != Some(name))
        .map(|(name, _)| name);
    let mut composer = Composer {
        first: stages.len(),
        names: of_contexts
            .chain(taken)
            .chain(stages.iter().filter_map(|stage| stage.name.as_ref()))
            .map(|name| name.to_lowercase())
            .collect(),
        ..Composer::default()
    };
    let contexts = contexts
        .iter()
        .map(|(name, stage)| Ok((name.clone(), composer.add(stage, 0)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let target = target.map(|stage| composer.add(stage, 0)).transpose()?;
    Ok(Some(composer.finish(target, contexts)))
}

/// A stage that is written.
struct Written {
    stage: Stage,
    from: String,
    body: String,
    name: String,
    /// Whether the name has to be written.
    named: bool,
}

#[derive(Default)]
struct Composer {
    /// The index of the first stage that is written here.
    first: usize,
    /// Names that are taken.
    names: BTreeSet<String>,
    written: Vec<Written>,
    secrets: BTreeMap<String, SecretValue>,
}

impl Composer {
    /// Writes a stage behind those that it needs, once, and returns its index among those that are
    /// written here.
    fn add(&mut self, stage: &Stage, depth: usize) -> Result<usize, Error> {
        if let Some(index) = self.written.iter().position(|one| one.stage == *stage) {
            return Ok(index);
        }
        if depth > DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} stages are based on one another");
            return Err(Error::new(ErrorKind::Request, message));
        }
        let definition = stage.definition();
        let mut from = "FROM ".to_owned();
        if let Some(platform) = &definition.platform {
            from += &format!("--platform={} ", flag_value(platform, "platform")?);
        }
        from += &match &definition.base {
            StageBase::Named(name) => flag_value(name, "the base")?.to_owned(),
            StageBase::Stage(base) => self.refer(base, depth)?,
        };
        let mut body = String::new();
        for item in &definition.items {
            self.take_secrets(item)?;
            let mut name_of = |source: &CopySource| match source {
                CopySource::Context => Ok(None),
                CopySource::Named(name) => Ok(Some(name.clone())),
                CopySource::Stage(other) => self.refer(other, depth).map(Some),
            };
            body += &render::instruction(item, &mut name_of)?;
        }
        let index = self.written.len();
        let name = self.name(definition.name.as_deref(), self.first + index)?;
        self.written.push(Written {
            stage: stage.clone(),
            from,
            body,
            name,
            named: definition.name.is_some(),
        });
        Ok(index)
    }

    /// Writes a stage that another one needs, and returns its name.
    fn refer(&mut self, stage: &Stage, depth: usize) -> Result<String, Error> {
        let index = self.add(stage, depth + 1)?;
        self.written[index].named = true;
        Ok(self.written[index].name.clone())
    }

    /// Takes the name that a caller gave, or finds one.
    fn name(&mut self, given: Option<&str>, index: usize) -> Result<String, Error> {
        let Some(name) = given else {
            let mut name = format!("stage-{index}");
            while !self.names.insert(name.clone()) {
                name.push('_');
            }
            return Ok(name);
        };
        let valid = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.chars().all(|character| {
                character.is_ascii_lowercase()
                    || character.is_ascii_digit()
                    || "-_.".contains(character)
            });
        if !valid || name == "scratch" || name == "context" {
            let message = format!("{name:?} is no name for a stage");
            return Err(Error {
                help: Some("use lower case letters, digits, -, _ and .".to_owned()),
                ..Error::new(ErrorKind::Request, message)
            });
        }
        if !self.names.insert(name.to_owned()) {
            let message = format!("two stages or contexts are called {name:?}");
            return Err(Error::new(ErrorKind::Request, message));
        }
        Ok(name.to_owned())
    }

    fn take_secrets(&mut self, item: &Item) -> Result<(), Error> {
        let Item::Run(step) = item else { return Ok(()) };
        for mount in &step.mounts {
            let Mount::Secret {
                id,
                value: Some(value),
                ..
            } = mount
            else {
                continue;
            };
            match self.secrets.get(id) {
                Some(other) if other != value => {
                    let message = format!("the secret {id:?} has two values");
                    return Err(Error::new(ErrorKind::Request, message));
                }
                _ => self.secrets.insert(id.clone(), value.clone()),
            };
        }
        Ok(())
    }

    fn finish(self, target: Option<usize>, contexts: Vec<(String, usize)>) -> Composed {
        let blocks: Vec<String> = self
            .written
            .iter()
            .map(|written| {
                let name = if written.named {
                    format!(" AS {}", written.name)
                } else {
                    String::new()
                };
                format!("{}{name}\n{}", written.from, written.body)
            })
            .collect();
        let first = self.first;
        let secret = |(id, value)| Secret { id, value };
        Composed {
            text: blocks.join("\n"),
            // The last stage of the Dockerfile is the last one no more.
            target: match target {
                Some(index) => Some(first + index),
                None => first.checked_sub(1),
            },
            contexts: contexts
                .into_iter()
                .map(|(name, index)| (name, first + index))
                .collect(),
            secrets: self.secrets.into_iter().map(secret).collect(),
        }
    }
}
