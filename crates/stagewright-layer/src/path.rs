//! Paths inside a layer.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// Why bytes are not a path inside a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathFault {
    /// A component is `..`, which could lead out of the root.
    #[error("it has a component `..`")]
    Parent,
    /// A NUL byte, which no file name can hold.
    #[error("it holds a NUL byte")]
    Nul,
    /// A component is empty or `.`, or the path begins with a slash.
    #[error("it is not in its shortest relative form")]
    NotCanonical,
    /// A component is longer than the 255 bytes that Linux allows.
    #[error("a component is longer than 255 bytes")]
    TooLong,
}

/// Bytes that are not a path inside a layer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("path {:?} can't be used in a layer: {fault}", String::from_utf8_lossy(.path))]
pub struct InvalidPath {
    /// The bytes.
    pub path: Vec<u8>,
    /// What is wrong with them.
    pub fault: PathFault,
}

/// The longest component of a path that Linux allows, in bytes.
const COMPONENT_BYTES_MAX: usize = 255;

/// A path inside a layer: bytes, relative to the root directory, without a leading or trailing
/// slash, without empty, `.` or `..` components. The empty path is the root directory itself.
///
/// Paths order component by component, so that a directory comes directly before everything below
/// it and a subtree is one contiguous range. Clones share the bytes: a build has each path in several
/// lists.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct EntryPath(Arc<[u8]>);

/// Paths up to this length are put together without memory of their own.
const SHORT_BYTES: usize = 256;

impl EntryPath {
    /// Returns the path of the root directory.
    pub fn root() -> Self {
        Self::default()
    }

    /// Takes bytes that are in canonical form already.
    ///
    /// # Errors
    /// When they are not; see [`EntryPath::clean`] for bytes from outside.
    pub fn parse(path: &[u8]) -> Result<Self, InvalidPath> {
        if path.is_empty() {
            return Ok(Self::root());
        }
        for component in path.split(|&byte| byte == b'/') {
            check_component(component).map_err(|fault| InvalidPath {
                path: path.to_vec(),
                fault,
            })?;
        }
        Ok(Self(path.into()))
    }

    /// Takes bytes as tar archives and Dockerfiles write them, as seen from the root directory:
    /// leading, trailing and doubled slashes and `.` components are dropped.
    ///
    /// # Errors
    /// When a component is `..`, too long, or holds a NUL byte. Such a path is never resolved, as
    /// what it means would depend on symbolic links.
    pub fn clean(path: &[u8]) -> Result<Self, InvalidPath> {
        if let Ok(clean) = Self::parse(path) {
            return Ok(clean);
        }
        let mut clean = Vec::with_capacity(path.len());
        for component in path.split(|&byte| byte == b'/') {
            if component.is_empty() || component == b"." {
                continue;
            }
            check_component(component).map_err(|fault| InvalidPath {
                path: path.to_vec(),
                fault,
            })?;
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(component);
        }
        Ok(Self(clean.into()))
    }

    /// Returns the path of `name` in this directory.
    ///
    /// # Errors
    /// When `name` is not one component.
    pub fn child(&self, name: &[u8]) -> Result<Self, InvalidPath> {
        let invalid = |fault| InvalidPath {
            path: name.to_vec(),
            fault,
        };
        if name.contains(&b'/') {
            return Err(invalid(PathFault::NotCanonical));
        }
        check_component(name).map_err(invalid)?;
        Ok(self.with(name))
    }

    /// Returns `path`, which is relative to this directory, relative to the root.
    #[must_use]
    pub fn join(&self, path: &Self) -> Self {
        if path.is_root() {
            self.clone()
        } else {
            self.with(&path.0)
        }
    }

    fn with(&self, tail: &[u8]) -> Self {
        if self.is_root() {
            return Self(tail.into());
        }
        let mut short = [0; SHORT_BYTES];
        let slash = self.0.len();
        match short.get_mut(..slash + 1 + tail.len()) {
            None => Self([&*self.0, b"/", tail].concat().into()),
            Some(joined) => {
                joined[..slash].copy_from_slice(&self.0);
                joined[slash] = b'/';
                joined[slash + 1..].copy_from_slice(tail);
                Self((&*joined).into())
            }
        }
    }

    /// Returns whether this is the root directory.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path as one of the file system, relative to the layer's root directory.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Returns the path of this entry in a directory of the host that holds the layer's tree.
    /// Following it may lead out of `root` when the tree holds symbolic links.
    pub fn below(&self, root: &Path) -> PathBuf {
        if self.is_root() {
            root.to_owned()
        } else {
            root.join(self.as_path())
        }
    }

    /// Returns the last component; nothing for the root directory.
    pub fn name(&self) -> Option<&[u8]> {
        self.0
            .rsplit(|&byte| byte == b'/')
            .next()
            .filter(|name| !name.is_empty())
    }

    /// Returns the directory that holds this entry; nothing for the root directory.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// Returns whether `directory` holds this entry itself.
    pub fn is_directly_in(&self, directory: &Self) -> bool {
        let name = match self.0.strip_prefix(&*directory.0) {
            Some(name) if directory.is_root() => name,
            Some([b'/', name @ ..]) => name,
            _ => return false,
        };
        !name.is_empty() && !name.contains(&b'/')
    }

    /// Returns whether both lie directly in the same directory.
    pub fn is_beside(&self, other: &Self) -> bool {
        let directory = |path: &Self| {
            let name_bytes = path.name().map_or(0, <[u8]>::len);
            path.0.len() - name_bytes
        };
        let end = directory(self);
        !self.is_root()
            && !other.is_root()
            && end == directory(other)
            && self.0[..end] == other.0[..end]
    }

    /// Returns the components from the top down; none for the root directory.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split(|&byte| byte == b'/')
            .filter(|component| !component.is_empty())
    }

    /// Returns the directories that hold this entry, from the root directory down, without itself.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        let slashes = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at);
        let ends = (!self.is_root()).then_some(0).into_iter().chain(slashes);
        ends.map(|end| Self(self.0[..end].into()))
    }

    /// Returns whether this is `directory` or lies below it.
    pub fn is_within(&self, directory: &Self) -> bool {
        self.bytes_within(directory).is_some()
    }

    /// Returns this path as seen from `directory`; nothing when it is not within it.
    pub fn relative_to(&self, directory: &Self) -> Option<Self> {
        match self.bytes_within(directory)? {
            _ if directory.is_root() => Some(self.clone()),
            rest => Some(Self(rest.into())),
        }
    }

    fn bytes_within(&self, directory: &Self) -> Option<&[u8]> {
        if directory.is_root() {
            return Some(&self.0);
        }
        match self.0.strip_prefix(&*directory.0)? {
            [] => Some(&[]),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }
}

fn check_component(component: &[u8]) -> Result<(), PathFault> {
    match component {
        b"" | b"." => Err(PathFault::NotCanonical),
        b".." => Err(PathFault::Parent),
        long if long.len() > COMPONENT_BYTES_MAX => Err(PathFault::TooLong),
        name if name.contains(&0) => Err(PathFault::Nul),
        _ => Ok(()),
    }
}

/// Compares bytes of paths so that a slash sorts below everything else.
pub(crate) fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let same = same_bytes(one, other);
    match (one.get(same), other.get(same)) {
        (Some(b'/'), Some(_)) => Ordering::Less,
        (Some(_), Some(b'/')) => Ordering::Greater,
        (a, b) => a.cmp(&b),
    }
}

/// Returns how many bytes at the beginning are the same.
fn same_bytes(one: &[u8], other: &[u8]) -> usize {
    const WORD: usize = size_of::<u64>();
    // Neighbours in a layer are mostly the same up to their last component: by words that is much faster.
    let words = one.chunks_exact(WORD).zip(other.chunks_exact(WORD));
    let begin = WORD * words.take_while(|(a, b)| a == b).count();
    let rest = one[begin..].iter().zip(&other[begin..]);
    begin + rest.take_while(|(a, b)| a == b).count()
}

impl Ord for EntryPath {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for EntryPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As a Dockerfile writes it: with a leading slash.
impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryPath({:?})", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn cleaning_gives_the_canonical_form_or_says_why_not() {
        let cases = [
            ("", Ok("")),
            ("/", Ok("")),
            ("./", Ok("")),
            ("a", Ok("a")),
            ("./a//b/./c/", Ok("a/b/c")),
            ("/etc/passwd", Ok("etc/passwd")),
            ("a/..b", Ok("a/..b")),
            ("a/...", Ok("a/...")),
            ("..", Err(PathFault::Parent)),
            ("a/../b", Err(PathFault::Parent)),
            ("a\0b", Err(PathFault::Nul)),
        ];
        for (text, expected) in cases {
            let clean = EntryPath::clean(text.as_bytes());
            assert_eq!(
                clean.map_err(|error| error.fault),
                expected.map(path),
                "{text:?}"
            );
        }
        let long = "x".repeat(256);
        assert_eq!(
            EntryPath::clean(long.as_bytes()).unwrap_err().fault,
            PathFault::TooLong
        );
    }

    #[test]
    fn only_canonical_bytes_parse() {
        for bad in [
            "/", "/a", "a/", "a//b", ".", "./a", "a/.", "..", "a/../b", "a\0",
        ] {
            assert!(EntryPath::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_subtree_is_contiguous() {
        let mut paths = ["a-b", "a/b", "a", "a/b/c", "a.b", "", "a/b-c", "b"].map(path);
        paths.sort();
        let sorted: Vec<_> = paths
            .iter()
            .map(|path| path.as_path().to_str().unwrap())
            .collect();
        assert_eq!(
            sorted,
            ["", "a", "a/b", "a/b/c", "a/b-c", "a-b", "a.b", "b"]
        );
    }

    #[test]
    fn long_paths_compare_at_their_first_difference() {
        let common = "component/";
        for length in 0..40 {
            let prefix: String = common.chars().cycle().take(length).collect();
            let (one, other) = (format!("{prefix}a/b"), format!("{prefix}a-b"));
            let longer = format!("{one}x");
            let order = |one: &str, other: &str| compare(one.as_bytes(), other.as_bytes());
            assert_eq!(order(&one, &other), Ordering::Less, "{one}");
            assert_eq!(order(&other, &one), Ordering::Greater, "{one}");
            assert_eq!(order(&one, &one), Ordering::Equal, "{one}");
            assert_eq!(order(&one, &longer), Ordering::Less, "{one}");
        }
    }

    #[test]
    fn parents_and_children() {
        assert_eq!(path("").parent(), None);
        assert_eq!(path("a").parent(), Some(path("")));
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a/b").name(), Some(&b"b"[..]));
        assert_eq!(path("").name(), None);
        assert_eq!(
            path("a/b/c").ancestors().collect::<Vec<_>>(),
            ["", "a", "a/b"].map(path)
        );
        assert_eq!(path("").ancestors().count(), 0);
        assert_eq!(path("a").child(b"b").unwrap(), path("a/b"));
        assert_eq!(path("").child(b"b").unwrap(), path("b"));
        assert!(path("a").child(b"b/c").is_err());
        assert!(path("a").child(b"..").is_err());
        assert!(path("a").is_directly_in(&path("")) && path("a/b").is_directly_in(&path("a")));
        assert!(!path("a/b").is_directly_in(&path("")) && !path("a").is_directly_in(&path("a")));
        assert!(!path("ab").is_directly_in(&path("a")));
        assert!(path("a").is_beside(&path("b")) && path("a/b").is_beside(&path("a/cd")));
        assert!(!path("a/b").is_beside(&path("c/b")) && !path("a").is_beside(&path("a/b")));
        assert!(!path("").is_beside(&path("")) && !path("").is_beside(&path("a")));
        let long = path(&"x".repeat(255));
        assert_eq!(
            long.child(b"y").unwrap(),
            path(&format!("{}/y", "x".repeat(255)))
        );
        assert_eq!(path("a").join(&path("b/c")), path("a/b/c"));
        assert_eq!(path("a").join(&path("")), path("a"));
    }

    #[test]
    fn relative_paths_end_at_components() {
        assert_eq!(path("a/b").relative_to(&path("a")), Some(path("b")));
        assert_eq!(path("a").relative_to(&path("a")), Some(path("")));
        assert_eq!(path("ab").relative_to(&path("a")), None);
        assert_eq!(path("a").relative_to(&path("")), Some(path("a")));
        assert!(!path("a").is_within(&path("a/b")));
    }
}
