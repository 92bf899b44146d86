//! The checks of `FROM`, and those of the file as a whole.

use std::collections::BTreeMap;

use super::finding::{At, Findings};
use super::variables::{PLATFORM_ARGS, is_image_name};
use super::{CheckContext, Rule};
use crate::ast::{Dockerfile, Stage};
use crate::error::did_you_mean;
use crate::expand::Expander;
use crate::span::Span;

pub(super) fn check(dockerfile: &Dockerfile, context: &CheckContext<'_>, found: &mut Findings) {
    casing(dockerfile, found);
    let mut names: Vec<&str> = Vec::new();
    for stage in &dockerfile.stages {
        stage_name(stage, &names, found);
        platform(stage, found);
        arguments(dockerfile, stage, &names, found);
        if let Some(platforms) = context.base_platform.and_then(|of| of(&stage.from.image)) {
            let message = format!(
                "base image {} has the platform {}, and {} was expected",
                stage.from.image, platforms.actual, platforms.expected
            );
            found.add(Rule::InvalidBaseImagePlatform, at(stage), message, None);
        }
        names.extend(stage.name.as_deref());
    }
}

fn at(stage: &Stage) -> At<'_> {
    At {
        span: stage.span,
        comments: &stage.comments,
    }
}

/// All instructions in the case of most of them, and no blank lines within them.
fn casing(dockerfile: &Dockerfile, found: &mut Findings) {
    let mut all: Vec<(&str, At<'_>, &[Span])> = Vec::new();
    for arg in &dockerfile.global_args {
        let at = At {
            span: arg.span,
            comments: &arg.comments,
        };
        all.push((&arg.text, at, &arg.blank_lines));
    }
    for stage in &dockerfile.stages {
        all.push((&stage.text, at(stage), &stage.blank_lines));
        for line in &stage.instructions {
            let at = At {
                span: line.span,
                comments: &line.comments,
            };
            all.push((&line.text, at, &line.blank_lines));
        }
    }
    let keyword = |text: &'_ str| {
        text.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let is_lower = |text: &str| text == text.to_lowercase();
    let is_upper = |text: &str| text == text.to_uppercase();
    let lower = all
        .iter()
        .filter(|(text, ..)| is_lower(&keyword(text)))
        .count();
    let upper = all
        .iter()
        .filter(|(text, ..)| is_upper(&keyword(text)))
        .count();
    for (text, at, blank_lines) in all {
        let keyword = keyword(text);
        let (wanted, case) = match lower > upper {
            true => (keyword.to_lowercase(), "lowercase"),
            false => (keyword.to_uppercase(), "uppercase"),
        };
        if keyword != wanted {
            let message =
                format!("'{keyword}' should match the case of most instructions ({case})");
            let help = Some(format!("write {wanted}"));
            found.add(Rule::ConsistentInstructionCasing, at, message, help);
        }
        if let Some(span) = blank_lines.first() {
            let at = At { span: *span, ..at };
            let message = "blank line after a line that goes on".to_owned();
            let help = Some("remove the line, or make it a comment".to_owned());
            found.add(Rule::NoEmptyContinuation, at, message, help);
        }
    }
}

fn stage_name(stage: &Stage, names: &[&str], found: &mut Findings) {
    let Some(name) = stage.name.as_deref() else {
        return;
    };
    let words: Vec<&str> = stage.text.split_whitespace().collect();
    if let [from, .., keyword, written] = words.as_slice() {
        if *written != name {
            let message = format!("stage name '{written}' should be lowercase");
            found.add(
                Rule::StageNameCasing,
                at(stage),
                message,
                Some(format!("write {name}")),
            );
        }
        let wanted = match *from {
            "FROM" => Some("AS"),
            "from" => Some("as"),
            _ => None,
        };
        if let Some(wanted) = wanted.filter(|wanted| wanted != keyword) {
            let message = format!("'{keyword}' and '{from}' keywords' casing do not match");
            found.add(
                Rule::FromAsCasing,
                at(stage),
                message,
                Some(format!("write {wanted}")),
            );
        }
    }
    if names.contains(&name) {
        let message = format!("duplicate stage name {name:?}, stage names should be unique");
        found.add(Rule::DuplicateStageName, at(stage), message, None);
    }
    if ["scratch", "context"].contains(&name) {
        let message = format!("{name:?} is reserved and should not be the name of a stage");
        found.add(Rule::ReservedStageName, at(stage), message, None);
    }
    description(stage, found);
}

fn description(stage: &Stage, found: &mut Findings) {
    let (Some(name), Some(comment)) = (&stage.name, stage.comments.last()) else {
        return;
    };
    if comment.split(' ').next() != Some(name) {
        let message =
            format!("comment for FROM should follow the format: `# {name} <description>`");
        let help = Some("put a blank line after a comment that is no description".to_owned());
        found.add(Rule::InvalidDefinitionDescription, at(stage), message, help);
    }
}

fn platform(stage: &Stage, found: &mut Findings) {
    let Some(platform) = stage.from.platform.as_deref() else {
        return;
    };
    if ["$TARGETPLATFORM", "${TARGETPLATFORM}"].contains(&platform) {
        let message = format!("setting the platform to {platform} is redundant, it is the default");
        let help = Some("remove --platform".to_owned());
        found.add(Rule::RedundantTargetPlatform, at(stage), message, help);
    }
    // One stage for each platform, named after it, is how a file builds for several.
    let named_after = stage.name.as_deref().is_some_and(|name| {
        platform
            .split('/')
            .any(|part| !part.is_empty() && name.contains(part))
    });
    if !platform.contains('$') && !named_after {
        let message = format!("FROM --platform should not use the constant value {platform:?}");
        let help = Some("remove it, or use $BUILDPLATFORM".to_owned());
        found.add(
            Rule::FromPlatformFlagConstDisallowed,
            at(stage),
            message,
            help,
        );
    }
}

/// The global arguments that a `FROM` uses.
fn arguments(dockerfile: &Dockerfile, stage: &Stage, names: &[&str], found: &mut Findings) {
    let expander = Expander::new(dockerfile.directives.escape);
    let mut values: BTreeMap<String, String> = PLATFORM_ARGS
        .map(|name| (name.to_owned(), "linux".to_owned()))
        .into();
    for line in &dockerfile.global_args {
        for arg in &line.instruction.args {
            let default = arg.default.as_deref().unwrap_or_default();
            let lookup = |name: &str| values.get(name).map(String::as_str);
            let value = expander.word(default, &lookup).map(|value| value.text);
            values.insert(arg.name.clone(), value.unwrap_or_default());
        }
    }
    let lookup = |name: &str| values.get(name).map(String::as_str);
    let platform = stage.from.platform.as_deref().unwrap_or_default();
    for word in [stage.from.image.as_str(), platform] {
        let Ok(expanded) = expander.word(word, &lookup) else {
            continue;
        };
        for name in &expanded.unset {
            let message = format!("FROM argument '{name}' is not declared");
            let help = did_you_mean(name, values.keys().map(String::as_str));
            let help = help.or_else(|| Some(format!("write ARG {name} above the first FROM")));
            found.add(Rule::UndefinedArgInFrom, at(stage), message, help);
        }
    }
    let image = &stage.from.image;
    let Ok(expanded) = expander.word(image, &lookup) else {
        return;
    };
    let is_stage = names.contains(&expanded.text.to_lowercase().as_str());
    if image.contains('$')
        && expanded.unset.is_empty()
        && !is_stage
        && !is_image_name(&expanded.text)
    {
        let message =
            format!("default value for ARG {image} results in an empty or invalid image name");
        let help = Some("give the ARG a default that makes a name".to_owned());
        found.add(Rule::InvalidDefaultArgInFrom, at(stage), message, help);
    }
}
