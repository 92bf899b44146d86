//! What the store holds, thing by thing.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fs_err as fs;
use stagewright_digest::{Digest, LayerId};

use crate::audit::{Room, Usage, bytes_below};
use crate::blob;
use crate::cache_mount;
use crate::document::CONTEXT_KIND;
use crate::error::StoreError;
use crate::files::{file_name, list};
use crate::index::unix_ms;
use crate::layer;
use crate::store::Store;

/// What kind of thing takes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ItemKind {
    /// A layer that a step made.
    Layer,
    /// A layer of a base image.
    BaseLayer,
    /// A blob of no layer: the config of an image, or what a layer left behind.
    Blob,
    /// The directories of a `RUN --mount=type=cache`.
    CacheMount,
    /// What is known of the files of a build context.
    Context,
}

impl ItemKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Layer,
        Self::BaseLayer,
        Self::Blob,
        Self::CacheMount,
        Self::Context,
    ];

    /// Returns what `docker builder prune --filter type=` calls it.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Layer | Self::BaseLayer | Self::Blob => "regular",
            Self::CacheMount => "exec.cachemount",
            Self::Context => "source.local",
        }
    }
}

/// A thing in the store that can be removed for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its name: a layer's or blob's digest, the id of a cache mount, a context's hash.
    pub id: String,
    /// What it takes on disk, in all its forms.
    pub bytes: u64,
    /// When a build last used it, in milliseconds since 1970.
    pub last_used_unix_ms: u64,
    /// How many builds used it, where that is counted.
    pub uses: u64,
    /// An image with a name needs it.
    pub tagged: bool,
    /// Something that runs now uses it.
    pub in_use: bool,
}

impl Item {
    /// Says whether it could be removed now.
    pub fn is_reclaimable(&self) -> bool {
        !self.tagged && !self.in_use
    }
}

/// A thing and where it is.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) item: Item,
    pub(super) place: Place,
    /// A base image needs it.
    pub(super) base: bool,
}

#[derive(Debug)]
pub(super) enum Place {
    /// Its own bytes, and its compressed forms with theirs.
    Layer(LayerId, u64, Vec<(Digest, u64)>),
    Blob(Digest),
    /// The folder of a cache mount.
    Mount(PathBuf),
    Document(PathBuf),
}

impl Store {
    /// Lists what the store holds, the least recently used first. Reads every directory.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn items(&self) -> Result<Vec<Item>, StoreError> {
        Ok(self
            .find_all()?
            .into_iter()
            .map(|found| found.item)
            .collect())
    }

    /// Measures what the store takes on disk, and what of it could go. Reads every directory.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let mut usage = Usage::default();
        for found in self.find_all()? {
            let item = &found.item;
            match &found.place {
                Place::Layer(_, own, blobs) => {
                    count(&mut usage.layers, item, *own);
                    for (_, bytes) in blobs {
                        count(&mut usage.blobs, item, *bytes);
                    }
                }
                Place::Blob(_) => count(&mut usage.blobs, item, item.bytes),
                Place::Mount(_) => count(&mut usage.cache_mounts, item, item.bytes),
                Place::Document(_) => count(&mut usage.contexts, item, item.bytes),
            }
        }
        usage.records = self.records_room()?;
        Ok(usage)
    }

    pub(super) fn find_all(&self) -> Result<Vec<Found>, StoreError> {
        // What a session looks at it protects.
        if let Some(store) = self.without_lease() {
            return store.find_all();
        }
        let mut finder = Finder {
            store: self,
            leased: self.leased_names(false)?,
            roots: self.roots()?,
            found: Vec::new(),
        };
        let blobs = finder.layers()?;
        finder.blobs(&blobs)?;
        finder.mounts()?;
        finder.contexts()?;
        let mut found = finder.found;
        found.sort_by(|one, other| {
            let key = |found: &Found| (found.item.last_used_unix_ms, found.item.kind);
            (key(one), &one.item.id).cmp(&(key(other), &other.item.id))
        });
        Ok(found)
    }
}

fn count(room: &mut Room, item: &Item, bytes: u64) {
    room.count += 1;
    room.bytes += bytes;
    if item.tagged {
        room.shared_bytes += bytes;
    }
    if item.is_reclaimable() {
        room.reclaimable_bytes += bytes;
    }
}

struct Finder<'a> {
    store: &'a Store,
    leased: HashSet<String>,
    roots: super::roots::Roots,
    found: Vec<Found>,
}

impl Finder<'_> {
    /// Adds the layers; returns which blobs are theirs.
    fn layers(&mut self) -> Result<HashSet<Digest>, StoreError> {
        let mut owned = HashSet::new();
        for known in self.store.layer_uses()? {
            let name = layer::name_of(&known.id);
            let Some(layer) = self.store.layer(&known.id)? else {
                continue;
            };
            let own = bytes_below(&self.store.path().join(&name), &mut HashSet::new())?;
            let mut blobs = Vec::new();
            for form in layer.record.compressed {
                let path = self.store.path().join(blob::name_of(&form.digest));
                // Whatever names a blob twice counts it once.
                if path.exists() && owned.insert(form.digest) {
                    blobs.push((form.digest, bytes_below(&path, &mut HashSet::new())?));
                }
            }
            let base = matches!(known.id, LayerId::Pulled(_));
            self.found.push(Found {
                item: Item {
                    kind: if base {
                        ItemKind::BaseLayer
                    } else {
                        ItemKind::Layer
                    },
                    id: known.id.to_string(),
                    bytes: own + blobs.iter().map(|(_, bytes)| bytes).sum::<u64>(),
                    last_used_unix_ms: known.last_used_unix_ms,
                    uses: known.uses,
                    tagged: self.roots.tagged.contains(&name),
                    in_use: self.leased.contains(&name),
                },
                place: Place::Layer(known.id, own, blobs),
                base,
            });
        }
        Ok(owned)
    }

    fn blobs(&mut self, owned: &HashSet<Digest>) -> Result<(), StoreError> {
        for path in list(&self.store.blob_directory())? {
            let digest = format!("{}:{}", Digest::ALGORITHM, file_name(&path));
            let Ok(digest) = digest.parse::<Digest>() else {
                continue;
            };
            if owned.contains(&digest) {
                continue;
            }
            let name = blob::name_of(&digest);
            self.add(
                ItemKind::Blob,
                digest.to_string(),
                &path,
                Place::Blob(digest),
                &name,
            )?;
        }
        Ok(())
    }

    fn mounts(&mut self) -> Result<(), StoreError> {
        for path in list(&self.store.path().join("mounts"))? {
            let id = fs::read_to_string(path.join(cache_mount::ID));
            let id = id.unwrap_or_else(|_| file_name(&path));
            let name = format!("mounts/{}", file_name(&path));
            self.add(
                ItemKind::CacheMount,
                id,
                &path,
                Place::Mount(path.clone()),
                &name,
            )?;
            let Some(found) = self.found.last_mut() else {
                continue;
            };
            for n in cache_mount::numbers(&path)? {
                let lock = cache_mount::lock_path(&path, n);
                let used = modified(&lock);
                found.item.last_used_unix_ms = found.item.last_used_unix_ms.max(used);
                found.item.in_use |= lock.exists()
                    && crate::lock::try_take_existing(&lock).is_ok_and(|lock| lock.is_none());
            }
        }
        Ok(())
    }

    fn contexts(&mut self) -> Result<(), StoreError> {
        let folder = self.store.path().join("documents").join(CONTEXT_KIND);
        for path in list(&folder)? {
            let name = file_name(&path);
            let place = Place::Document(path.clone());
            self.add(ItemKind::Context, name, &path, place, "")?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        kind: ItemKind,
        id: String,
        path: &Path,
        place: Place,
        name: &str,
    ) -> Result<(), StoreError> {
        self.found.push(Found {
            item: Item {
                kind,
                id,
                bytes: bytes_below(path, &mut HashSet::new())?,
                last_used_unix_ms: modified(path),
                uses: 0,
                tagged: self.roots.tagged.contains(name),
                in_use: self.leased.contains(name),
            },
            place,
            base: self.roots.resolved.contains(name),
        });
        Ok(())
    }
}

pub(super) fn modified(path: &Path) -> u64 {
    let time = path.metadata().and_then(|metadata| metadata.modified());
    unix_ms(time.unwrap_or(UNIX_EPOCH))
}
