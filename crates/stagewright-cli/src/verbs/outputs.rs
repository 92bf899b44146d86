//! Where a build's image goes.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use stagewright::{Compression, Export, ExportKind, Image};

use super::load;
use crate::arguments::{
    ArchiveForm, BuildArguments, Compression as CompressionArgument, OutputArgument, OutputKind,
};
use crate::failure::Failure;

/// Writes an image to every output; returns the digest of the first manifest that was written.
pub(crate) fn write(arguments: &BuildArguments, image: &Image) -> Result<Option<String>, Failure> {
    let mut manifest = None;
    for output in &arguments.output {
        let written = write_one(output, image)?;
        manifest = manifest.or(written);
    }
    let loaded = arguments
        .output
        .iter()
        .any(|output| output.kind == OutputKind::Load);
    if arguments.load && !loaded {
        load::load(image, &[])?;
    }
    Ok(manifest)
}

/// Refuses what could only fail after the build: an archive onto a terminal, two on one stream.
pub(crate) fn check(arguments: &BuildArguments) -> Result<(), Failure> {
    let streams = arguments
        .output
        .iter()
        .filter(|output| to_stdout(&output.kind))
        .count();
    if streams > 1 {
        let message = "only one output can go to standard output; give the others a dest";
        return Err(Failure::Usage(message.to_owned()));
    }
    if streams == 1 && std::io::stdout().is_terminal() {
        let message = "standard output is a terminal; redirect it, or name a file with dest=";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(())
}

/// Returns whether an output goes to standard output.
pub(crate) fn to_stdout(kind: &OutputKind) -> bool {
    match kind {
        OutputKind::Oci { dest, .. }
        | OutputKind::DockerArchive { dest }
        | OutputKind::Tar { dest } => dest.is_none(),
        OutputKind::Load
        | OutputKind::Directory { .. }
        | OutputKind::Store
        | OutputKind::CacheOnly => false,
    }
}

fn write_one(output: &OutputArgument, image: &Image) -> Result<Option<String>, Failure> {
    let (kind, dest): (ExportKind, Option<PathBuf>) = match &output.kind {
        OutputKind::Store | OutputKind::CacheOnly => return Ok(None),
        OutputKind::Load => {
            load::load(image, &output.names)?;
            return Ok(None);
        }
        OutputKind::Oci {
            dest,
            form: ArchiveForm::Directory,
        } => (ExportKind::OciDirectory, dest.clone()),
        OutputKind::Oci {
            dest,
            form: ArchiveForm::Archive,
        } => (ExportKind::OciArchive, dest.clone()),
        OutputKind::DockerArchive { dest } => (ExportKind::DockerArchive, dest.clone()),
        OutputKind::Directory { dest } => (ExportKind::Directory, Some(dest.clone())),
        OutputKind::Tar { dest } => (ExportKind::Tar, dest.clone()),
    };
    let export = Export {
        kind,
        dest: dest.clone().unwrap_or_default(),
        names: output.names.clone(),
        compression: compression(output.compression, kind),
    };
    let exported = if dest.is_some() {
        image.export(&export)?
    } else {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let exported = image.export_to(&export, &mut out)?;
        out.flush()?;
        exported
    };
    Ok(exported.manifest.map(|digest| digest.to_string()))
}

/// A docker archive is read by one machine and seldom kept: its layers stay as they are unless it
/// is said otherwise.
fn compression(given: Option<CompressionArgument>, kind: ExportKind) -> Compression {
    match given {
        Some(CompressionArgument::Uncompressed) => Compression::Uncompressed,
        Some(CompressionArgument::Gzip) => Compression::Gzip,
        Some(CompressionArgument::Zstd) => Compression::Zstd,
        None if kind == ExportKind::DockerArchive => Compression::Uncompressed,
        None => Compression::default(),
    }
}
