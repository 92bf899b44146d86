//! A real application, built with events and pushed to a registry.
#![expect(clippy::print_stdout, reason = "what it says is what it is for")]

use std::sync::Arc;

use stagewright::{BuildRequest, Builder, BuilderOptions, EventKind, Export, Outcome, Push};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = std::env::args().nth(1).ok_or("name a registry")?;
    let options = BuilderOptions::of_user(None, &|name| std::env::var(name).ok())?;
    let mut build = Builder::open(options)?.build(BuildRequest {
        tags: vec![format!("{registry}/lesson:1")],
        ..BuildRequest::directory(".")
    });
    if let Some(mut events) = build.events() {
        while let Some(event) = events.next_blocking() {
            if let EventKind::Finished {
                outcome: Outcome::Failed { message },
                ..
            } = event.kind
            {
                println!("{message}");
            }
        }
    }
    let image = build.wait()?;
    let push = Push {
        insecure: true,
        ..Push::default()
    };
    let pushed = image.push(&Export::default(), &push, Arc::new(|_| {}))?;
    let digest = pushed.manifest.map(|digest| digest.to_string());
    println!("pushed lesson:1, {}", &digest.unwrap_or_default()[..7]);
    Ok(())
}
