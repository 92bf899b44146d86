//! Events of a second build, and why a step ran again.
#![expect(clippy::print_stdout, reason = "what it says is what it is for")]

use std::collections::HashMap;

use stagewright::{BuildRequest, Builder, BuilderOptions, EventKind, Outcome};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = BuilderOptions::of_user(None, &|name| std::env::var(name).ok())?;
    let builder = Builder::open(options)?;
    builder.build(BuildRequest::directory(".")).wait()?;
    fs_err::write("src/a.txt", "three\n")?;
    let mut build = builder.build(BuildRequest::directory("."));
    let mut names = HashMap::new();
    if let Some(mut events) = build.events() {
        while let Some(event) = events.next_blocking() {
            match event.kind {
                EventKind::Planned { vertices } => {
                    let steps = vertices.into_iter().filter(|vertex| vertex.step);
                    names.extend(steps.map(|vertex| (vertex.id, vertex.name)));
                }
                EventKind::Finished { vertex, outcome } => match (names.get(&vertex), outcome) {
                    (Some(name), Outcome::Executed { miss: Some(miss) }) => {
                        println!("executed {name}: {miss}");
                    }
                    (Some(name), Outcome::Hit) => println!("hit {name}"),
                    _ => {}
                },
                _ => {}
            }
        }
    }
    build.wait()?;
    Ok(())
}
