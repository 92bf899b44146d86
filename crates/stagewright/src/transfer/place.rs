//! Where images are.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};
use crate::image::parse_name;

/// A place of an image, written as containers-transports(5) has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImagePlace {
    /// A name in the store here: `NAME`, or `store:NAME`.
    Store(String),
    /// A registry: `docker://NAME`.
    Registry(String),
    /// An OCI image layout in a directory: `oci:PATH[:NAME]`.
    OciDirectory {
        /// The directory.
        path: PathBuf,
        /// The name or tag in it.
        name: Option<String>,
    },
    /// A tar of an OCI image layout: `oci-archive:PATH[:NAME]`.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// The name or tag in it.
        name: Option<String>,
    },
    /// What `docker save` writes: `docker-archive:PATH[:NAME]`.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// The name in it.
        name: Option<String>,
    },
    /// The storage of Podman, Buildah and CRI-O, by way of `podman`: `containers-storage:NAME`.
    ContainersStorage(String),
    /// A Docker daemon, by way of `docker`: `docker-daemon:NAME`.
    DockerDaemon(String),
}

impl FromStr for ImagePlace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(name) = text.strip_prefix("docker://") {
            return named(name).map(Self::Registry);
        }
        let Some((transport, rest)) = text.split_once(':') else {
            return named(text).map(Self::Store);
        };
        match transport {
            "store" => named(rest).map(Self::Store),
            "oci" => path_and_name(rest).map(|(path, name)| Self::OciDirectory { path, name }),
            "oci-archive" => {
                path_and_name(rest).map(|(path, name)| Self::OciArchive { path, name })
            }
            "docker-archive" => {
                path_and_name(rest).map(|(path, name)| Self::DockerArchive { path, name })
            }
            "containers-storage" => named(rest).map(Self::ContainersStorage),
            "docker-daemon" => named(rest).map(Self::DockerDaemon),
            "dir" | "tarball" | "sif" | "ostree" | "docker" | "atomic" => {
                let message = format!(
                    "{transport:?} is no place that images are copied to or from: there are docker://, oci:, oci-archive:, docker-archive:, containers-storage:, docker-daemon: and store:"
                );
                Err(Error::new(ErrorKind::Unsupported, message))
            }
            _ => named(text).map(Self::Store),
        }
    }
}

impl ImagePlace {
    /// Says whether the image of one platform is all that the place takes.
    pub(super) fn takes_one_platform(&self) -> bool {
        match self {
            Self::Store(_)
            | Self::DockerArchive { .. }
            | Self::ContainersStorage(_)
            | Self::DockerDaemon(_) => true,
            Self::Registry(_) | Self::OciDirectory { .. } | Self::OciArchive { .. } => false,
        }
    }
}

impl fmt::Display for ImagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, name) = match self {
            Self::Store(name) => return f.write_str(name),
            Self::Registry(name) => return write!(f, "docker://{name}"),
            Self::ContainersStorage(name) => return write!(f, "containers-storage:{name}"),
            Self::DockerDaemon(name) => return write!(f, "docker-daemon:{name}"),
            Self::OciDirectory { path, name } => ("oci", path, name),
            Self::OciArchive { path, name } => ("oci-archive", path, name),
            Self::DockerArchive { path, name } => ("docker-archive", path, name),
        };
        write!(f, "{transport}:{}", path.display())?;
        match name {
            Some(name) => write!(f, ":{name}"),
            None => Ok(()),
        }
    }
}

/// Checks that a name can be one, with a digest or without.
fn named(name: &str) -> Result<String, Error> {
    let parsed = name.parse::<stagewright_oci::Reference>();
    parsed.map_err(|error| Error::new(ErrorKind::Request, format!("{error}")))?;
    Ok(name.to_owned())
}

/// Takes a path and what follows its colon.
fn path_and_name(text: &str) -> Result<(PathBuf, Option<String>), Error> {
    let (path, name) = match text.split_once(':') {
        Some((path, name)) => (path, Some(name.to_owned()).filter(|name| !name.is_empty())),
        None => (text, None),
    };
    if path.is_empty() {
        return Err(Error::new(ErrorKind::Request, "a place on disk has a path"));
    }
    Ok((PathBuf::from(path), name))
}

/// Returns the name that an image gets in a place; it must be a full name or a tag.
pub(super) fn destination_name(name: &str) -> Result<stagewright_oci::Reference, Error> {
    parse_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_other_tools_write_them() {
        let file = |path: &str, name: Option<&str>| (PathBuf::from(path), name.map(str::to_owned));
        for (text, expected) in [
            ("app:1", ImagePlace::Store("app:1".into())),
            ("store:oci:1", ImagePlace::Store("oci:1".into())),
            (
                "r.example:5000/a",
                ImagePlace::Store("r.example:5000/a".into()),
            ),
            ("docker://a/b:1", ImagePlace::Registry("a/b:1".into())),
            (
                "containers-storage:a",
                ImagePlace::ContainersStorage("a".into()),
            ),
            ("docker-daemon:a:1", ImagePlace::DockerDaemon("a:1".into())),
            ("oci:out/x:a:1", {
                let (path, name) = file("out/x", Some("a:1"));
                ImagePlace::OciDirectory { path, name }
            }),
            ("oci-archive:x.tar", {
                let (path, name) = file("x.tar", None);
                ImagePlace::OciArchive { path, name }
            }),
            ("docker-archive:/x.tar:a:1", {
                let (path, name) = file("/x.tar", Some("a:1"));
                ImagePlace::DockerArchive { path, name }
            }),
        ] {
            assert_eq!(text.parse::<ImagePlace>().unwrap(), expected, "{text}");
        }
        for text in ["docker://", "oci:", "dir:x", "docker://A", "oci-archive::a"] {
            assert!(text.parse::<ImagePlace>().is_err(), "{text}");
        }
    }
}
