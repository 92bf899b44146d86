//! Files of the host that all steps of a build see.

use std::ffi::OsStr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use stagewright_exec::Mount;
use stagewright_store::{Store, TempDir};

use crate::copy;
use crate::error::StepError;
use crate::parts::Parts;
use crate::run_mounts;
use crate::services::Services;
use crate::vertex::VertexResult;

/// What steps may do with the files of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VolumeAccess {
    /// Change them.
    #[default]
    Writable,
    /// Read them.
    Readonly,
    /// Change them for themselves: nothing of it is left when a step has ended.
    Discarded,
    /// Use it as the device that it is, or those that are in it, as far as the host lets them.
    Device,
}

/// A folder or file of the host that all steps of a build see, as Buildah's `--volume` and `--device` have it. Where it is seen
/// and what may be done with it enters the keys of steps, what it holds only if that is asked for, its place on the host never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The folder or file.
    pub source: PathBuf,
    /// Where steps see it: an absolute path.
    pub target: String,
    /// What they may do.
    pub access: VolumeAccess,
    /// What it holds enters the keys of steps: they run again when it changes. Not where steps change it.
    pub keyed: bool,
}

impl Volume {
    /// Reads `SOURCE:TARGET[:OPTIONS]`. The options are `rw`, which is the default, `ro`, `O` for changes that are thrown
    /// away, and with one of these two `key` for what it holds to be in the keys of steps. The source begins with `/` or with a
    /// dot.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fields = text.split(':');
        let (Some(source), Some(target)) = (fields.next(), fields.next()) else {
            return Err(format!("{text:?} is no SOURCE:TARGET[:OPTIONS]"));
        };
        let options = fields.next().unwrap_or_default();
        if fields.next().is_some() {
            return Err(format!("{text:?} has more than SOURCE:TARGET:OPTIONS"));
        }
        if !source.starts_with(['/', '.']) {
            return Err(format!(
                "{source:?} is no path: it begins with / or with a dot. To keep files between builds, use RUN --mount=type=cache"
            ));
        }
        let (mut access, mut keyed) = (None, false);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let asked = match option {
                "rw" => VolumeAccess::Writable,
                "ro" => VolumeAccess::Readonly,
                "O" => VolumeAccess::Discarded,
                "key" => {
                    keyed = true;
                    continue;
                }
                other => {
                    return Err(format!(
                        "the option {other:?} of {text:?} is not supported; there are rw, ro, O and key"
                    ));
                }
            };
            if access.is_some_and(|access| access != asked) {
                return Err(format!("{text:?} asks for two ways of access"));
            }
            access = Some(asked);
        }
        let volume = Self {
            source: source.into(),
            target: target.to_owned(),
            access: access.unwrap_or_default(),
            keyed,
        };
        if keyed && volume.access == VolumeAccess::Writable {
            return Err(format!(
                "what {text:?} holds can only be in keys where steps leave it as it is: add ro or O"
            ));
        }
        volume.check_target()?;
        Ok(volume)
    }

    /// Reads `DEVICE[:TARGET[:rwm]]`: a device of the host, or a folder of them.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse_device(text: &str) -> Result<Self, String> {
        if text.contains('=') {
            return Err(format!(
                "{text:?} is a name of CDI, which is not supported: name a device of /dev"
            ));
        }
        let mut fields = text.splitn(3, ':').peekable();
        let source = fields.next().unwrap_or_default();
        let target = fields.next_if(|field| field.contains('/'));
        let target = target.unwrap_or(source);
        if let Some(access) = fields.next().filter(|access| *access != "rwm") {
            return Err(format!(
                "the access {access:?} to a device is not supported: all that may be done with it may be"
            ));
        }
        Ok(Self {
            access: VolumeAccess::Device,
            ..Self::parse(&format!("{source}:{target}"))?
        })
    }

    /// Says why steps cannot see anything at the target.
    fn check_target(&self) -> Result<(), String> {
        let target = Path::new(&self.target);
        let mut below = target.components().skip(1).peekable();
        let is_fine = target.is_absolute()
            && below.peek().is_some()
            && below.all(|part| matches!(part, Component::Normal(_)));
        if is_fine {
            return Ok(());
        }
        Err(format!(
            "nothing of the host can be seen at {:?}: that is an absolute path below /, without ..",
            self.target
        ))
    }

    /// Returns it with its source as the host knows it.
    ///
    /// # Errors
    /// Why it cannot be shown, for people.
    pub fn found(&self) -> Result<Self, String> {
        self.check_target()?;
        let wrong = |error| format!("{} cannot be shown to steps: {error}", self.target);
        let source = fs::canonicalize(&self.source).map_err(wrong)?;
        let kind = fs::metadata(&source).map_err(wrong)?.file_type();
        let is_device = kind.is_char_device() || kind.is_block_device() || kind.is_dir();
        if self.access == VolumeAccess::Device && !is_device {
            return Err(format!("{} is no device", self.source.display()));
        }
        if self.keyed && source.to_str().is_none() {
            return Err(format!(
                "what {} holds cannot be in keys: its name is not UTF-8",
                source.display()
            ));
        }
        // However often a slash was written.
        let target: PathBuf = Path::new(&self.target).components().collect();
        Ok(Self {
            source,
            target: target.to_string_lossy().into_owned(),
            ..self.clone()
        })
    }

    /// Returns the folder that its files are read in for keys, and if it is a file, what it is called in there.
    #[must_use]
    pub fn folder(&self) -> (&Path, Option<&OsStr>) {
        match (self.source.parent(), self.source.file_name()) {
            (Some(parent), Some(name)) if !self.source.is_dir() => (parent, Some(name)),
            _ => (&self.source, None),
        }
    }

    /// Returns the name of the context of the build that its files are read by for keys.
    #[must_use]
    pub fn context_name(&self) -> String {
        format!("volume {}", self.target)
    }

    /// Adds it to the key of a step.
    pub(crate) fn parts(
        &self,
        services: &Services,
        event: u64,
        parts: &mut Parts,
    ) -> Result<(), StepError> {
        let access = match self.access {
            VolumeAccess::Writable => "writable",
            VolumeAccess::Readonly => "read-only",
            VolumeAccess::Discarded => "discarded",
            VolumeAccess::Device => "device",
        };
        let label = format!("volume {}", self.target);
        parts.text(&label, access);
        if self.keyed {
            let files = VertexResult::Context(self.context_name());
            let (_, name) = self.folder();
            let source = name.map_or("/".to_owned(), |name| literal(&name.to_string_lossy()));
            let (op, mut selection) = run_mounts::select(services, files, &source, event)?;
            // What it is called on the host is nothing that a step sees.
            for matched in selection.matches.iter_mut().filter(|_| name.is_some()) {
                matched.name = b"file".to_vec();
            }
            let files = copy::selected_files(&op, &selection);
            parts.files(&format!("{label} file"), files);
        }
        Ok(())
    }

    /// Returns how it is shown to a step. What is in `scratch` lives as long as the step.
    pub(crate) fn mount(
        &self,
        services: &Services,
        scratch: &mut Vec<TempDir>,
    ) -> Result<Mount, StepError> {
        let sandbox = services.sandbox.get()?;
        let bind = |readonly| Mount::Bind {
            source: self.source.clone(),
            target: PathBuf::from(&self.target),
            readonly,
        };
        // A copy would be copied into itself, and overlayfs takes no folder that it writes to.
        let holds_store = fs::canonicalize(services.store.path())
            .is_ok_and(|store| store.starts_with(&self.source));
        let refused = |what: &str| {
            Err(StepError::Unsupported(format!(
                "the volume {}: {what}",
                self.target
            )))
        };
        match self.access {
            VolumeAccess::Readonly if sandbox.mounts_nothing() && holds_store => refused(
                "where nothing can be mounted it is copied, and it holds the store: name another --store",
            ),
            VolumeAccess::Discarded if holds_store => refused(
                "changes to it cannot be thrown away (:O), since it holds the store: name another --store, or give it :ro",
            ),
            // There a copy is made of what is read.
            VolumeAccess::Readonly | VolumeAccess::Discarded if sandbox.mounts_nothing() => {
                Ok(bind(true))
            }
            // What is written to is moved there, and back: for files of others that is too much.
            VolumeAccess::Writable if sandbox.mounts_nothing() => {
                refused("where nothing can be mounted, steps cannot write to it: give it :ro or :O")
            }
            VolumeAccess::Discarded if sandbox.copies_mounts() => {
                refused("changes that are thrown away (:O) need overlayfs: give it :ro")
            }
            VolumeAccess::Device => Ok(Mount::Device {
                source: self.source.clone(),
                target: PathBuf::from(&self.target),
            }),
            VolumeAccess::Readonly => Ok(bind(true)),
            VolumeAccess::Writable => Ok(bind(false)),
            VolumeAccess::Discarded => {
                let (folder, upper, work) = upper_and_work(&services.store)?;
                scratch.push(folder);
                Ok(Mount::BindDiscard {
                    source: self.source.clone(),
                    target: PathBuf::from(&self.target),
                    upper,
                    work,
                })
            }
        }
    }
}

/// Writes a name as a pattern that nothing else matches.
fn literal(name: &str) -> String {
    let mut pattern = String::new();
    for character in name.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// Makes the two directories that take what is written to a mount and thrown away.
pub(crate) fn upper_and_work(store: &Store) -> Result<(TempDir, PathBuf, PathBuf), StepError> {
    let folder = store.temp_dir()?;
    let (upper, work) = (folder.path().join("upper"), folder.path().join("work"));
    fs::create_dir(&upper)
        .and_then(|()| fs::create_dir(&work))
        .map_err(StepError::Io)?;
    Ok((folder, upper, work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read_as_buildah_reads_them() {
        for (text, source, target, access) in [
            ("/a:/b", "/a", "/b", VolumeAccess::Writable),
            ("/a:/b/c:rw", "/a", "/b/c", VolumeAccess::Writable),
            ("/a:/b:ro,ro", "/a", "/b", VolumeAccess::Readonly),
            ("/a:/b:O", "/a", "/b", VolumeAccess::Discarded),
            ("/a:/b:ro,key", "/a", "/b", VolumeAccess::Readonly),
        ] {
            let expected = Volume {
                source: source.into(),
                target: target.to_owned(),
                access,
                keyed: text.ends_with("key"),
            };
            assert_eq!(Volume::parse(text), Ok(expected), "{text}");
        }
        let here = Volume::parse(".:/b").unwrap().found().unwrap().source;
        assert_eq!(here, fs::canonicalize(".").unwrap());
    }

    #[test]
    fn devices_are_read_as_buildah_reads_them() {
        for (text, source, target) in [
            ("/dev/fuse", "/dev/fuse", "/dev/fuse"),
            ("/dev/a:/dev/b", "/dev/a", "/dev/b"),
            ("/dev/a:/dev/b:rwm", "/dev/a", "/dev/b"),
            ("/dev/a:rwm", "/dev/a", "/dev/a"),
        ] {
            let expected = Volume {
                source: source.into(),
                target: target.to_owned(),
                access: VolumeAccess::Device,
                keyed: false,
            };
            assert_eq!(Volume::parse_device(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("nvidia.com/gpu=all", "CDI, which is not supported"),
            ("/dev/null:/dev/x:r", "the access \"r\""),
            ("fuse", "is no path"),
        ] {
            let message = Volume::parse_device(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("", "is no SOURCE:TARGET"),
            ("/a", "is no SOURCE:TARGET"),
            ("a:/b", "use RUN --mount=type=cache"),
            (":/b", "is no path"),
            ("/a:b", "can be seen at \"b\""),
            ("/a:/", "can be seen at \"/\""),
            ("/a:/b/../c", "can be seen at"),
            ("/a:/b:ro:z", "has more than"),
            ("/a:/b:z", "the option \"z\""),
            ("/a:/b:ro,rw", "two ways of access"),
            ("/a:/b:key", "add ro or O"),
        ] {
            let message = Volume::parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
