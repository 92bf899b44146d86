//! A Dockerfile of two stages, its image and an OCI archive.
#![expect(clippy::print_stdout, reason = "what it says is what it is for")]

use stagewright::{BuildRequest, Builder, BuilderOptions, Export, ExportKind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = BuilderOptions::of_user(None, &|name| std::env::var(name).ok())?;
    let builder = Builder::open(options)?;
    let image = builder
        .build(BuildRequest {
            tags: vec!["app:1".to_owned()],
            labels: vec![("made-by".to_owned(), "a sample".to_owned())],
            ..BuildRequest::directory(".")
        })
        .wait()?;
    image.export(&Export {
        kind: ExportKind::OciArchive,
        dest: "app.tar".into(),
        names: vec!["app:1".to_owned()],
        ..Export::default()
    })?;
    println!(
        "{} {}",
        image.names().join(","),
        image.config().config.labels["made-by"]
    );
    for layer in image.sizes()?.layers {
        println!("{} {}", layer.created_by, layer.bytes);
    }
    Ok(())
}
