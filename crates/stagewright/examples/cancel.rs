//! A build that is stopped while a command runs.
#![expect(clippy::print_stdout, reason = "what it says is what it is for")]

use stagewright::{BuildRequest, Builder, BuilderOptions, EventKind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = BuilderOptions::of_user(None, &|name| std::env::var(name).ok())?;
    let builder = Builder::open(options)?;
    let text = "FROM alpine:3.10\nRUN echo ready; sleep 1000\n";
    let mut build = builder.build(BuildRequest::text(text));
    if let Some(mut events) = build.events() {
        while let Some(event) = events.next_blocking() {
            if let EventKind::Log { bytes, .. } = event.kind {
                print!("{}", String::from_utf8_lossy(&bytes));
                build.cancel();
            }
        }
    }
    if let Err(error) = build.wait() {
        println!("{}", error.kind.code());
    }
    Ok(())
}
