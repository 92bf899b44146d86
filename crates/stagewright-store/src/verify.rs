//! Whether what the store holds is whole.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use stagewright_digest::LayerId;

use crate::audit::entries;
use crate::error::StoreError;
use crate::files::{self, Checked, file_name};
use crate::layer::{INDEX, LayerRecord, PROVISIONAL, either_record};
use crate::provisional::is_lost;
use crate::quarantine::{LayerPart, digest_of};
use crate::store::Store;
use crate::{Layer, journal};

/// What a check of the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// How many blobs, layers and records were checked.
    pub checked: u64,
    /// What is damaged.
    pub damaged: Vec<Damage>,
}

/// Something in the store that is not what its name or record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Looks into a layer whose record is whole, and says which parts of it are damaged, and how.
pub type InspectLayer<'a> = dyn Fn(&Layer) -> io::Result<Vec<(LayerPart, String)>> + 'a;

impl Store {
    /// Checks everything against its digest or checksum: blobs, layers in all their forms, the
    /// journal, parts and documents, the index. Reads all of them. What is inside of a layer only
    /// `inspect` knows.
    ///
    /// With `repair`, what is damaged is set aside, and what needs it is forgotten: it is pulled or
    /// built again when it is needed.
    ///
    /// # Errors
    /// When something cannot be read, or what is damaged not moved.
    pub fn verify(
        &self,
        repair: bool,
        inspect: &InspectLayer<'_>,
    ) -> Result<Verification, StoreError> {
        let mut found = Verification::default();
        for path in entries(&self.path().join("blobs/sha256"))? {
            found.add(check_blob(&path)?);
        }
        for path in entries(&self.path().join("layers"))? {
            let damaged = self.check_layer(&path, inspect)?;
            found.checked += 1;
            found.damaged.extend(damaged);
        }
        for folder in ["parts", "documents"] {
            for folder in entries(&self.path().join(folder))? {
                for path in entries(&folder)? {
                    found.add(check_file(&path)?);
                }
            }
        }
        let shards = entries(&self.path().join("actions"))?;
        for path in &shards {
            found.add(check_shard(path)?);
        }
        found.add(self.check_index()?);
        if repair {
            self.repair(&found.damaged, &shards)?;
        }
        Ok(found)
    }

    fn repair(&self, damaged: &[Damage], shards: &[PathBuf]) -> Result<(), StoreError> {
        let actions = self.path().join("actions");
        for damage in damaged {
            // The records around a damaged one are kept.
            if !damage.path.starts_with(&actions) {
                self.quarantine(&damage.path, &damage.reason)?;
            }
        }
        for shard in shards.iter().filter(|_| !damaged.is_empty()) {
            self.forget_broken(shard)?;
        }
        Ok(())
    }

    /// A layer whose record is not there was never finished: nothing refers to it.
    fn check_layer(&self, path: &Path, inspect: &InspectLayer<'_>) -> io::Result<Vec<Damage>> {
        let damage = |path: &Path, reason: String| {
            let path = path.to_owned();
            Ok(vec![Damage { path, reason }])
        };
        let found = either_record(|name| {
            Ok(match files::check(&path.join(name))? {
                Checked::Absent => None,
                found => Some((found, name == PROVISIONAL)),
            })
        })?;
        let (record, is_provisional) = match found {
            None | Some((Checked::Absent, _)) => return Ok(Vec::new()),
            Some((Checked::Damaged, _)) => return damage(path, "its record is damaged".to_owned()),
            Some((Checked::Whole(bytes), is_provisional)) => (bytes, is_provisional),
        };
        let Ok(record) = serde_json::from_slice::<LayerRecord>(&record) else {
            return damage(path, "its record cannot be read".to_owned());
        };
        // As good as never finished.
        if is_provisional && is_lost(&record) {
            return Ok(Vec::new());
        }
        let Ok(id) = LayerId::from_file_name(&file_name(path)) else {
            return damage(path, "its name is not that of a layer".to_owned());
        };
        if !path.join(INDEX).exists() {
            return damage(path, "its index is missing".to_owned());
        }
        let layer = Layer::new(id, record.settled(), path.to_owned());
        let mut faults = inspect(&layer)?;
        if let (Some(packed), Some(diff_id)) = (layer.packed_path(), layer.record.diff_id)
            && *digest_of(&packed)?.as_bytes() != *diff_id.as_bytes()
        {
            let reason = "its tar is not the one that was recorded".to_owned();
            faults.push((LayerPart::Packed, reason));
        }
        let parts: Vec<LayerPart> = faults.iter().map(|(part, _)| *part).collect();
        let forms = [layer.packed_path(), layer.unpacked_path()];
        let all =
            parts.contains(&LayerPart::Whole) || parts.len() >= forms.iter().flatten().count();
        let path_of = |part: LayerPart| match part {
            LayerPart::Packed if !all => layer.packed_path(),
            LayerPart::Unpacked if !all => layer.unpacked_path(),
            _ => Some(path.to_owned()),
        };
        let faults = if all {
            faults.drain(..1.min(faults.len())).collect()
        } else {
            faults
        };
        Ok(faults
            .into_iter()
            .filter_map(|(part, reason)| {
                Some(Damage {
                    path: path_of(part)?,
                    reason,
                })
            })
            .collect())
    }
}

impl Verification {
    fn add(&mut self, damage: Option<Damage>) {
        self.checked += 1;
        self.damaged.extend(damage);
    }
}

fn damage(path: &Path, reason: impl Into<String>) -> Option<Damage> {
    Some(Damage {
        path: path.to_owned(),
        reason: reason.into(),
    })
}

fn check_blob(path: &Path) -> io::Result<Option<Damage>> {
    let digest = digest_of(path)?;
    Ok(if digest.to_hex() == file_name(path) {
        None
    } else {
        damage(path, format!("its bytes have the digest {digest}"))
    })
}

fn check_file(path: &Path) -> io::Result<Option<Damage>> {
    Ok(match files::check(path)? {
        Checked::Damaged => damage(path, "its checksum does not match"),
        _ => None,
    })
}

fn check_shard(path: &Path) -> io::Result<Option<Damage>> {
    let bytes = fs::read(path)?;
    Ok(if journal::is_sound(&bytes) {
        None
    } else {
        damage(path, "a record of it is damaged")
    })
}
