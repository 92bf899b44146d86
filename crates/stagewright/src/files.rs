//! The files of an image: in a directory, or as a tar.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use fs_err as fs;
use stagewright_digest::LayerId;
use stagewright_layer::{Entry, EntryKind, EntryPath, LayerWriter};
use stagewright_snapshot::{DirectAgent, MergedTree, NewEntry, TreeAgent as _};

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
        for found in tree.walk(&EntryPath::root()) {
            if found.path().is_root() {
                continue;
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
        Ok(Exported::FILES)
    }
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
