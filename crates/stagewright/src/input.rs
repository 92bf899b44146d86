//! What a build reads before it has a plan: the Dockerfile, the ignore rules, the contexts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use stagewright_context::{Context, Patterns, unpack_tar};
use stagewright_dockerfile::Dockerfile;
use stagewright_oci::{ImageSelector, open_image};
use stagewright_plan::{NamedSource, SourceOp};
use stagewright_snapshot::MergedTree;
use stagewright_solver::{ContextFiles, NamedImage, Reporter, Volume};
use stagewright_store::{Store, TempDir};

use crate::definition::{Definition, add_secrets, definition};
use crate::error::{Error, ErrorKind};
use crate::failure;
use crate::ignore_file;
use crate::request::{BuildRequest, ContextSource, DockerfileSource, NamedContext, Secret};

const DOCKERFILE: &str = "Dockerfile";
/// What a Dockerfile may be called where none is named; the first that is there is read.
const USUAL: [&str; 3] = [DOCKERFILE, "dockerfile", "Containerfile"];

/// A Dockerfile's text and what it is called.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A build context from the network, fetched.
pub(crate) struct RemoteContext {
    pub(crate) address: String,
    pub(crate) op: SourceOp,
    pub(crate) tree: MergedTree,
}

/// Everything that a build reads before it has a plan.
pub(crate) struct Input {
    pub(crate) source: Source,
    pub(crate) dockerfile: Dockerfile,
    /// The ignore rules of the build context, if it is a directory.
    pub(crate) ignore: Option<Patterns>,
    pub(crate) contexts: BTreeMap<String, Arc<ContextFiles>>,
    pub(crate) named_images: BTreeMap<String, NamedImage>,
    pub(crate) named_sources: BTreeMap<String, NamedSource>,
    pub(crate) remote_context: Option<SourceOp>,
    /// The stage to build.
    pub(crate) target: Option<String>,
    /// The request's secrets, and those of stages that are written in code.
    pub(crate) secrets: Vec<Secret>,
    /// What steps see of the host.
    pub(crate) volumes: Vec<Volume>,
    /// Names the Dockerfile across builds.
    pub(crate) project: String,
    /// Unpacked archives, which go when the build ends.
    _unpacked: Vec<TempDir>,
}

impl Input {
    /// Reads the input of a build.
    pub(crate) fn open(
        request: &BuildRequest,
        store: &Store,
        reporter: &Reporter,
        remote: Option<RemoteContext>,
    ) -> Result<Self, Error> {
        let mut unpacked = Vec::new();
        let root = context_root(&request.context, store, &mut unpacked)?;
        let (source, beside) = match &remote {
            Some(remote) => (remote_dockerfile(&request.dockerfile, remote)?, None),
            None => read_dockerfile(&request.dockerfile, &root)?,
        };
        let event = reporter.start_internal(&format!(
            "[internal] load build definition from {}",
            if source.name.is_empty() {
                "code"
            } else {
                &source.name
            }
        ));
        let read = definition(request, source);
        reporter.finish_internal(event, &read);
        let Definition {
            source,
            dockerfile,
            composed,
        } = read?;
        let time = request.file_time();
        let mut contexts = BTreeMap::new();
        let open = |path: &Path, ignore: Patterns, description: &str| {
            let context = Context::open(path, ignore)
                .map_err(|error| Error::new(ErrorKind::Request, failure::chain(&error)))?;
            let files = ContextFiles::open(context, description, store).with_time(time);
            Ok::<_, Error>(Arc::new(files))
        };
        const MAIN: &str = "the build context";
        // As in BuildKit, ignore rules are for what lies on this machine.
        let given = request.ignore_file.as_deref();
        let ignore = match &request.context {
            ContextSource::Directory(_) => {
                Some(ignore_file::rules(&root, beside.as_deref(), given)?)
            }
            _ if given.is_some() => {
                let message = "an ignore file is for a context that is a folder of this machine";
                return Err(Error::new(ErrorKind::Request, message));
            }
            _ => None,
        };
        let main = match &ignore {
            Some(ignore) => open(&root, ignore.clone(), MAIN)?,
            None => Arc::new(
                ContextFiles::temporary(&root, MAIN)
                    .map_err(failure::of_step)?
                    .with_time(time),
            ),
        };
        contexts.insert("context".to_owned(), main);
        let mut named_images = BTreeMap::new();
        let mut named_sources = BTreeMap::new();
        for (name, context) in &request.named_contexts {
            let source = match context {
                NamedContext::Directory(path) => {
                    let ignore = ignore_file::rules(path, None, None)?;
                    let description = format!("the context {name:?}");
                    contexts.insert(name.to_lowercase(), open(path, ignore, &description)?);
                    NamedSource::Files
                }
                NamedContext::Remote(address) => NamedSource::Remote(named_remote(name, address)?),
                NamedContext::Image(reference) => NamedSource::Image(reference.clone()),
                // It is among the stages that were written.
                NamedContext::Stage(_) => continue,
                NamedContext::OciLayout { path, reference }
                | NamedContext::DockerArchive { path, reference } => {
                    let key = format!("{name} in {}", path.display());
                    named_images.insert(key.clone(), image_on_disk(path, reference.as_deref())?);
                    NamedSource::Image(key)
                }
            };
            named_sources.insert(name.clone(), source);
        }
        let volumes = volumes(request)?;
        for volume in volumes.iter().filter(|volume| volume.keyed) {
            let (folder, _) = volume.folder();
            let description = format!("the volume {}", volume.target);
            let files = open(folder, Patterns::default(), &description)?;
            contexts.insert(volume.context_name(), files);
        }
        let mut target = request.target.clone();
        let mut secrets = request.secrets.clone();
        if let Some(composed) = composed {
            target = target.or(composed.target.map(|index| index.to_string()));
            let stages = composed.contexts.into_iter();
            named_sources.extend(stages.map(|(name, index)| (name, NamedSource::Stage(index))));
            add_secrets(&mut secrets, composed.secrets)?;
        }
        let place = match (&request.context, &remote) {
            (_, Some(remote)) => remote.address.clone(),
            (ContextSource::Directory(_), None) => root.display().to_string(),
            // Where an archive was unpacked says nothing.
            _ => String::new(),
        };
        let project = format!("{place} {}", source.name);
        Ok(Self {
            source,
            dockerfile,
            ignore,
            contexts,
            named_images,
            named_sources,
            remote_context: remote.map(|remote| remote.op),
            target,
            secrets,
            volumes,
            project,
            _unpacked: unpacked,
        })
    }
}

/// Returns the volumes of a build, as the host knows them.
fn volumes(request: &BuildRequest) -> Result<Vec<Volume>, Error> {
    let wrong = |message| Error::new(ErrorKind::Request, message);
    let mut volumes: Vec<Volume> = Vec::new();
    for volume in &request.volumes {
        let volume = volume.found().map_err(wrong)?;
        if volumes.iter().any(|other| other.target == volume.target) {
            return Err(wrong(format!(
                "two volumes are to be seen at {}: name another place for one of them",
                volume.target
            )));
        }
        volumes.push(volume);
    }
    // One that lies in another is mounted after it.
    volumes.sort_by_key(|volume| volume.target.matches('/').count());
    Ok(volumes)
}

/// Returns the folder of the context, unpacking an archive.
fn context_root(
    context: &ContextSource,
    store: &Store,
    unpacked: &mut Vec<TempDir>,
) -> Result<PathBuf, Error> {
    let fail = |message: String| Error::new(ErrorKind::Request, message);
    match context {
        ContextSource::Directory(path) => {
            let metadata = fs::metadata(path).map_err(|error| {
                let why = failure::unreadable(path, &error);
                Error::new(ErrorKind::NotFound, format!("the build context {why}"))
            })?;
            if !metadata.is_dir() {
                return Err(fail(format!(
                    "the build context {} is not a directory",
                    path.display()
                )));
            }
            fs::canonicalize(path).map_err(|error| fail(error.to_string()))
        }
        ContextSource::Archive(path) => {
            let file = fs::File::open(path).map_err(|error| fail(error.to_string()))?;
            let folder = store.temp_dir()?;
            let reader = stagewright_layer::decompress(std::io::BufReader::new(file))
                .map_err(|error| fail(format!("the context {}: {error}", path.display())))?;
            unpack_tar(reader, folder.path()).map_err(|error| fail(failure::chain(&error)))?;
            let root = folder.path().to_owned();
            unpacked.push(folder);
            Ok(root)
        }
        // The files of one from the network are not on this machine's file system.
        ContextSource::Empty | ContextSource::Remote(_) => {
            let folder = store.temp_dir()?;
            let root = folder.path().to_owned();
            unpacked.push(folder);
            Ok(root)
        }
    }
}

/// Returns the source of a named context; as in BuildKit it is not unpacked.
fn named_remote(name: &str, address: &str) -> Result<SourceOp, Error> {
    let op = SourceOp::remote_context(address, None).ok_or_else(|| {
        let message = format!("{address:?} is not the address of a context: {name}");
        Error::new(ErrorKind::Request, message)
    })?;
    Ok(match op {
        SourceOp::Http {
            url,
            name,
            checksum,
            ..
        } => SourceOp::Http {
            url,
            name,
            checksum,
            unpack: false,
        },
        op => op,
    })
}

/// Reads the Dockerfile of a context from the network. A file that is no archive is the Dockerfile.
fn remote_dockerfile(
    dockerfile: &DockerfileSource,
    remote: &RemoteContext,
) -> Result<Source, Error> {
    const BYTES_MAX: u64 = 16 << 20;
    let mut names = match dockerfile {
        DockerfileSource::Usual => USUAL.to_vec(),
        DockerfileSource::InContext(name) => names_of(name),
        other => return Ok(read_dockerfile(other, Path::new(""))?.0),
    };
    let named = names[0];
    let is_file = matches!(remote.op, SourceOp::Http { .. });
    if is_file && named == DOCKERFILE {
        names.push(SourceOp::CONTEXT_FILE);
    }
    for name in names {
        let bytes = remote
            .tree
            .read_small(name.as_bytes(), BYTES_MAX)
            .map_err(|error| Error::new(ErrorKind::Request, failure::chain(&error)))?;
        if let Some(bytes) = bytes {
            return Ok(Source {
                name: name.to_owned(),
                text: String::from_utf8_lossy(&bytes).into_owned(),
            });
        }
    }
    Err(no_dockerfile(dockerfile, named))
}

/// Returns the names that a file of the context is looked for under.
fn names_of(name: &str) -> Vec<&str> {
    match name {
        // As BuildKit does, the name in lower case is taken too.
        DOCKERFILE => USUAL[..2].to_vec(),
        name => vec![name],
    }
}

fn no_dockerfile(dockerfile: &DockerfileSource, name: &str) -> Error {
    let other = match dockerfile {
        DockerfileSource::Usual => ", nor does Containerfile",
        _ => "",
    };
    Error::new(
        ErrorKind::NotFound,
        format!("failed to read the Dockerfile: {name} does not exist{other}"),
    )
}

/// Reads the Dockerfile, and returns where it lies if it is a file.
fn read_dockerfile(
    dockerfile: &DockerfileSource,
    root: &Path,
) -> Result<(Source, Option<PathBuf>), Error> {
    let names = match dockerfile {
        DockerfileSource::Nothing => return Ok((Source::default(), None)),
        DockerfileSource::Text(text) => {
            let source = Source {
                name: DOCKERFILE.to_owned(),
                text: text.clone(),
            };
            return Ok((source, None));
        }
        DockerfileSource::File(path) => {
            let name = path.display().to_string();
            let Some(text) = read_file(path)? else {
                return Err(no_dockerfile(dockerfile, &name));
            };
            return Ok((Source { name, text }, Some(path.clone())));
        }
        DockerfileSource::Usual => USUAL.to_vec(),
        DockerfileSource::InContext(name) => names_of(name),
    };
    for name in &names {
        let path = root.join(name);
        if let Some(text) = read_file(&path)? {
            let name = (*name).to_owned();
            return Ok((Source { name, text }, Some(path)));
        }
    }
    Err(no_dockerfile(dockerfile, names[0]))
}

/// Reads a file of text; nothing if it is not there.
pub(crate) fn read_file(path: &Path) -> Result<Option<String>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(ErrorKind::Request, error.to_string())),
    }
}

fn image_on_disk(path: &Path, reference: Option<&str>) -> Result<NamedImage, Error> {
    let source =
        open_image(path).map_err(|error| Error::new(ErrorKind::Image, failure::chain(&error)))?;
    let selector = match reference {
        None => ImageSelector::Sole,
        Some(reference) => match reference.parse() {
            Ok(digest) => ImageSelector::Digest(digest),
            Err(_) => ImageSelector::Name(reference.to_owned()),
        },
    };
    Ok(NamedImage {
        source: Arc::from(source),
        selector,
    })
}
