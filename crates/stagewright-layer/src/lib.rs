//! Layers: what they hold, and their tar form.
//!
//! A layer is a list of entries ([`LayerIndex`]) and the bytes of its files. [`LayerWriter`] writes
//! both as a tar that is the same for the same entries, [`LayerReader`] reads the tar of any
//! builder, [`Compressor`] and [`decompress`] stand between tars and blobs, and [`TreeHasher`]
//! names what entries hold.
//!
//! This crate opens no file and no socket: callers give readers and writers.
//!
//! ```
//! use stagewright_layer::{Entry, EntryPath, LayerWriter, Metadata};
//!
//! let mut writer = LayerWriter::new(Vec::new());
//! let folder = EntryPath::parse(b"app").unwrap();
//! let file = folder.child(b"hello").unwrap();
//! writer.append(&Entry::directory(folder, Metadata::with_mode(0o755))).unwrap();
//! writer.append_file(&file, &Metadata::with_mode(0o644), 2, &mut &b"hi"[..]).unwrap();
//! let layer = writer.finish().unwrap();
//! assert_eq!(layer.index.len(), 2);
//! println!("{} {} bytes", layer.diff_id, layer.bytes);
//! ```

mod arena;
mod behind;
mod codec;
mod compress;
mod content;
mod entry;
mod estargz;
mod estargz_toc;
mod gzip_members;
mod header;
mod index;
mod index_builder;
mod name_tree;
mod path;
mod path_map;
mod pax;
mod reader;
mod sparse;
mod stored;
mod whiteout;
mod writer;

pub use codec::IndexError;
pub use compress::{Codec, CompressError, Compression, Compressor, decompress, detect};
pub use content::TreeHasher;
pub use entry::{Entry, EntryKind, Metadata, Mtime, xattr_belongs};
pub use estargz::{
    ESTARGZ_SIZE_ANNOTATION, ESTARGZ_TOC_ANNOTATION, EstargzError, WrittenEstargz, write_estargz,
};
pub use index::{Child, Extent, FileData, IndexFault, LayerIndex, Record};
pub use index_builder::{
    BuildFault, IndexBuilder, IndexedLayer, ReadIndexError, ReadLayer, StoredIndex, read_index,
    store_index,
};
pub use path::{EntryPath, InvalidPath, PathFault};
pub use path_map::PathMap;
pub use reader::{FileItem, LayerItem, LayerReader, ReadError};
pub use stored::IndexReader;
pub use whiteout::{OPAQUE_MARKER, WHITEOUT_PREFIX, is_reserved, opaque_marker, whiteout_marker};
pub use writer::{LayerWriter, PendingDiffId, UnnamedLayer, WriteError, WrittenLayer};
