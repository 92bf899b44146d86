//! `-o`, `--output`: docker's comma-separated form.

use std::path::PathBuf;
use std::str::FromStr;

use stagewright::{Annotation, Push, csv_fields, did_you_mean};

use super::annotation;
use super::output_options::{OPTIONS, of_option};

/// One output of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputArgument {
    pub(crate) kind: OutputKind,
    /// Names that the output carries instead of the image's tags.
    pub(crate) names: Vec<String>,
    pub(crate) compression: Option<Compression>,
    /// How hard it is compressed.
    pub(crate) level: Option<i32>,
    /// Layers of base images are compressed in that way too.
    pub(crate) force_compression: bool,
    /// OCI's media types, or Docker's; the form's own if absent.
    pub(crate) oci_media_types: Option<bool>,
    /// Files are no later than `SOURCE_DATE_EPOCH`.
    pub(crate) rewrite_timestamp: bool,
    pub(crate) annotations: Vec<Annotation>,
    /// The names are told with the digest, too.
    pub(crate) name_canonical: bool,
}

/// The form and the place of an output; no path is standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// An OCI image layout.
    Oci {
        dest: Option<PathBuf>,
        form: ArchiveForm,
    },
    /// What `docker load` reads, as a file.
    DockerArchive { dest: Option<PathBuf> },
    /// What `--load` does.
    Load,
    /// The image's files in a folder.
    Directory { dest: PathBuf },
    /// The image's files as a tar.
    Tar { dest: Option<PathBuf> },
    /// The image stays in the store under its names, which it does anyway.
    Store,
    /// The image goes to the registries of its names.
    Push(Push),
    /// Nothing is written.
    CacheOnly,
}

/// Whether an OCI layout is a folder or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveForm {
    Directory,
    Archive,
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Uncompressed,
    Gzip,
    Zstd,
    Estargz,
}

/// The fields of a `key=value,…` text as they were written.
#[derive(Default)]
struct Fields {
    kind: String,
    dest: Option<String>,
    tar: Option<bool>,
    names: Vec<String>,
    compression: Option<Compression>,
    level: Option<i32>,
    force_compression: bool,
    oci_media_types: Option<bool>,
    rewrite_timestamp: bool,
    annotations: Vec<Annotation>,
    name_canonical: bool,
    push: Option<bool>,
    push_by_digest: bool,
    insecure: bool,
    /// The options that were given, as the table has them.
    given: Vec<&'static str>,
}

/// The types of outputs.
const TYPES: [&str; 7] = [
    "oci",
    "docker",
    "local",
    "tar",
    "image",
    "registry",
    "cacheonly",
];

impl FromStr for OutputArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields = csv_fields(text)?;
        if let [path] = &fields[..]
            && !path.contains('=')
        {
            let kind = match path.as_str() {
                "-" => OutputKind::Tar { dest: None },
                "" => return Err("write type=TYPE,dest=PATH, or a folder".to_owned()),
                path => OutputKind::Directory {
                    dest: PathBuf::from(path),
                },
            };
            return Ok(Self::of(kind));
        }
        let mut parsed = Fields::default();
        for field in &fields {
            parsed.add(field)?;
        }
        let kind = parsed.kind()?;
        parsed.check(&kind)?;
        Ok(Self {
            names: parsed.names,
            compression: parsed.compression,
            level: parsed.level,
            force_compression: parsed.force_compression,
            oci_media_types: parsed.oci_media_types,
            rewrite_timestamp: parsed.rewrite_timestamp,
            annotations: parsed.annotations,
            name_canonical: parsed.name_canonical,
            ..Self::of(kind)
        })
    }
}

impl OutputArgument {
    /// An output with nothing said but its form.
    pub(crate) fn of(kind: OutputKind) -> Self {
        Self {
            kind,
            names: Vec::new(),
            compression: None,
            level: None,
            force_compression: false,
            oci_media_types: None,
            rewrite_timestamp: false,
            annotations: Vec::new(),
            name_canonical: false,
        }
    }
}

impl Fields {
    fn add(&mut self, field: &str) -> Result<(), String> {
        let Some((typed, value)) = field.split_once('=') else {
            return Err(format!("{field:?} has no `=`; write type=TYPE,dest=PATH"));
        };
        let key = typed.trim().to_ascii_lowercase();
        let option = of_option(&key)?;
        self.given.push(option.name);
        if option.means_nothing(value) {
            return Ok(());
        }
        match key.as_str() {
            "type" => self.kind = value.to_ascii_lowercase(),
            "dest" => self.dest = Some(value.to_owned()),
            "tar" => self.tar = Some(boolean(&key, value)?),
            "name" => self.names = value.split(',').map(str::to_owned).collect(),
            "push" => self.push = Some(boolean(&key, value)?),
            "push-by-digest" => self.push_by_digest = boolean(&key, value)?,
            "insecure" | "registry.insecure" => self.insecure = boolean(&key, value)?,
            "compression-level" => {
                let level = value.parse();
                self.level = Some(
                    level.map_err(|_| format!("compression-level is a number, not {value:?}"))?,
                );
            }
            "force-compression" => self.force_compression = boolean(&key, value)?,
            "oci-mediatypes" => self.oci_media_types = Some(boolean(&key, value)?),
            "rewrite-timestamp" => self.rewrite_timestamp = boolean(&key, value)?,
            "name-canonical" => self.name_canonical = boolean(&key, value)?,
            "compression" => {
                self.compression = Some(match value {
                    "uncompressed" => Compression::Uncompressed,
                    "gzip" => Compression::Gzip,
                    "zstd" => Compression::Zstd,
                    "estargz" => Compression::Estargz,
                    _ => {
                        return Err(format!(
                            "compression is uncompressed, gzip, zstd or estargz, not {value:?}"
                        ));
                    }
                });
            }
            _ => match annotation::option(typed.trim(), value) {
                Some(annotation) => self.annotations.push(annotation?),
                None => return Err(option.refusal(value)),
            },
        }
        Ok(())
    }

    fn kind(&self) -> Result<OutputKind, String> {
        let dest = match self.dest.as_deref() {
            None | Some("-") => None,
            Some("") => return Err("dest= is empty".to_owned()),
            Some(path) => Some(PathBuf::from(path)),
        };
        let named = |what: &str| {
            let missing = self.dest.is_none();
            missing.then(|| format!("type={what} needs dest=PATH"))
        };
        Ok(match self.kind.as_str() {
            "oci" => {
                let form = self.oci_form();
                if form == ArchiveForm::Directory && dest.is_none() {
                    return Err("type=oci needs dest=PATH".to_owned());
                }
                OutputKind::Oci { dest, form }
            }
            "docker" if self.tar == Some(false) => {
                return Err("type=docker is always a tar; use type=oci for a folder".to_owned());
            }
            "docker" if self.dest.is_none() => OutputKind::Load,
            "docker" => OutputKind::DockerArchive { dest },
            "local" => match (named("local"), dest) {
                (Some(error), _) => return Err(error),
                (None, None) => {
                    return Err("type=local can't be written to stdout; use type=tar".to_owned());
                }
                (None, Some(dest)) => OutputKind::Directory { dest },
            },
            "tar" => match named("tar") {
                Some(error) => return Err(error),
                None => OutputKind::Tar { dest },
            },
            "image" if self.push != Some(true) => OutputKind::Store,
            "registry" if self.push == Some(false) => OutputKind::Store,
            "image" | "registry" => OutputKind::Push(Push {
                by_digest: self.push_by_digest,
                insecure: self.insecure,
            }),
            "cacheonly" => OutputKind::CacheOnly,
            "" => return Err("the output has no type=".to_owned()),
            other => {
                let near = did_you_mean(other, TYPES.into_iter());
                let near = near.map(|near| format!(": {near}")).unwrap_or_default();
                return Err(format!(
                    "there is no output type {other:?}{near}; the types are {}",
                    TYPES.join(", ")
                ));
            }
        })
    }

    /// Refuses options that the form cannot have.
    fn check(&self, kind: &OutputKind) -> Result<(), String> {
        let is_push = matches!(kind, OutputKind::Push(_));
        if (self.push_by_digest || self.insecure) && !is_push {
            return Err("push-by-digest and insecure are for what is pushed".to_owned());
        }
        if self.dest.is_some()
            && matches!(
                kind,
                OutputKind::Push(_) | OutputKind::Store | OutputKind::CacheOnly
            )
        {
            return Err(format!("type={} has no dest", self.kind));
        }
        let has_manifest = matches!(
            kind,
            OutputKind::Push(_)
                | OutputKind::Oci { .. }
                | OutputKind::DockerArchive { .. }
                | OutputKind::Load
        );
        let is_about_manifests = self.compression.is_some()
            || self.level.is_some()
            || self.force_compression
            || self.oci_media_types.is_some()
            || !self.annotations.is_empty();
        // What stays in the store gets its form when it leaves it.
        if is_about_manifests && !has_manifest && *kind != OutputKind::Store {
            return Err(format!(
                "type={} writes files: compression, media types and annotations are for images",
                self.kind
            ));
        }
        let mut given = OPTIONS
            .iter()
            .filter(|option| self.given.contains(&option.name) && !option.is_of(kind));
        match given.next() {
            Some(option) => Err(format!(
                "type={} has no option `{}`: it is for {}",
                self.kind,
                option.name,
                option.places()
            )),
            None => Ok(()),
        }
    }

    /// A layout is a folder unless it is asked for as a tar, or called one.
    fn oci_form(&self) -> ArchiveForm {
        let called_tar = self
            .dest
            .as_deref()
            .is_some_and(|dest| dest.ends_with(".tar"));
        let on_stdout = self.dest.as_deref() == Some("-");
        match self.tar {
            Some(true) => ArchiveForm::Archive,
            Some(false) => ArchiveForm::Directory,
            None if called_tar || on_stdout => ArchiveForm::Archive,
            None => ArchiveForm::Directory,
        }
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{key} is true or false, not {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Result<OutputKind, String> {
        text.parse::<OutputArgument>().map(|output| output.kind)
    }

    #[test]
    fn outputs_are_what_docker_makes_of_them() {
        let oci = |dest: &str, form| OutputKind::Oci {
            dest: Some(dest.into()),
            form,
        };
        for (text, expected) in [
            ("out", OutputKind::Directory { dest: "out".into() }),
            ("-", OutputKind::Tar { dest: None }),
            (
                "type=local,dest=out",
                OutputKind::Directory { dest: "out".into() },
            ),
            ("type=oci,dest=out", oci("out", ArchiveForm::Directory)),
            (
                "type=oci,dest=out.tar",
                oci("out.tar", ArchiveForm::Archive),
            ),
            (
                "type=oci,dest=out,tar=true",
                oci("out", ArchiveForm::Archive),
            ),
            (
                "type=oci,dest=o.tar,tar=false",
                oci("o.tar", ArchiveForm::Directory),
            ),
            (
                "type=oci,dest=-",
                OutputKind::Oci {
                    dest: None,
                    form: ArchiveForm::Archive,
                },
            ),
            ("type=docker", OutputKind::Load),
            (
                "type=docker,dest=x",
                OutputKind::DockerArchive {
                    dest: Some("x".into()),
                },
            ),
            (
                "type=docker,dest=-",
                OutputKind::DockerArchive { dest: None },
            ),
            ("type=tar,dest=-", OutputKind::Tar { dest: None }),
            ("type=image,push=false", OutputKind::Store),
            ("type=registry", OutputKind::Push(Push::default())),
            (
                "type=image,push=true,push-by-digest=true,registry.insecure=true",
                OutputKind::Push(Push {
                    by_digest: true,
                    insecure: true,
                }),
            ),
            ("type=cacheonly", OutputKind::CacheOnly),
            ("type=oci,\"dest=a,b\"", oci("a,b", ArchiveForm::Directory)),
            (
                "type=oci,dest=x,oci-mediatypes=true,rewrite-timestamp=false",
                oci("x", ArchiveForm::Directory),
            ),
        ] {
            assert_eq!(kind(text), Ok(expected), "{text}");
        }
    }

    /// Who asks for what happens anyway is not refused.
    #[test]
    fn options_of_buildkit_that_change_nothing_are_taken() {
        for text in [
            "type=image,unpack=false,store=true,buildinfo=false,prefer-nondist-layers=false",
            "type=image,Push=false",
            "type=local,dest=x,platform-split=true,mode=copy",
        ] {
            assert!(kind(text).is_ok(), "{text}: {:?}", kind(text));
        }
    }

    #[test]
    fn what_can_not_be_done_is_said() {
        for (text, expected) in [
            ("", "write type=TYPE,dest=PATH, or a folder"),
            ("type=oci", "type=oci needs dest=PATH"),
            ("type=local", "type=local needs dest=PATH"),
            (
                "type=local,dest=-",
                "type=local can't be written to stdout; use type=tar",
            ),
            ("type=tar", "type=tar needs dest=PATH"),
            ("dest=x", "the output has no type="),
            (
                "type=ocl,dest=x",
                "there is no output type \"ocl\": did you mean oci?; the types are oci, docker, local, tar, image, registry, cacheonly",
            ),
            (
                "type=oci,dest=x,compression=lz4",
                "compression is uncompressed, gzip, zstd or estargz, not \"lz4\"",
            ),
            (
                "type=oci,dest=x,frobnicate=true",
                "there is no output option `frobnicate`",
            ),
            (
                "type=oci,dest=x,compresion=gzip",
                "there is no output option `compresion`: did you mean compression?",
            ),
            (
                "type=oci,dst=x",
                "there is no output option `dst`: did you mean dest?",
            ),
            (
                "type=image,dangling-name-prefix=a",
                "the output option `dangling-name-prefix=a` is not supported: an image here has the names that it is given, or none",
            ),
            (
                "type=image,unpack=true",
                "the output option `unpack=true` is not supported: layers are unpacked when a step needs them",
            ),
            (
                "type=image,store=false",
                "the output option `store=false` is not supported: what is built is kept in the store; `cache prune` removes it",
            ),
            (
                "type=local,dest=x,platform-split=false",
                "the output option `platform-split=false` is not supported: files of several platforms have a folder each",
            ),
            (
                "type=local,dest=x,mode=delete",
                "the output option `mode=delete` is not supported: a folder that has files is refused: empty it first",
            ),
            (
                "type=local,dest=x,name=a",
                "type=local has no option `name`: it is for images and archives of them",
            ),
            (
                "type=tar,dest=-,tar=true",
                "type=tar has no option `tar`: it is for archives of images",
            ),
            (
                "type=docker,push=true",
                "type=docker has no option `push`: it is for images",
            ),
            (
                "type=oci,dest=x,unpack=false",
                "type=oci has no option `unpack`: it is for images",
            ),
            (
                "type=tar,dest=-,rewrite-timestamp=true",
                "type=tar has no option `rewrite-timestamp`: it is for images and archives of them",
            ),
            (
                "type=cacheonly,name=a",
                "type=cacheonly has no option `name`: it is for images and archives of them",
            ),
            (
                "type=oci,dest=x,compression-level=high",
                "compression-level is a number, not \"high\"",
            ),
            (
                "type=oci,dest=x,push-by-digest=true",
                "push-by-digest and insecure are for what is pushed",
            ),
            (
                "type=local,dest=x,compression=gzip",
                "type=local writes files: compression, media types and annotations are for images",
            ),
            ("type=registry,dest=x", "type=registry has no dest"),
            (
                "type=oci,dest=x,annotation-all.a=b",
                "\"all\" is none of manifest, manifest-descriptor, index, index-descriptor",
            ),
            (
                "type=oci,dest",
                "\"dest\" has no `=`; write type=TYPE,dest=PATH",
            ),
            ("type=oci,\"dest=x", "a quote is not closed"),
        ] {
            assert_eq!(kind(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn names_and_compression_are_kept() {
        let output: OutputArgument = "type=oci,dest=x,\"name=a:1,b:2\",compression=zstd"
            .parse()
            .unwrap();
        assert_eq!(output.names, ["a:1", "b:2"]);
        assert_eq!(output.compression, Some(Compression::Zstd));
    }
}
