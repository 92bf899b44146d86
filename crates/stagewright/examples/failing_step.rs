//! What is known of a command that failed.
#![expect(clippy::print_stdout, reason = "what it says is what it is for")]

use stagewright::{BuildRequest, Builder, BuilderOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = BuilderOptions::of_user(None, &|name| std::env::var(name).ok())?;
    let builder = Builder::open(options)?;
    let text = "FROM alpine:3.10\nRUN echo last words; exit 7\n";
    let build = builder.build(BuildRequest::text(text));
    if let Err(error) = build.wait() {
        println!(
            "{} {} {} {}",
            error.kind.code(),
            error.exit_code.unwrap_or_default(),
            error.line.unwrap_or_default(),
            error.log_tail.last().map_or("", String::as_str)
        );
        println!("{}", error.drawing.unwrap_or_default());
    }
    Ok(())
}
