//! `stagewright save`.

use std::io::{BufWriter, IsTerminal as _, Write as _};

use stagewright::{
    Builder, Compression, Export, ExportKind, Image, export_images, export_images_to,
};

use crate::arguments::{SaveArguments, SaveFormat};
use crate::failure::Failure;

/// Writes an image of the store into an archive.
pub(crate) fn run(builder: &Builder, arguments: &SaveArguments) -> Result<(), Failure> {
    // Docker's archive has one platform, and a layout all that there are.
    let images = match arguments.format {
        SaveFormat::DockerArchive => vec![builder.image(&arguments.image)?],
        SaveFormat::OciArchive => builder.image_platforms(&arguments.image)?,
    };
    let images: Vec<&Image> = images.iter().collect();
    // As `docker save` does: what loads it wants the layers as they are.
    let (kind, compression) = match arguments.format {
        SaveFormat::DockerArchive => (ExportKind::DockerArchive, Compression::Uncompressed),
        SaveFormat::OciArchive => (ExportKind::OciArchive, Compression::Gzip),
    };
    let export = Export {
        kind,
        compression,
        dest: arguments.output.clone().unwrap_or_default(),
        ..Export::default()
    };
    if arguments.output.is_some() {
        export_images(&images, &export)?;
        return Ok(());
    }
    let out = std::io::stdout();
    if out.is_terminal() {
        let message =
            "an archive on a terminal helps nobody; name a file with -o, or redirect the output";
        return Err(Failure::Usage(message.to_owned()));
    }
    let mut out = BufWriter::with_capacity(1 << 20, out.lock());
    export_images_to(&images, &export, &mut out)?;
    out.flush()?;
    Ok(())
}
