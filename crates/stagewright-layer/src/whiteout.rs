//! Names that mean deletions (image specification, "Whiteouts").

use crate::path::EntryPath;

/// A name with this prefix says that the rest of the name is gone.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// A name in a directory that says that the directory hides what lower layers hold in it.
pub const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
/// Other names with this prefix are aufs' own bookkeeping.
pub(crate) const BOOKKEEPING: &[u8] = b".wh..wh.";

/// Returns whether the last component of a path means something else than itself in a layer's tar,
/// so that no file of an image can have it.
pub fn is_reserved(path: &EntryPath) -> bool {
    path.name()
        .is_some_and(|name| name.starts_with(WHITEOUT_PREFIX))
}

/// Returns the name in a tar that says that `path` is gone.
pub fn whiteout_marker(path: &EntryPath) -> Vec<u8> {
    let name = path.name().unwrap_or_default();
    let folder = &path.as_bytes()[..path.as_bytes().len() - name.len()];
    [folder, WHITEOUT_PREFIX, name].concat()
}

/// Returns the name in a tar that says that the directory `path` is opaque.
pub fn opaque_marker(path: &EntryPath) -> Vec<u8> {
    if path.is_root() {
        return OPAQUE_MARKER.to_vec();
    }
    [path.as_bytes(), b"/", OPAQUE_MARKER].concat()
}

/// What a name in a tar means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An entry like any other.
    Entry,
    /// What is at this path is gone.
    Whiteout(EntryPath),
    /// The directory at this path is opaque.
    Opaque(EntryPath),
    /// Nothing that concerns an image.
    Bookkeeping,
}

/// Returns what a path in a tar means.
pub(crate) fn meaning(path: &EntryPath) -> Meaning {
    let (Some(name), Some(parent)) = (path.name(), path.parent()) else {
        return Meaning::Entry;
    };
    // aufs keeps folders of its own in the root, and things of its own in them.
    if path
        .components()
        .any(|component| component != OPAQUE_MARKER && component.starts_with(BOOKKEEPING))
    {
        return Meaning::Bookkeeping;
    }
    if name == OPAQUE_MARKER {
        return Meaning::Opaque(parent);
    }
    match name
        .strip_prefix(WHITEOUT_PREFIX)
        .map(|gone| parent.child(gone))
    {
        None => Meaning::Entry,
        Some(Ok(gone)) => Meaning::Whiteout(gone),
        Some(Err(_)) => Meaning::Bookkeeping,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn markers_are_told_from_entries() {
        let cases = [
            ("a", Meaning::Entry),
            ("a/.wh", Meaning::Entry),
            ("a/.wh.b", Meaning::Whiteout(path("a/b"))),
            (".wh.b", Meaning::Whiteout(path("b"))),
            ("a/.wh..wh..opq", Meaning::Opaque(path("a"))),
            (".wh..wh..opq", Meaning::Opaque(path(""))),
            (".wh..wh.plnk/1.2", Meaning::Bookkeeping),
            (".wh..wh.aufs", Meaning::Bookkeeping),
            ("a/.wh.", Meaning::Bookkeeping),
            ("a/.wh...", Meaning::Bookkeeping),
        ];
        for (text, expected) in cases {
            assert_eq!(meaning(&path(text)), expected, "{text}");
        }
        for text in ["a", "a/b", "a/b/c"] {
            let written = EntryPath::parse(&whiteout_marker(&path(text))).unwrap();
            assert_eq!(meaning(&written), Meaning::Whiteout(path(text)));
            let written = EntryPath::parse(&opaque_marker(&path(text))).unwrap();
            assert_eq!(meaning(&written), Meaning::Opaque(path(text)));
        }
    }
}
