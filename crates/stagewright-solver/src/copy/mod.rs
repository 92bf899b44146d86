//! `COPY` and `ADD`: what is selected, what its key is, and what the new layer holds.
//!
//! The work is in three parts, of which only the last writes anything: [`select`] finds what the
//! sources name in a tree, [`place`] says which entry goes where in the root file system, and
//! [`write`] makes the layer. Nothing is mounted.
//!
//! The rules are BuildKit's (its file operations with "copy directory contents", wildcards and
//! followed links; checked against docker 26): the contents of a source directory are copied and
//! its own metadata is not; directories in it overwrite the metadata of those that are there;
//! missing directories above the destination are made with mode 0755.

mod described;
mod place;
mod select;
mod tree;

pub(crate) use described::selected_files;
pub(crate) use place::{Below, Bytes, Owner, Placement, Placing, clean, place};
pub(crate) use select::{MAIN_INPUT, Selection, looked_up, select};
pub(crate) use tree::{Found, Node, NodeKind, SourceTree, Sources};
