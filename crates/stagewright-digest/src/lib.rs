//! Names of things.
//!
//! Two hash functions are in use and they never meet: SHA-256 names what OCI names (blobs, layers,
//! images), BLAKE3 names work and files (content, actions, snapshots). Each name is a type of its
//! own, built by parsing or by hashing, and no type converts into another.
//!
//! Key material goes through [`Encoder`] only: it frames every part, so that no two different
//! lists of parts give the same bytes.
//!
//! This crate opens no file and no socket.
//!
//! ```
//! use stagewright_digest::{Digest, Encoder};
//!
//! let blob = Digest::of(b"hello");
//! assert_eq!(blob, blob.to_string().parse().unwrap());
//!
//! let mut key = Encoder::new("example", 1);
//! key.text("command", "npm ci");
//! let _name: [u8; 32] = key.finish();
//! ```

mod blake3_names;
mod encoder;
mod hex;
mod layer_id;
mod oci_digest;

pub use blake3_names::{
    ActionKey, ContentDigest, ContentHasher, PartsDigest, SnapshotId, StampsDigest,
};
pub use encoder::Encoder;
pub use hex::InvalidDigest;
pub use layer_id::LayerId;
pub use oci_digest::{ChainId, DiffId, Digest, DigestWriter};
