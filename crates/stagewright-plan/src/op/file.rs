//! `COPY`, `ADD`, the directory that `WORKDIR` makes, and layers that become one.

use stagewright_dockerfile::chmod::Chmod;

/// Changes files of a root file system (input 0) without running anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileOp {
    /// Copies files in.
    Copy(CopyOp),
    /// Makes a directory and its parents.
    Mkdir(MkdirOp),
    /// Makes one layer of all that the root file system of input 1 has above that of input 0.
    Squash,
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOp {
    /// What is copied, in order.
    pub sources: Vec<CopySource>,
    /// Where to, absolute; a `/` at its end says that it is a directory.
    pub dest: String,
    /// `--chown` as it was written, with variables expanded.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<Chmod>,
    /// `--link`: the layer does not depend on what is below it.
    pub link: bool,
    /// `--parents`: directories of the source path are kept.
    pub parents: bool,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
    /// Local archives are unpacked (`ADD`).
    pub unpack: bool,
    /// Where path sources are looked up.
    pub from: CopyFrom,
}

impl CopyOp {
    /// Returns the copy of one path that has no flag.
    pub fn of(path: &str, dest: &str, from: CopyFrom) -> Self {
        Self {
            sources: vec![CopySource::Path(path.to_owned())],
            dest: dest.to_owned(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            exclude: Vec::new(),
            unpack: false,
            from,
        }
    }
}

/// Where the paths of a copy are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFrom {
    /// The source is input 1 of the vertex: a build context.
    Context,
    /// The source is input 1 of the vertex: a root file system.
    Snapshot,
    /// There are inline sources only.
    Nothing,
}

/// One source of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path or a pattern, relative to the root of what it is looked up in.
    Path(String),
    /// What came from the network, a file or a directory with all that it holds.
    Remote {
        /// The place of its vertex among the inputs.
        input: usize,
        /// Where in that it is.
        path: String,
        /// An archive is unpacked.
        unpack: bool,
    },
    /// A heredoc.
    Inline {
        /// The file's name.
        name: String,
        /// Its content.
        text: String,
    },
}

/// Makes a directory with mode 0755 and its missing parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MkdirOp {
    /// The directory, absolute.
    pub path: String,
    /// Its owner as `USER` has it; empty for root.
    pub user: String,
}
