//! A real application, built with events and pushed to a registry.
#![expect(clippy::print_stdout, reason = "what it says is what it is for")]

use stagewright::{
    BuildRequest, Builder, BuilderOptions, EventKind, Events, Export, Outcome, Push,
};

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
    let (tell, mut events) = Events::channel();
    let pushing = std::thread::spawn(move || image.push(&Export::default(), &push, tell));
    let mut sent = 0;
    while let Some(event) = events.next_blocking() {
        if let EventKind::Progress {
            current_bytes,
            total_bytes,
            ..
        } = event.kind
            && Some(current_bytes) == total_bytes
        {
            sent += current_bytes;
        }
    }
    let pushed = pushing.join().map_err(|_| "the push panicked")??;
    let digest = pushed.manifest.map(|digest| digest.to_string());
    let digest = &digest.unwrap_or_default()[..7];
    println!("pushed lesson:1, {digest}, bytes told: {}", sent > 0);
    Ok(())
}
