//! The course of lowering: reach, ask for images, lower each stage.

use std::collections::BTreeMap;

use stagewright_dockerfile::{Dockerfile, Instruction};

use super::args;
use super::stage::{StageEnd, lower_stage};
use super::stages::{Source, Stages};
use super::words::Words;
use crate::builder::Vertices;
use crate::error::LowerError;
use crate::graph::{Plan, PlanImage, StageBase, StageInfo, VertexId};
use crate::image::{ImageNeed, KnownImages};
use crate::request::LowerOptions;

/// What lowering gave.
#[derive(Debug, Clone)]
pub enum Lowered {
    /// The plan.
    Plan(Box<Plan>),
    /// Images that must be known before lowering can go on: find out what they are, and lower
    /// again with the answers.
    NeedImages(Vec<ImageNeed>),
}

/// What all stages of a Dockerfile are lowered with.
pub(crate) struct Lowering<'a> {
    pub(crate) options: &'a LowerOptions,
    pub(crate) known: &'a KnownImages,
    pub(crate) stages: Stages<'a>,
    pub(crate) words: Words,
    /// The global arguments with their values.
    pub(crate) globals: args::Variables,
    /// The triggers (`ONBUILD`) of the images that stages start from, by stage.
    pub(crate) triggers: BTreeMap<usize, Vec<Instruction>>,
    pub(crate) vertices: Vertices,
    pub(crate) ends: BTreeMap<usize, StageEnd>,
}

/// Lowers a Dockerfile.
///
/// # Errors
/// When it names a stage that is not there, expands a variable wrongly, or asks for something that
/// is not supported.
pub fn lower(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    known: &KnownImages,
) -> Result<Lowered, LowerError> {
    let words = Words::new(dockerfile.directives.escape);
    let globals = words.globals(dockerfile, options)?;
    let stages = Stages::new(dockerfile, options, &words, &globals)?;
    let target = stages.target()?;
    let mut lowering = Lowering {
        options,
        known,
        stages,
        words,
        globals,
        triggers: BTreeMap::new(),
        vertices: Vertices::default(),
        ends: BTreeMap::new(),
    };
    let (reached, needs) = lowering.reach(target)?;
    if !needs.is_empty() {
        return Ok(Lowered::NeedImages(needs));
    }
    for index in reached {
        let end = lower_stage(&mut lowering, index)?;
        lowering.ends.insert(index, end);
    }
    let root = lowering.squash(target);
    Ok(Lowered::Plan(Box::new(lowering.into_plan(target, root))))
}

impl Lowering<'_> {
    /// Finds the stages that the target needs, in order, and the images that are not known yet.
    ///
    /// The triggers of a base image may need further stages and images, so this goes on until
    /// nothing new turns up.
    fn reach(&mut self, target: usize) -> Result<(Vec<usize>, Vec<ImageNeed>), LowerError> {
        loop {
            let reached = self.stages.reachable(target, &self.triggers)?;
            let mut needs: Vec<ImageNeed> = Vec::new();
            let mut found_triggers = false;
            for &index in &reached {
                let mut sources = self.stages.sources_of(index, &self.triggers)?;
                sources.push((self.stages.base(index), self.stages.stage(index).span));
                for (source, span) in sources {
                    let Source::Image(reference) = source else {
                        continue;
                    };
                    let need = ImageNeed {
                        span: Some(span),
                        ..self.need(index, &reference)?
                    };
                    if self.known.get(&need).is_none() && !needs.contains(&need) {
                        needs.push(need);
                    }
                }
                found_triggers |= self.find_triggers(index)?;
            }
            if !needs.is_empty() || !found_triggers {
                return Ok((reached, needs));
            }
        }
    }

    /// Reads the triggers of a stage's base image once it is known. Says whether there are new ones.
    fn find_triggers(&mut self, index: usize) -> Result<bool, LowerError> {
        let Source::Image(reference) = self.stages.base(index) else {
            return Ok(false);
        };
        if self.triggers.contains_key(&index) {
            return Ok(false);
        }
        let Some(image) = self.known.get(&self.need(index, &reference)?) else {
            return Ok(false);
        };
        let span = self.stages.stage(index).span;
        let triggers = image
            .config
            .config
            .on_build
            .iter()
            .map(|text| {
                Instruction::parse_trigger(text).map_err(|error| {
                    LowerError::at(
                        span,
                        format!("ONBUILD trigger {text:?} of {reference}: {error}"),
                    )
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let any = !triggers.is_empty();
        self.triggers.insert(index, triggers);
        Ok(any)
    }

    /// Says what must be known of an image that a stage uses.
    pub(crate) fn need(&self, index: usize, reference: &str) -> Result<ImageNeed, LowerError> {
        let stage = self.stages.stage(index);
        let platform = self.words.platform(stage, &self.globals)?;
        let platform = platform.unwrap_or_else(|| self.options.platform.clone());
        Ok(ImageNeed {
            reference: reference.to_owned(),
            platform,
            span: Some(stage.span),
        })
    }

    fn stage_base(&self, index: usize) -> Option<StageBase> {
        let Source::Image(reference) = self.stages.base(index) else {
            return None;
        };
        let need = self.need(index, &reference).ok()?;
        let config = &self.known.get(&need)?.config;
        let env = config.config.env.iter();
        let name = |pair: &String| pair.split('=').next().unwrap_or_default().to_owned();
        Some(StageBase {
            expected: need.platform,
            actual: config.platform(),
            env: env.map(name).collect(),
        })
    }

    fn into_plan(self, target: usize, root: VertexId) -> Plan {
        let stages: Vec<StageInfo> = self
            .ends
            .iter()
            .map(|(index, end)| {
                let stage = self.stages.stage(*index);
                let value = |name: &String| Some((name.clone(), end.env.get(name)?.clone()));
                let mut args = BTreeMap::new();
                args.extend(end.args.iter().filter_map(value));
                StageInfo {
                    index: *index,
                    name: stage.name.clone(),
                    root: end.root,
                    span: Some(stage.span),
                    base: self.stage_base(*index),
                    args,
                    switches: end.switches.clone(),
                }
            })
            .collect();
        let end = self.ends[&target].clone();
        let (vertices, ids) = self.vertices.reached_from(root);
        let stages = stages
            .into_iter()
            .filter_map(|stage| {
                let root = ids[stage.root.0]?;
                Some(StageInfo { root, ..stage })
            })
            .collect();
        let mut history = end.history;
        for item in &mut history {
            item.vertex = item.vertex.and_then(|vertex| ids[vertex.0]);
        }
        let image = PlanImage {
            root: ids[root.0].unwrap_or(VertexId(0)),
            platform: end.platform,
            config: end.config,
            history,
        };
        Plan {
            vertices,
            image: Some(image),
            stages,
            global_args: self.globals,
        }
    }
}
