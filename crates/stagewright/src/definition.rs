//! What a build is defined by: a Dockerfile, stages that are written in code, or both.

use stagewright_dockerfile::Dockerfile;

use crate::error::{Error, ErrorKind};
use crate::failure;
use crate::input::Source;
use crate::request::{BuildRequest, DockerfileSource, NamedContext, Secret};
use crate::stage::{Composed, compose};

/// The stages of a build, whatever they were written in.
pub(crate) struct Definition {
    /// The text of all of them.
    pub(crate) source: Source,
    pub(crate) dockerfile: Dockerfile,
    /// What is to be known of those that were written in code.
    pub(crate) composed: Option<Composed>,
}

/// Parses the Dockerfile, and adds the stages that are written in code behind its own.
pub(crate) fn definition(request: &BuildRequest, source: Source) -> Result<Definition, Error> {
    let fail = |message: &str| Err(Error::new(ErrorKind::Request, message));
    if request.stage.is_some() && request.target.is_some() {
        return fail("the request has a target and a stage that is written in code: name one");
    }
    let written = match request.dockerfile {
        DockerfileSource::Nothing if request.stage.is_none() => {
            return fail("the request has neither a Dockerfile nor a stage");
        }
        DockerfileSource::Nothing => None,
        _ => Some(parse(&source)?),
    };
    let mut contexts = Vec::new();
    let mut taken = Vec::new();
    for (name, context) in &request.named_contexts {
        match context {
            NamedContext::Stage(stage) => contexts.push((name.clone(), stage.clone())),
            _ => taken.push(name.clone()),
        }
    }
    let composed = compose(written.as_ref(), request.stage.as_ref(), &contexts, &taken)?;
    let (source, dockerfile) = match (written, &composed) {
        (written, Some(composed)) => join(written, source, composed)?,
        (Some(dockerfile), None) => (source, dockerfile),
        (None, None) => return fail("the request has neither a Dockerfile nor a stage"),
    };
    Ok(Definition {
        source,
        dockerfile,
        composed,
    })
}

fn parse(source: &Source) -> Result<Dockerfile, Error> {
    Dockerfile::parse(source.text.as_bytes()).map_err(|error| failure::of_parse(error, source))
}

/// Puts written stages behind those of a Dockerfile. They are parsed on their own, so that no last
/// line of the one can run into the other, with their places in the whole.
fn join(
    written: Option<Dockerfile>,
    source: Source,
    composed: &Composed,
) -> Result<(Source, Dockerfile), Error> {
    let Some(mut dockerfile) = written else {
        let source = Source {
            name: "Dockerfile".to_owned(),
            text: composed.text.clone(),
        };
        let dockerfile = parse(&source)?;
        return Ok((source, dockerfile));
    };
    let text = source.text.trim_end_matches('\n');
    let above = "\n".repeat(text.matches('\n').count() + 2);
    let source = Source {
        name: source.name,
        text: format!("{text}\n\n{}", composed.text),
    };
    let added = Dockerfile::parse((above + &composed.text).as_bytes())
        .map_err(|error| failure::of_parse(error, &source))?;
    dockerfile.stages.extend(added.stages);
    Ok((source, dockerfile))
}

/// Adds the secrets that came with stages to those of the request.
pub(crate) fn add_secrets(secrets: &mut Vec<Secret>, more: Vec<Secret>) -> Result<(), Error> {
    for secret in more {
        match secrets.iter().find(|one| one.id == secret.id) {
            Some(one) if one.value != secret.value => {
                let message = format!("the secret {:?} has two values", secret.id);
                return Err(Error::new(ErrorKind::Request, message));
            }
            Some(_) => {}
            None => secrets.push(secret),
        }
    }
    Ok(())
}
