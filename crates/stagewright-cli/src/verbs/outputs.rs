//! Where a build's image goes.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use stagewright::{
    Builder, CachePlace, Compression, Digest, Export, ExportKind, Exported, Image, Push,
    export_cache, export_images, export_images_to,
};

use super::load;
use super::push::{push_shown, shown};
use super::watch::Screen;
use crate::arguments::{
    ArchiveForm, BuildArguments, Compression as CompressionArgument, OutputArgument, OutputKind,
};
use crate::failure::Failure;

/// What the outputs of a build share.
pub(crate) struct Outputs<'a> {
    pub(crate) arguments: &'a BuildArguments,
    /// An image a platform.
    pub(crate) images: &'a [&'a Image],
    pub(crate) screen: &'a Screen,
    /// `SOURCE_DATE_EPOCH`.
    pub(crate) epoch: Option<u64>,
}

/// What the outputs of a build wrote.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The first manifest or index.
    pub(crate) manifest: Option<Exported>,
    /// Names that the outputs gave, in full.
    pub(crate) names: Vec<String>,
    /// Names are told with the digest, too.
    pub(crate) canonical: bool,
}

impl Written {
    /// Returns the digest of the image's config, as it was written; none for an index, which stands for
    /// several platforms or beside attestations.
    pub(crate) fn config(&self, image: &Image) -> Option<Digest> {
        match &self.manifest {
            Some(exported) => exported.config,
            None => Some(*image.id()),
        }
    }

    /// Returns the image's id, as buildx has it: the config's digest, else that of the index.
    pub(crate) fn id(&self, image: &Image) -> Digest {
        let written = self
            .manifest
            .as_ref()
            .and_then(|exported| exported.manifest);
        self.config(image).or(written).unwrap_or(*image.id())
    }
}

impl Outputs<'_> {
    /// Writes to every output.
    pub(crate) fn write(&self) -> Result<Written, Failure> {
        let mut outputs = self.arguments.output.clone();
        let has = |outputs: &[OutputArgument], wanted: fn(&OutputKind) -> bool| {
            outputs.iter().any(|output| wanted(&output.kind))
        };
        if self.arguments.push && !has(&outputs, |kind| matches!(kind, OutputKind::Push(_))) {
            let images = outputs.iter_mut();
            // `--push -o type=image,…` is `-o type=image,…,push=true`.
            let stored: Vec<_> = images
                .filter(|output| output.kind == OutputKind::Store)
                .collect();
            if stored.is_empty() {
                outputs.push(OutputArgument::of(OutputKind::Push(Push::default())));
            } else {
                for output in stored {
                    output.kind = OutputKind::Push(Push::default());
                }
            }
        }
        if self.arguments.load && !has(&outputs, |kind| *kind == OutputKind::Load) {
            outputs.push(OutputArgument::of(OutputKind::Load));
        }
        let mut written = Written::default();
        for output in &outputs {
            let manifest = self.write_one(output)?;
            let manifest = manifest.filter(|written| written.manifest.is_some());
            written.manifest = written.manifest.or(manifest);
            written.names.extend(output.names.iter().cloned());
            written.canonical |= output.name_canonical;
        }
        Ok(written)
    }

    fn write_one(&self, output: &OutputArgument) -> Result<Option<Exported>, Failure> {
        let (kind, dest): (ExportKind, Option<PathBuf>) = match &output.kind {
            OutputKind::Store | OutputKind::CacheOnly => return Ok(None),
            OutputKind::Push(push) => {
                let export = self.export(output, ExportKind::OciDirectory, None)?;
                return push_shown(self.images, &export, push, self.screen).map(Some);
            }
            OutputKind::Load => {
                let [image] = self.images else {
                    let message = "an image of several platforms cannot be loaded; name one";
                    return Err(Failure::Usage(message.to_owned()));
                };
                load::load(
                    image,
                    &self.export(output, ExportKind::DockerArchive, None)?,
                )?;
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
        let export = self.export(output, kind, dest.clone())?;
        let exported = if dest.is_some() {
            export_images(self.images, &export)?
        } else {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            let exported = export_images_to(self.images, &export, &mut out)?;
            out.flush()?;
            exported
        };
        Ok(Some(exported))
    }

    fn export(
        &self,
        output: &OutputArgument,
        kind: ExportKind,
        dest: Option<PathBuf>,
    ) -> Result<Export, Failure> {
        let latest_file_time = match (output.rewrite_timestamp, self.epoch) {
            (false, _) => None,
            (true, Some(epoch)) => Some(i64::try_from(epoch).unwrap_or(i64::MAX)),
            (true, None) => {
                let message = "rewrite-timestamp needs a time: set SOURCE_DATE_EPOCH";
                return Err(Failure::Usage(message.to_owned()));
            }
        };
        let given = self.arguments.annotation.iter();
        let annotations = given
            .flat_map(|annotation| annotation.0.iter())
            .chain(&output.annotations);
        Ok(Export {
            kind,
            dest: dest.unwrap_or_default(),
            names: output.names.clone(),
            compression: compression(output.compression, kind),
            compression_level: output.level,
            force_compression: output.force_compression,
            oci_media_types: output.oci_media_types,
            latest_file_time,
            annotations: annotations.cloned().collect(),
            inline_cache: self.arguments.inline_cache(),
        })
    }

    /// Exports the cache to wherever it was asked for.
    pub(crate) fn export_caches(&self) -> Result<(), Failure> {
        for to in &self.arguments.cache_to {
            // That went with the image.
            if to.place == CachePlace::Inline {
                continue;
            }
            let exported = shown(self.screen, |events| export_cache(self.images, to, events));
            match exported {
                Err(Failure::Library(error)) if to.ignore_error => {
                    eprintln!("warning: the cache was not exported: {error}");
                }
                exported => drop(exported?),
            }
        }
        Ok(())
    }
}

/// Refuses what could only fail after the build: an archive onto a terminal, two on one stream, a cache without its key.
pub(crate) fn check(builder: &Builder, arguments: &BuildArguments) -> Result<(), Failure> {
    for to in arguments.cache_to.iter().filter(|to| !to.ignore_error) {
        to.check(builder)?;
    }
    let streams = arguments
        .output
        .iter()
        .filter(|output| to_stdout(&output.kind))
        .count();
    let pushes = arguments.push
        || arguments
            .output
            .iter()
            .any(|output| matches!(output.kind, OutputKind::Push(_)));
    let named = !arguments.tag.is_empty()
        || arguments
            .output
            .iter()
            .any(|output| !output.names.is_empty());
    if pushes && !named {
        let message = "what is pushed needs a name: give it one with -t, or name= of the output";
        return Err(Failure::Usage(message.to_owned()));
    }
    let inline = arguments
        .cache_to
        .iter()
        .any(|to| to.place == CachePlace::Inline);
    let images = pushes
        || arguments.load
        || arguments
            .output
            .iter()
            .any(|output| has_config(&output.kind));
    if arguments.inline_cache() && !images {
        let message = "an inline cache is part of an image that is pushed or written: add --push, or -o type=oci";
        if inline {
            return Err(Failure::Usage(message.to_owned()));
        }
        // Scripts set the argument for builds whose image is not pushed, too.
        eprintln!("warning: BUILDKIT_INLINE_CACHE has no effect: {message}");
    }
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

/// Returns whether an output writes an image, with its config.
fn has_config(kind: &OutputKind) -> bool {
    match kind {
        OutputKind::Oci { .. }
        | OutputKind::DockerArchive { .. }
        | OutputKind::Load
        | OutputKind::Push(_) => true,
        OutputKind::Directory { .. }
        | OutputKind::Tar { .. }
        | OutputKind::Store
        | OutputKind::CacheOnly => false,
    }
}

/// Returns whether an output goes to standard output.
pub(crate) fn to_stdout(kind: &OutputKind) -> bool {
    match kind {
        OutputKind::Oci { dest, .. }
        | OutputKind::DockerArchive { dest }
        | OutputKind::Tar { dest } => dest.is_none(),
        OutputKind::Load
        | OutputKind::Push(_)
        | OutputKind::Directory { .. }
        | OutputKind::Store
        | OutputKind::CacheOnly => false,
    }
}

/// A docker archive is read by one machine and seldom kept: its layers stay as they are unless it
/// is said otherwise.
fn compression(given: Option<CompressionArgument>, kind: ExportKind) -> Compression {
    match given {
        Some(CompressionArgument::Uncompressed) => Compression::Uncompressed,
        Some(CompressionArgument::Gzip) => Compression::Gzip,
        Some(CompressionArgument::Zstd) => Compression::Zstd,
        Some(CompressionArgument::Estargz) => Compression::Estargz,
        None if kind == ExportKind::DockerArchive => Compression::Uncompressed,
        None => Compression::default(),
    }
}
