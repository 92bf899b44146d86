//! What a Dockerfile offers: its targets, and what a target takes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use stagewright_dockerfile::expand::Expander;
use stagewright_dockerfile::mount::{Mount, MountKind};
use stagewright_dockerfile::{Arg, Dockerfile, Instruction, Span, Spanned};
use stagewright_plan::Plan;

use crate::builder::Builder;
use crate::error::Error;
use crate::input::Input;
use crate::job;
use crate::request::BuildRequest;

/// The stages of a Dockerfile that can be built.
#[derive(Debug, Clone, Serialize)]
pub struct Targets {
    /// The stages, in order.
    pub targets: Vec<Target>,
    /// The text of the Dockerfile.
    pub text: String,
}

/// A stage that can be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// It is built when no target is named.
    pub is_default: bool,
    /// What the comment above it says of it.
    pub description: Option<String>,
    /// What it starts from, as it is written.
    pub base: String,
    /// The platform of its `FROM`, as it is written.
    pub platform: Option<String>,
    /// The lines of its `FROM`.
    pub lines: (u32, u32),
}

/// What a target takes.
#[derive(Debug, Clone, Serialize)]
pub struct Outline {
    /// The target's name; none for a last stage without one.
    pub name: Option<String>,
    /// What the comment above the stage says of it.
    pub description: Option<String>,
    /// The build arguments that it and what it needs use.
    pub args: Vec<OutlineArg>,
    /// The secrets that its steps take.
    pub secrets: Vec<OutlineMount>,
    /// The SSH agents that its steps take.
    pub ssh: Vec<OutlineMount>,
    /// The caches that its steps take; none of them is required.
    pub caches: Vec<OutlineMount>,
    /// The text of the Dockerfile.
    pub text: String,
}

/// A build argument that a target uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutlineArg {
    /// Its name.
    pub name: String,
    /// What the comment above it says of it.
    pub description: Option<String>,
    /// Its value, if it has one.
    pub value: Option<String>,
    /// The lines where it is declared.
    pub lines: (u32, u32),
}

/// Something that steps of a target mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutlineMount {
    /// Its id.
    pub name: String,
    /// The build fails without it.
    pub required: bool,
    /// The lines of the first step that takes it.
    pub lines: (u32, u32),
}

impl Builder {
    /// Lists the stages that a request could build. Base images are not looked up. Blocks.
    ///
    /// # Errors
    /// When the Dockerfile cannot be read or is wrong.
    pub fn targets(&self, request: BuildRequest) -> Result<Targets, Error> {
        self.ask(|builder| job::targets(builder, request))
    }

    /// Says what the request's target takes: arguments, secrets, SSH agents, caches. Base images
    /// are resolved, nothing is built. Blocks.
    ///
    /// # Errors
    /// What a build would fail with before it runs a step.
    pub fn outline(&self, request: BuildRequest) -> Result<Outline, Error> {
        self.ask(|builder| job::outline(builder, request))
    }
}

pub(crate) fn targets(input: &Input) -> Targets {
    let stages = &input.dockerfile.stages;
    let target = |(index, stage): (usize, &stagewright_dockerfile::Stage)| Target {
        name: stage.name.clone(),
        is_default: index + 1 == stages.len(),
        description: describe(&stage.comments, stage.name.as_deref()),
        base: stage.from.image.clone(),
        platform: stage.from.platform.clone(),
        lines: lines(stage.span),
    };
    Targets {
        targets: stages.iter().enumerate().map(target).collect(),
        text: input.source.text.clone(),
    }
}

pub(crate) fn outline(input: &Input, plan: &Plan) -> Outline {
    let dockerfile = &input.dockerfile;
    let mut outline = Outline {
        name: None,
        description: None,
        args: Vec::new(),
        secrets: Vec::new(),
        ssh: Vec::new(),
        caches: Vec::new(),
        text: input.source.text.clone(),
    };
    let mut globals = BTreeSet::new();
    for info in &plan.stages {
        let Some(stage) = dockerfile.stages.get(info.index) else {
            continue;
        };
        if plan
            .image
            .as_ref()
            .is_some_and(|image| image.root == info.root)
        {
            outline.name.clone_from(&stage.name);
            outline.description = describe(&stage.comments, stage.name.as_deref());
        }
        let platform = stage.from.platform.as_deref();
        for word in platform.into_iter().chain([stage.from.image.as_str()]) {
            globals.extend(names_in(word, dockerfile));
        }
        for line in &stage.instructions {
            match &line.instruction {
                Instruction::Arg(arg) => {
                    let own = arg.args.iter().filter(|item| {
                        let inherits =
                            item.default.is_none() && plan.global_args.contains_key(&item.name);
                        if inherits {
                            globals.insert(item.name.clone());
                        }
                        !inherits
                    });
                    let names: Vec<&str> = own.map(|item| item.name.as_str()).collect();
                    declared(line, arg, &names, &info.args, &mut outline.args);
                }
                Instruction::Run(run) => {
                    for mount in &run.mounts {
                        add_mount(&mut outline, mount, line.span);
                    }
                }
                _ => {}
            }
        }
    }
    // What the default of one that is used names is used too; it stands above it.
    for line in dockerfile.global_args.iter().rev() {
        for item in line.instruction.args.iter().rev() {
            if globals.contains(&item.name) {
                let default = item.default.as_deref().unwrap_or_default();
                globals.extend(names_in(default, dockerfile));
            }
        }
    }
    for line in &dockerfile.global_args {
        let names = line.instruction.args.iter().map(|item| item.name.as_str());
        let names: Vec<&str> = names.filter(|name| globals.contains(*name)).collect();
        let values = &plan.global_args;
        declared(line, &line.instruction, &names, values, &mut outline.args);
    }
    outline.args.sort_by_key(|arg| arg.lines);
    for mounts in [&mut outline.secrets, &mut outline.ssh, &mut outline.caches] {
        mounts.sort_by_key(|mount| mount.lines);
    }
    outline
}

/// Adds arguments of one instruction; a name that is declared again is told once.
fn declared<T>(
    line: &Spanned<T>,
    arg: &Arg,
    names: &[&str],
    values: &BTreeMap<String, String>,
    args: &mut Vec<OutlineArg>,
) {
    for item in &arg.args {
        let known = args.iter().any(|known| known.name == item.name);
        if !known && names.contains(&item.name.as_str()) {
            args.push(OutlineArg {
                name: item.name.clone(),
                description: describe(&line.comments, Some(&item.name)),
                value: values.get(&item.name).cloned(),
                lines: lines(line.span),
            });
        }
    }
}

fn add_mount(outline: &mut Outline, text: &str, span: Span) {
    let Ok(mount) = Mount::parse(text) else {
        return;
    };
    let (list, name, required) = match mount.kind {
        MountKind::Secret { id, required, .. } => (&mut outline.secrets, id, required),
        MountKind::Ssh { id, required, .. } => (&mut outline.ssh, id, required),
        MountKind::Cache { id, .. } => {
            let name = id.unwrap_or_else(|| mount.target.clone());
            (&mut outline.caches, name, false)
        }
        _ => return,
    };
    match list.iter_mut().find(|known| known.name == name) {
        Some(known) => known.required |= required,
        None => list.push(OutlineMount {
            name,
            required,
            lines: lines(span),
        }),
    }
}

/// Returns the variables that a word names.
fn names_in(word: &str, dockerfile: &Dockerfile) -> BTreeSet<String> {
    let expander = Expander::new(dockerfile.directives.escape);
    let asked = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        None
    };
    // What a word names counts even if it can't be expanded without values.
    let _ = expander.word(word, &lookup);
    asked.into_inner()
}

/// Finds the comment `NAME text` and returns its text.
fn describe(comments: &[String], name: Option<&str>) -> Option<String> {
    let name = name?;
    let text = comments.iter().find_map(|comment| {
        let rest = comment.trim().strip_prefix(name)?;
        rest.starts_with(' ').then(|| rest.trim().to_owned())
    });
    text.filter(|text| !text.is_empty())
}

fn lines(span: Span) -> (u32, u32) {
    (span.start.line, span.end.line)
}
