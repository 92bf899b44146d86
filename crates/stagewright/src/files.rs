//! The files of an image: in a directory, or as a tar.

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fs_err as fs;
use stagewright_digest::{DigestWriter, LayerId};
use stagewright_layer::{Entry, EntryKind, EntryPath, LayerWriter, Metadata};
use stagewright_snapshot::{DirectAgent, MergedTree, NewEntry, TreeAgent as _};

use crate::attest::{self, Attestation, Subject};
use crate::error::{Error, ErrorKind};
use crate::failure;
use crate::image::Image;
use crate::write::Exported;

impl Image {
    /// Returns the merged view of the image's files.
    pub(crate) fn tree(&self) -> Result<MergedTree, Error> {
        for layer in self.layer_ids() {
            self.ensure_layer(layer)?;
        }
        self.snapshots()
            .tree(self.layer_ids())
            .map_err(|error| Error::new(ErrorKind::Store, failure::chain(&error)))
    }

    /// Downloads a layer of a base image that no step needed.
    pub(crate) fn ensure_layer(&self, layer: &LayerId) -> Result<(), Error> {
        if self.store().layer(layer)?.is_some() {
            return Ok(());
        }
        let known = match layer {
            LayerId::Pulled(_) => self
                .images()
                .base_blob(layer)
                .map_err(failure::of_step)?
                .is_some(),
            LayerId::Made(_) => self.services().is_some(),
        };
        if !known {
            let message = format!("layer {layer} of the image is not in the store any more");
            return Err(Error {
                help: Some("build it again".to_owned()),
                ..Error::new(ErrorKind::Image, message)
            });
        }
        let download = self
            .images()
            .ensure(std::slice::from_ref(layer), self.reporter(), 0);
        self.builder()
            .runtime()?
            .block_on(download)
            .map_err(failure::of_step)
    }

    pub(crate) fn write_files_tar(&self, out: &mut dyn Write) -> Result<(), Error> {
        let tree = self.tree()?;
        let fail =
            |error: &dyn std::error::Error| Error::new(ErrorKind::Export, failure::chain(error));
        let mut writer = LayerWriter::new(out);
        let mut first_names = HashMap::new();
        let mut attestations = self.attestation_files(&tree)?.into_iter().peekable();
        let latest = tree
            .walk(&EntryPath::root())
            .map(|found| found.entry.metadata.mtime);
        let metadata = Metadata {
            mtime: latest.max().unwrap_or_default(),
            ..Metadata::with_mode(ATTESTATION_MODE)
        };
        let append = |writer: &mut LayerWriter<_>, file: AttestationFile| {
            let (bytes, mut reader) = (file.text.len() as u64, file.text.as_bytes());
            let appended = writer.append_file(&file.path, &metadata, bytes, &mut reader);
            appended.map_err(|error| fail(&error))
        };
        for found in tree.walk(&EntryPath::root()) {
            if found.path().is_root() {
                continue;
            }
            while let Some(file) = attestations.next_if(|file| file.path < *found.path()) {
                append(&mut writer, file)?;
            }
            let mut entry = found.entry.clone();
            if let (EntryKind::File { bytes, .. }, Some(id)) = (&entry.kind, found.file_id()) {
                if let Some(first) = first_names.get(&id) {
                    entry.kind = EntryKind::Hardlink {
                        target: Clone::clone(first),
                    };
                } else {
                    first_names.insert(id, entry.path.clone());
                    let mut reader = tree.open(&found).map_err(|error| fail(&error))?;
                    writer
                        .append_file(&entry.path, &entry.metadata, *bytes, &mut reader)
                        .map_err(|error| fail(&error))?;
                    continue;
                }
            }
            if let EntryKind::Directory { opaque } = &mut entry.kind {
                *opaque = false;
            }
            writer.append(&entry).map_err(|error| fail(&error))?;
        }
        for file in attestations {
            append(&mut writer, file)?;
        }
        writer.finish().map_err(|error| fail(&error))?;
        Ok(())
    }

    pub(crate) fn export_files(&self, dest: &Path) -> Result<Exported, Error> {
        let tree = self.tree()?;
        let fail =
            |error: &dyn std::error::Error| Error::new(ErrorKind::Export, failure::chain(error));
        fs::create_dir_all(dest).map_err(|error| fail(&error))?;
        let entries = fs::read_dir(dest).map_err(|error| fail(&error))?.count();
        if entries > 0 {
            let message = format!("{} is not empty: name another directory", dest.display());
            return Err(Error::new(ErrorKind::Export, message));
        }
        fs::remove_dir(dest).map_err(|error| fail(&error))?;
        let entries = files_of(&tree);
        let agent = DirectAgent::of_this_user(2);
        if let Err(error) = agent.create(dest, &entries) {
            // The directory was empty before: half of the files would be in the way of the next attempt.
            let _ = fs::remove_dir_all(dest);
            return Err(fail(&error));
        }
        for file in self.attestation_files(&tree)? {
            let path = dest.join(&file.name);
            fs::write(&path, &file.text).map_err(|error| fail(&error))?;
            let mode = std::fs::Permissions::from_mode(ATTESTATION_MODE);
            fs::set_permissions(&path, mode).map_err(|error| fail(&error))?;
        }
        Ok(Exported::FILES)
    }

    /// Returns the statements about the image's files that are files beside them, sorted by name. They are
    /// about each file, as in BuildKit.
    fn attestation_files(&self, tree: &MergedTree) -> Result<Vec<AttestationFile>, Error> {
        let attestations = self.attestations().iter().filter(|one| !one.inline_only);
        let attestations: Vec<&Attestation> = attestations.collect();
        if attestations.is_empty() {
            return Ok(Vec::new());
        }
        let fail =
            |error: &dyn std::error::Error| Error::new(ErrorKind::Export, failure::chain(error));
        let mut subjects = Vec::new();
        for found in tree.walk(&EntryPath::root()) {
            if let EntryKind::File { .. } = found.kind() {
                let mut reader = tree.open(&found).map_err(|error| fail(&error))?;
                let mut writer = DigestWriter::new(std::io::sink());
                std::io::copy(&mut reader, &mut writer).map_err(|error| fail(&error))?;
                let (_, digest, _) = writer.finish();
                let name = String::from_utf8_lossy(found.path().as_bytes()).into_owned();
                subjects.push(Subject { name, digest });
            }
        }
        let mut files: Vec<AttestationFile> = Vec::new();
        for attestation in attestations {
            let name = attestation.filename.clone();
            let path = EntryPath::parse(name.as_bytes()).map_err(|error| fail(&error))?;
            if tree.lookup(&path).is_some() || files.iter().any(|file| file.name == name) {
                let message =
                    format!("there are two files {name}: give provenance another filename");
                return Err(Error::new(ErrorKind::Export, message));
            }
            let predicate = attest::predicate(self, attestation)?;
            let statement = attest::statement(&attestation.predicate_type, predicate, &subjects);
            let text = format!("{statement:#}\n");
            files.push(AttestationFile { name, path, text });
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }
}

/// As BuildKit writes them.
const ATTESTATION_MODE: u32 = 0o600;

/// A statement that is a file.
struct AttestationFile {
    name: String,
    path: EntryPath,
    text: String,
}

/// Returns the entries of a view, names of one file as links to its first.
fn files_of(tree: &MergedTree) -> Vec<NewEntry> {
    let mut first_names = HashMap::new();
    let mut entries = Vec::new();
    for found in tree.walk(&EntryPath::root()) {
        let path = found.path().clone();
        if !found.kind().is_directory()
            && let Some(id) = found.file_id()
        {
            if let Some(first) = first_names.get(&id) {
                let kind = EntryKind::Hardlink {
                    target: Clone::clone(first),
                };
                let metadata = found.entry.metadata;
                entries.push(NewEntry::Other(Entry {
                    path,
                    kind,
                    metadata,
                }));
                continue;
            }
            first_names.insert(id, path.clone());
        }
        entries.push(tree.copied(found, path));
    }
    entries
}
