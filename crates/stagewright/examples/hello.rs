//! An image of one file, and its files.
#![expect(clippy::print_stdout, reason = "what it says is what it is for")]

use stagewright::{BuildRequest, Builder, BuilderOptions, Export, ExportKind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = BuilderOptions::of_user(None, &|name| std::env::var(name).ok())?;
    let builder = Builder::open(options)?;
    let text = "FROM scratch\nCOPY <<EOF /hello\nhello, world\nEOF\n";
    let image = builder.build(BuildRequest::text(text)).wait()?;
    image.export(&Export {
        kind: ExportKind::Directory,
        dest: "out".into(),
        ..Export::default()
    })?;
    print!("{}", fs_err::read_to_string("out/hello")?);
    Ok(())
}
