//! Which stage is which, and which of them a target needs.

use std::collections::{BTreeMap, BTreeSet};

use stagewright_dockerfile::{Dockerfile, Instruction, Span, Stage, did_you_mean};

use super::args::Variables;
use super::words::Words;
use crate::error::LowerError;
use crate::op::SourceOp;
use crate::request::{LowerOptions, NamedSource};

/// What a `FROM`, a `--from` or a mount's `from=` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nothing: `scratch`.
    Scratch,
    /// An earlier stage, by its index.
    Stage(usize),
    /// A named context of files.
    Files(String),
    /// An image, by reference.
    Image(String),
    /// A named context of files from the network.
    Remote {
        /// Its name.
        name: String,
        /// What it is.
        op: Box<SourceOp>,
    },
}

/// The stages of a Dockerfile and their names.
pub(crate) struct Stages<'a> {
    pub(crate) dockerfile: &'a Dockerfile,
    options: &'a LowerOptions,
    /// The expanded image of each stage's `FROM`.
    images: Vec<String>,
}

impl<'a> Stages<'a> {
    /// Expands every `FROM` with the global arguments.
    pub(crate) fn new(
        dockerfile: &'a Dockerfile,
        options: &'a LowerOptions,
        words: &Words,
        globals: &Variables,
    ) -> Result<Self, LowerError> {
        let mut images = Vec::new();
        for stage in &dockerfile.stages {
            let image = words.expand(&stage.from.image, globals, stage.span)?;
            if image.is_empty() {
                let message = format!("base name ({}) should not be blank", stage.from.image);
                let declared = || {
                    let args = dockerfile
                        .global_args
                        .iter()
                        .flat_map(|args| &args.instruction.args);
                    args.map(|arg| arg.name.as_str())
                };
                let help = words
                    .unset(&stage.from.image, globals)
                    .iter()
                    .filter(|name| !declared().any(|known| known == *name))
                    .map(|name| {
                        let near = did_you_mean(name, declared());
                        near.unwrap_or_else(|| format!("write ARG {name} above the first FROM"))
                    })
                    .next();
                return Err(LowerError::at(stage.span, message).help(help.unwrap_or_else(|| {
                    "give the ARG that it uses a default before the first FROM, or a value with --build-arg".to_owned()
                })));
            }
            // A wrong one is an error on scratch and in a stage that is not built too.
            words.platform(stage, globals)?;
            images.push(image);
        }
        Ok(Self {
            dockerfile,
            options,
            images,
        })
    }

    /// Returns a stage.
    pub(crate) fn stage(&self, index: usize) -> &'a Stage {
        &self.dockerfile.stages[index]
    }

    /// Returns what a stage is called in messages: its name, or `stage-N`.
    pub(crate) fn shown(&self, index: usize) -> String {
        self.stage(index)
            .name
            .clone()
            .unwrap_or_else(|| format!("stage-{index}"))
    }

    /// Finds the target: by name, by index, or the last stage.
    pub(crate) fn target(&self) -> Result<usize, LowerError> {
        let last = self.dockerfile.stages.len() - 1;
        let Some(target) = &self.options.target else {
            return Ok(last);
        };
        if let Some(index) = self.by_name(target, self.dockerfile.stages.len()) {
            return Ok(index);
        }
        match target.parse::<usize>() {
            Ok(index) if index <= last => Ok(index),
            _ => {
                let names: Vec<String> = (0..=last).map(|index| self.shown(index)).collect();
                let stages = format!("the stages are {}", names.join(", "));
                let help = match did_you_mean(target, names.iter().map(String::as_str)) {
                    Some(near) => format!("{near} {stages}"),
                    None => stages,
                };
                let message = format!("target stage {target:?} could not be found");
                Err(LowerError::request(message).help(help))
            }
        }
    }

    /// Says what the `FROM` of a stage starts from.
    pub(crate) fn base(&self, index: usize) -> Source {
        let image = &self.images[index];
        if let Some(source) = self.named(image) {
            return source;
        }
        if image.eq_ignore_ascii_case("scratch") && image == "scratch" {
            return Source::Scratch;
        }
        match self.by_name(image, index) {
            Some(stage) => Source::Stage(stage),
            None => Source::Image(image.clone()),
        }
    }

    /// Says what `--from` or `from=` in a stage means. Only `COPY --from` takes an index.
    pub(crate) fn from(
        &self,
        from: &str,
        in_stage: usize,
        takes_index: bool,
        span: Span,
    ) -> Result<Source, LowerError> {
        if from.contains('$') {
            let message = "variable expansion is not supported for --from";
            return Err(LowerError::at(span, message).help(
                "define a new stage with FROM using an ARG from the global scope, and copy from it",
            ));
        }
        if takes_index && let Ok(index) = from.parse::<usize>() {
            return self.by_index(index, in_stage, span);
        }
        if let Some(source) = self.named(from) {
            return Ok(source);
        }
        if let Some(stage) = self.by_name(from, in_stage) {
            return Ok(Source::Stage(stage));
        }
        if self.by_name(from, self.dockerfile.stages.len()).is_some() {
            let message = format!(
                "cannot copy from stage {from:?}: it needs to be defined before stage {:?}",
                self.shown(in_stage)
            );
            return Err(LowerError::at(span, message));
        }
        if from == "scratch" {
            return Ok(Source::Scratch);
        }
        Ok(Source::Image(from.to_owned()))
    }

    fn by_index(&self, index: usize, in_stage: usize, span: Span) -> Result<Source, LowerError> {
        if index < in_stage {
            return Ok(Source::Stage(index));
        }
        let message = if index >= self.dockerfile.stages.len() {
            format!("invalid stage index {index}: there are {in_stage} stages before this one")
        } else {
            format!("cannot copy from stage {index}: it needs to be defined before this one")
        };
        Err(LowerError::at(span, message))
    }

    /// A named context takes the place of a stage or an image of its name.
    fn named(&self, name: &str) -> Option<Source> {
        if name == "scratch" || name == "context" {
            return None;
        }
        let found = self.options.named.get(name).or_else(|| {
            let (_, found) = self
                .options
                .named
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            Some(found)
        })?;
        Some(match found {
            NamedSource::Files => Source::Files(name.to_lowercase()),
            NamedSource::Image(reference) if reference == "scratch" => Source::Scratch,
            NamedSource::Image(reference) => Source::Image(reference.clone()),
            NamedSource::Remote(op) => Source::Remote {
                name: name.to_lowercase(),
                op: Box::new(op.clone()),
            },
            NamedSource::Stage(index) => Source::Stage(*index),
        })
    }

    /// Finds the last stage of a name among the first `before` stages.
    fn by_name(&self, name: &str, before: usize) -> Option<usize> {
        self.dockerfile.stages[..before].iter().rposition(|stage| {
            stage
                .name
                .as_deref()
                .is_some_and(|own| own.eq_ignore_ascii_case(name))
        })
    }

    /// Returns the stages that a stage needs, itself among them: that of its own `FROM`, of its
    /// `--from`s and mounts, and everything that those need. Each comes after those that it needs,
    /// otherwise they are in the order of the Dockerfile.
    pub(crate) fn reachable(
        &self,
        target: usize,
        triggers: &BTreeMap<usize, Vec<Instruction>>,
    ) -> Result<Vec<usize>, LowerError> {
        let mut needed: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let mut todo = vec![target];
        while let Some(index) = todo.pop() {
            if needed.contains_key(&index) {
                continue;
            }
            let base = std::iter::once(self.base(index));
            let sources = self.sources_of(index, triggers)?;
            let needs: BTreeSet<usize> = base
                .chain(sources.into_iter().map(|(source, _)| source))
                .filter_map(|source| match source {
                    Source::Stage(stage) => Some(stage),
                    _ => None,
                })
                .collect();
            todo.extend(&needs);
            needed.insert(index, needs);
        }
        self.in_order(needed)
    }

    /// Sorts stages behind those that they need. Only named contexts that are stages can stand
    /// after what needs them, and only they can make a circle.
    fn in_order(
        &self,
        mut needed: BTreeMap<usize, BTreeSet<usize>>,
    ) -> Result<Vec<usize>, LowerError> {
        let mut order = Vec::with_capacity(needed.len());
        while let Some(&first) = needed.keys().next() {
            let ready = needed
                .iter()
                .find(|(_, needs)| !needs.iter().any(|stage| needed.contains_key(stage)))
                .map(|(index, _)| *index);
            let Some(index) = ready else {
                let names: Vec<String> = needed.keys().map(|index| self.shown(*index)).collect();
                let message = format!("the stages {} need each other", names.join(", "));
                return Err(LowerError::at(self.stage(first).span, message));
            };
            needed.remove(&index);
            order.push(index);
        }
        Ok(order)
    }
}

impl Stages<'_> {
    /// Returns what the instructions of a stage, and the triggers that run before them, read from:
    /// `--from` of copies and `from=` of mounts.
    pub(crate) fn sources_of(
        &self,
        index: usize,
        triggers: &BTreeMap<usize, Vec<Instruction>>,
    ) -> Result<Vec<(Source, Span)>, LowerError> {
        let stage = self.stage(index);
        let own = stage
            .instructions
            .iter()
            .map(|spanned| (&spanned.instruction, spanned.span));
        let before = triggers
            .get(&index)
            .into_iter()
            .flatten()
            .map(|trigger| (trigger, stage.span));
        let mut sources = Vec::new();
        for (instruction, span) in before.chain(own) {
            match instruction {
                Instruction::Copy(copy) => {
                    if let Some(from) = &copy.from {
                        sources.push((self.from(from, index, true, span)?, span));
                    }
                }
                Instruction::Run(run) => {
                    for from in super::run::mount_sources(run) {
                        sources.push((self.from(&from, index, false, span)?, span));
                    }
                }
                _ => {}
            }
        }
        Ok(sources)
    }
}
