//! Lowers one stage.

use stagewright_digest::Digest;
use stagewright_dockerfile::{Arg, Command, Instruction, Span};
use stagewright_oci::{ImageConfig, Platform};

use super::args::{Variables, is_builder_switch, platform_args, proxy_variables};
use super::image_config::{PATH_DEFAULT, env_pairs};
use super::stages::Source;
use super::{Lowering, copy, paths, run};
use crate::error::LowerError;
use crate::graph::{Input, Vertex, VertexId};
use crate::image::HistoryItem;
use crate::op::{FileOp, MkdirOp, Op, SourceOp};

/// What a stage ends with: what a later stage, or the image, starts from.
#[derive(Debug, Clone)]
pub(crate) struct StageEnd {
    pub(crate) root: VertexId,
    /// The image that it lies on, or that of the stages below it.
    pub(crate) base: VertexId,
    pub(crate) config: ImageConfig,
    pub(crate) platform: Platform,
    pub(crate) history: Vec<HistoryItem>,
    /// The environment of steps: the image's, and the arguments that were declared.
    pub(crate) env: Variables,
    /// Declared arguments in order, for the history of `RUN`.
    pub(crate) args: Vec<String>,
    /// The arguments that steer the builder, and are no environment of steps.
    pub(crate) switches: Variables,
}

/// A stage while its instructions are taken one by one.
pub(crate) struct StageState<'l, 'a> {
    pub(crate) lowering: &'l mut Lowering<'a>,
    pub(crate) index: usize,
    pub(crate) end: StageEnd,
    /// What `--platform`, `TARGETPLATFORM`… are here.
    predefined: Variables,
    /// The number of the step in the stage, for its name, and how many there will be.
    step: usize,
    steps: usize,
    no_cache: bool,
    pub(crate) cmd_set: bool,
    is_trigger: bool,
    /// Numbers the vertices of the stage, for their places.
    ordinal: usize,
}

/// Lowers a stage whose base and sources are lowered.
pub(crate) fn lower_stage(
    lowering: &mut Lowering<'_>,
    index: usize,
) -> Result<StageEnd, LowerError> {
    let dockerfile = lowering.stages.dockerfile;
    let stage = &dockerfile.stages[index];
    let triggers = lowering.triggers.get(&index).cloned().unwrap_or_default();
    let has_from_step = matches!(lowering.stages.base(index), Source::Image(_));
    let own = stage
        .instructions
        .iter()
        .map(|spanned| &spanned.instruction);
    let steps = usize::from(has_from_step) + triggers.iter().chain(own).filter(makes_layer).count();
    let no_cache = lowering.options.no_cache
        || lowering.options.no_cache_stages.iter().any(|name| {
            stage
                .name
                .as_deref()
                .is_some_and(|own| own.eq_ignore_ascii_case(name))
                || *name == index.to_string()
        });
    let predefined = platform_args(lowering.options, dockerfile);
    let mut state = StageState {
        end: StageEnd {
            root: VertexId(0),
            base: VertexId(0),
            config: ImageConfig::default(),
            platform: lowering.options.platform.clone(),
            history: Vec::new(),
            env: Variables::new(),
            args: Vec::new(),
            switches: Variables::new(),
        },
        lowering,
        index,
        predefined,
        step: 0,
        steps,
        no_cache,
        cmd_set: false,
        is_trigger: false,
        ordinal: 0,
    };
    state.start(stage.span)?;
    // One that stands before the first `FROM` is meant for each stage.
    let globals = state.lowering.globals.iter();
    let switches = globals.filter(|(name, _)| is_builder_switch(name));
    let switches = switches.map(|(name, value)| (name.clone(), value.clone()));
    state.end.switches.extend(switches);
    state.is_trigger = true;
    for trigger in &triggers {
        state.instruction(trigger, stage.span)?;
    }
    state.is_trigger = false;
    for spanned in &stage.instructions {
        state.instruction(&spanned.instruction, spanned.span)?;
    }
    state.finish()
}

/// Says whether an instruction is a numbered step.
fn makes_layer(instruction: &&Instruction) -> bool {
    matches!(
        instruction,
        Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) | Instruction::Workdir(_)
    )
}

/// Returns the text that a vertex is shown with: its instruction on one line.
pub fn source_text(text: &str) -> String {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default().to_uppercase();
    words.fold(first, |line, word| line + " " + word)
}

impl StageState<'_, '_> {
    /// Begins the stage with what its `FROM` names.
    fn start(&mut self, span: Span) -> Result<(), LowerError> {
        match self.lowering.stages.base(self.index) {
            Source::Stage(base) => {
                self.end = self.lowering.ends[&base].clone();
                self.end.config.config.on_build.clear();
                self.forget_labels();
                return Ok(());
            }
            Source::Scratch => {
                self.end.config = ImageConfig::for_platform(&self.end.platform);
                self.end.config.config.working_dir = "/".to_owned();
                self.end.root = self.source(SourceOp::Scratch, "FROM scratch".to_owned(), span);
            }
            Source::Files(name) | Source::Remote { name, .. } => {
                let message = format!("FROM names the context {name:?}, which is files");
                return Err(LowerError::at(span, message).help("name an image for it instead"));
            }
            Source::Image(reference) => self.start_from_image(&reference, span)?,
        }
        self.end.base = self.end.root;
        let config = &mut self.end.config.config;
        if !env_pairs(&config.env).any(|(name, _)| name == "PATH") {
            config.env.insert(0, format!("PATH={PATH_DEFAULT}"));
        }
        self.end.env.clear();
        self.end.env.extend(env_pairs(&config.env));
        Ok(())
    }

    fn start_from_image(&mut self, reference: &str, span: Span) -> Result<(), LowerError> {
        let (root, config, platform) = self.image(reference, span, true)?;
        self.end.root = root;
        self.end.config = config;
        self.end.config.config.on_build.clear();
        self.end.platform = platform;
        self.forget_labels();
        Ok(())
    }

    /// As in Buildah, what a stage starts from may be a stage.
    fn forget_labels(&mut self) {
        if self.lowering.options.unset.inherited_labels {
            self.end.config.config.labels.clear();
        }
    }

    /// Adds the vertex of an image.
    pub(crate) fn image(
        &mut self,
        reference: &str,
        span: Span,
        is_base: bool,
    ) -> Result<(VertexId, ImageConfig, Platform), LowerError> {
        let need = self.lowering.need(self.index, reference)?;
        let Some(image) = self.lowering.known.get(&need) else {
            let message = format!("the image {reference} was not resolved");
            return Err(LowerError::at(span, message));
        };
        let (name, config) = (image.name.clone(), image.config.clone());
        let shown = shown_image(&name, image.manifest.as_ref());
        let op = SourceOp::Image {
            reference: reference.to_owned(),
            platform: need.platform.clone(),
            manifest: image.manifest,
            layers: image.layers.clone(),
        };
        let text = format!("FROM {shown}");
        let name = if is_base { self.step_name(&text) } else { text };
        Ok((self.source(op, name, span), config, need.platform))
    }

    /// Adds the vertex of a source.
    pub(crate) fn source(&mut self, op: SourceOp, name: String, span: Span) -> VertexId {
        // An image with no layers is an empty root file system.
        let op = match op {
            SourceOp::Image { layers, .. } if layers.is_empty() => SourceOp::Scratch,
            op => op,
        };
        self.lowering.vertices.add(Vertex {
            op: Op::Source(op),
            inputs: Vec::new(),
            name,
            stage: self.lowering.stages.shown(self.index),
            span: Some(span),
            place: String::new(),
            mounted: false,
            in_image: false,
            no_cache: false,
        })
    }

    /// Adds the vertex of a step on top of what the stage has so far.
    pub(crate) fn add_step(&mut self, op: Op, sources: &[VertexId], text: &str, span: Span) {
        let inputs = std::iter::once(self.end.root)
            .chain(sources.iter().copied())
            .map(|vertex| Input { vertex })
            .collect();
        self.ordinal += 1;
        let stage = self.lowering.stages.shown(self.index);
        let place = format!("{} {stage} {}", self.lowering.options.project, self.ordinal);
        let name = self.step_name(text);
        self.end.root = self.lowering.vertices.add(Vertex {
            op,
            inputs,
            name,
            stage,
            span: Some(span),
            place,
            mounted: false,
            in_image: false,
            no_cache: self.no_cache,
        });
    }

    /// Numbers a step as BuildKit does: `[build 2/5] RUN npm ci`.
    fn step_name(&mut self, text: &str) -> String {
        self.step += 1;
        let stages = &self.lowering.stages;
        let named = stages.stage(self.index).name.is_some() || stages.dockerfile.stages.len() > 1;
        let stage = if named {
            stages.shown(self.index) + " "
        } else {
            String::new()
        };
        let width = self.steps.to_string().len();
        let trigger = if self.is_trigger { "ONBUILD " } else { "" };
        format!(
            "[{stage}{:>width$}/{}] {trigger}{}",
            self.step,
            self.steps,
            source_text(text)
        )
    }

    /// Expands one word with what is in scope here.
    pub(crate) fn expand(&self, word: &str, span: Span) -> Result<String, LowerError> {
        self.lowering.words.expand(word, &self.end.env, span)
    }

    pub(crate) fn expand_all(
        &self,
        words: &[String],
        span: Span,
    ) -> Result<Vec<String>, LowerError> {
        words.iter().map(|word| self.expand(word, span)).collect()
    }

    /// Returns the working directory.
    pub(crate) fn workdir(&self) -> &str {
        let workdir = &self.end.config.config.working_dir;
        if workdir.is_empty() { "/" } else { workdir }
    }

    /// Returns the environment of a step, split in what its key holds and what it does not.
    pub(crate) fn step_env(&self) -> (Variables, Variables) {
        (self.end.env.clone(), proxy_variables(self.lowering.options))
    }

    /// Returns the declared arguments as the history of a `RUN` shows them: `|1 A=b `.
    pub(crate) fn args_prefix(&self) -> String {
        if self.end.args.is_empty() {
            return String::new();
        }
        let values = self.end.args.iter().map(|name| {
            format!(
                "{name}={}",
                self.end.env.get(name).map_or("", String::as_str)
            )
        });
        let values: Vec<String> = values.collect();
        format!("|{} {} ", values.len(), values.join(" "))
    }

    pub(crate) fn history(&mut self, created_by: String, vertex: Option<VertexId>) {
        self.end.history.push(HistoryItem {
            created_by,
            vertex,
            squashed: false,
        });
    }

    fn instruction(&mut self, instruction: &Instruction, span: Span) -> Result<(), LowerError> {
        match instruction {
            Instruction::Run(op) => return run::lower(self, op, span),
            Instruction::Copy(op) => return copy::lower_copy(self, op, span),
            Instruction::Add(op) => return copy::lower_add(self, op, span),
            Instruction::Workdir(op) => return self.workdir_instruction(&op.path, span),
            Instruction::Arg(op) => return self.arg(op, span),
            _ => {}
        }
        let created_by = self.metadata(instruction, span)?;
        if let Some(created_by) = created_by {
            self.history(created_by, None);
        }
        Ok(())
    }

    fn workdir_instruction(&mut self, path: &str, span: Span) -> Result<(), LowerError> {
        let path = self.expand(path, span)?;
        let absolute = paths::absolute(self.workdir(), &path);
        self.end.config.config.working_dir.clone_from(&absolute);
        let text = format!("WORKDIR {absolute}");
        // The root is always there.
        if absolute == "/" {
            self.step += 1;
            self.history(text, None);
            return Ok(());
        }
        let user = self.end.config.config.user.clone();
        let op = Op::File(FileOp::Mkdir(MkdirOp {
            path: absolute,
            user,
        }));
        self.add_step(op, &[], &text, span);
        let vertex = Some(self.end.root);
        self.history(text, vertex);
        Ok(())
    }

    fn arg(&mut self, arg: &Arg, span: Span) -> Result<(), LowerError> {
        let mut line = "ARG".to_owned();
        for item in &arg.args {
            let given = self.lowering.options.build_args.get(&item.name).cloned();
            let value = match (given, &item.default) {
                (Some(given), _) => Some(given),
                (None, Some(default)) => Some(self.expand(default, span)?),
                // Without a default of its own it takes the global one, or what is predefined.
                (None, None) => self
                    .lowering
                    .globals
                    .get(&item.name)
                    .or_else(|| self.predefined.get(&item.name))
                    .cloned(),
            };
            line += &format!(" {}", item.name);
            if let Some(value) = value {
                line += &format!("={value}");
                let variables = match is_builder_switch(&item.name) {
                    true => &mut self.end.switches,
                    false => &mut self.end.env,
                };
                variables.insert(item.name.clone(), value);
            }
            if !self.end.args.contains(&item.name) {
                self.end.args.push(item.name.clone());
            }
        }
        self.history(line, None);
        Ok(())
    }

    /// Puts the shell in front of a command in shell form.
    pub(crate) fn with_shell(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => self.shell_words(text),
        }
    }

    /// Puts the shell in front of a text.
    pub(crate) fn shell_words(&self, text: &str) -> Vec<String> {
        let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        let mut words = self.end.config.config.shell.clone().unwrap_or_else(default);
        words.push(text.to_owned());
        words
    }

    /// Applies what the request says of the image, and ends the stage.
    fn finish(mut self) -> Result<StageEnd, LowerError> {
        let is_target = self.lowering.stages.target()? == self.index;
        if is_target {
            let labels = self.lowering.options.labels.iter().cloned();
            self.end.config.config.labels.extend(labels);
            self.unset();
            let platform = &self.end.platform;
            self.end.config.os.clone_from(&platform.os);
            self.end
                .config
                .architecture
                .clone_from(&platform.architecture);
            if platform.variant.is_some() {
                self.end.config.variant.clone_from(&platform.variant);
            }
        }
        Ok(self.end)
    }

    /// Takes away what the image is not to have. Steps have seen it.
    fn unset(&mut self) {
        let unset = &self.lowering.options.unset;
        let config = &mut self.end.config.config;
        config.env.retain(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !unset.env.iter().any(|unset| unset == name)
        });
        config.labels.retain(|key, _| !unset.labels.contains(key));
    }
}

/// Shows an image with the digest that it was resolved to.
fn shown_image(name: &str, manifest: Option<&Digest>) -> String {
    match manifest {
        Some(digest) if !name.contains('@') => format!("{name}@{digest}"),
        _ => name.to_owned(),
    }
}
