//! Sources: what comes in from outside.

use stagewright_digest::{Digest, LayerId};
use stagewright_oci::Platform;

use crate::remote::RemoteKind;

/// Something from outside the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceOp {
    /// The empty root file system.
    Scratch,
    /// An image. Its layers are named here, so that it need not be downloaded to be keyed.
    Image {
        /// The reference as it was asked for.
        reference: String,
        /// The platform that was chosen.
        platform: Platform,
        /// The digest of its manifest, where it has one.
        manifest: Option<Digest>,
        /// Its layers, from the bottom up.
        layers: Vec<LayerId>,
    },
    /// A file from the network, alone in its root file system.
    Http {
        /// Where it is.
        url: String,
        /// The name that it has there.
        name: String,
        /// The digest that it must have.
        checksum: Option<Digest>,
        /// An archive is unpacked: it is a build context.
        unpack: bool,
    },
    /// The files of a git repository.
    Git {
        /// Where it is, with the reference and the folder that are meant.
        url: String,
        /// The commit, or the beginning of it, that it must be.
        checksum: Option<String>,
        /// Whether `.git` is kept, if the instruction says so.
        keep_git_dir: Option<bool>,
    },
    /// A build context: `context`, or the name of a named context.
    Context {
        /// Its name.
        name: String,
    },
}

impl SourceOp {
    /// Makes the source of a build context that lies on the network: the files of a repository, or
    /// of an archive, else a file called `context`. Nothing for what is a path.
    pub fn remote_context(address: &str, keep_git_dir: Option<bool>) -> Option<Self> {
        Some(match RemoteKind::of(address)? {
            RemoteKind::Git => Self::Git {
                url: address.to_owned(),
                checksum: None,
                keep_git_dir,
            },
            RemoteKind::Http => Self::Http {
                url: address.to_owned(),
                name: Self::CONTEXT_FILE.to_owned(),
                checksum: None,
                unpack: true,
            },
        })
    }

    /// The name of a context from the network that is one file.
    pub const CONTEXT_FILE: &'static str = "context";
}
