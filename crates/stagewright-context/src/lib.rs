//! Build contexts: walk, ignore rules, file digests.
//!
//! A [`Context`] is a folder seen through [`Patterns`], the rules of its `.dockerignore`. It finds
//! what a COPY source names, walks it in a fixed order, hashes files through a [`StatCache`] that
//! saves reading those that did not change, and opens them for copying so that what was copied is
//! what gets hashed.
//!
//! Nothing here leaves the context's folder: links in a named source are resolved inside it, links
//! below it are never followed. Nothing here knows instructions, layers or stores.
//!
//! ```
//! use stagewright_context::{Context, Patterns, StatCache};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # fs_err::create_dir(folder.path().join("src")).unwrap();
//! # fs_err::write(folder.path().join("src/main.rs"), "fn main() {}").unwrap();
//! # fs_err::write(folder.path().join("src/main.o"), "").unwrap();
//! let context = Context::open(folder.path(), Patterns::parse("**/*.o\n").unwrap()).unwrap();
//! let found = context.find("src").unwrap();
//! let mut walk = context.walk(&found[0].path).unwrap();
//! let mut cache = StatCache::default();
//! context.digest(&mut walk.entries, &mut cache).unwrap();
//!
//! let paths: Vec<_> = walk.entries.iter().map(|entry| entry.path.to_str().unwrap()).collect();
//! assert_eq!(paths, ["src", "src/main.rs"]);
//! assert!(walk.entries[1].content.is_some());
//! ```

mod archive;
mod digest;
mod directory;
mod entry;
mod error;
mod find;
pub mod glob;
pub mod patterns;
mod read;
mod resolve;
mod stat_cache;
mod walk;

pub use archive::unpack_tar;
pub use directory::Context;
pub use entry::{Entry, EntryKind, FileStamp, Xattrs};
pub use error::ContextError;
pub use find::Found;
pub use patterns::{IgnoreFileError, MatchState, Patterns};
pub use read::ContextFile;
pub use stat_cache::{StatCache, StatCacheError};
pub use walk::{Skipped, Walk};
