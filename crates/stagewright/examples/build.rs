//! Builds the Dockerfile of a directory into an OCI image layout: `build STORE DIRECTORY OUT`.

use stagewright::{BuildRequest, Builder, BuilderOptions, Export, ExportKind, NamedContext};

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, directory, out, contexts @ ..] = arguments.as_slice() else {
        return Err("usage: build STORE DIRECTORY OUT [NAME=LAYOUT]...".into());
    };
    let builder = Builder::open(BuilderOptions::at(store))?;
    let mut request = BuildRequest::directory(directory);
    for context in contexts {
        let (name, path) = context.split_once('=').ok_or("a context is NAME=LAYOUT")?;
        let layout = NamedContext::OciLayout {
            path: path.into(),
            reference: None,
        };
        request.named_contexts.push((name.to_owned(), layout));
    }
    let mut build = builder.build(request);
    let mut events = build.events().ok_or("events were taken")?;
    while let Some(event) = events.next_blocking() {
        println!("{event:?}");
    }
    let image = build.wait()?;
    println!("{}", image.id());
    image.export(&Export {
        kind: ExportKind::OciDirectory,
        dest: out.into(),
        ..Export::default()
    })?;
    Ok(())
}
