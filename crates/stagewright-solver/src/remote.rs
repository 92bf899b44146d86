//! What comes from the network: files and git repositories, each as a layer of its own.
//!
//! What of a source is in its key: of a file its digest, its name, when it was last changed and the
//! name of the secret that it is asked for with; of a repository the commit, the folder, and what is
//! checked out with it. Addresses are not, nor are the values of secrets. With `--checksum` a file
//! that was fetched before is not asked for at all.

use std::io::BufReader;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use stagewright_digest::{Digest, LayerId};
use stagewright_fetch::{
    GitCommit, GitOptions, GitUrl, HttpAnswer, HttpClient, HttpFile, HttpRequest, HttpVersion,
    NetworkOptions, checkout_git, resolve_git,
};
use stagewright_layer::{Entry, EntryPath, Metadata, Mtime};
use stagewright_plan::SourceOp;
use stagewright_snapshot::{Content, Forms, MergedTree, NewEntry};
use stagewright_store::{ActionResult, BlobWriter};

use crate::action;
use crate::archive;
use crate::context_files::ContextFiles;
use crate::error::StepError;
use crate::event::{EventKind, Outcome};
use crate::file_step;
use crate::parts::Parts;
use crate::services::{Secret, Services, Turn};
use crate::vertex::Snapshot;

/// The kind of the store's documents that say what an address answered last.
const DOCUMENT_KIND: &str = "http";
/// As BuildKit has it: files from the network are their owner's alone.
const FILE_MODE: u32 = 0o600;

/// Fetches what comes from the network.
#[derive(Debug)]
pub struct Remotes {
    http: HttpClient,
    /// What was fetched by this build: a branch that moves meanwhile does not make it two things.
    solved: Mutex<Vec<(SourceOp, Snapshot)>>,
    /// What was asked for and what it was. Held only to look up or insert.
    materials: Mutex<Vec<RemoteMaterial>>,
}

/// Something from the network that a build used, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMaterial {
    /// Its source in the plan.
    pub source: SourceOp,
    /// Its address, without a login.
    pub address: String,
    /// What kind of digest it has: `sha256` of a file, `sha1` or `sha256` of a commit.
    pub algorithm: &'static str,
    /// The digest in hexadecimal digits.
    pub digest: String,
}

impl Remotes {
    /// Makes the sources of one build. Nothing is asked yet.
    pub fn new(network: NetworkOptions) -> Self {
        Self {
            http: HttpClient::new(network),
            solved: Mutex::default(),
            materials: Mutex::default(),
        }
    }

    /// Returns what was used from the network so far, in the order of addresses.
    pub fn materials(&self) -> Vec<RemoteMaterial> {
        let mut materials = self.noted().clone();
        materials.sort_by(|one, other| one.address.cmp(&other.address));
        materials
    }

    fn noted(&self) -> MutexGuard<'_, Vec<RemoteMaterial>> {
        self.materials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, material: RemoteMaterial) {
        let mut noted = self.noted();
        // One that was asked for again is what it was last.
        noted.retain(|known| known.source != material.source);
        noted.push(material);
    }

    fn solved(&self) -> MutexGuard<'_, Vec<(SourceOp, Snapshot)>> {
        // The list is whole whatever happened to its last user.
        self.solved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an address answered last.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Answered {
    etag: Option<String>,
    last_modified: Option<String>,
    digest: Option<Digest>,
}

/// A source whose key is known.
struct Resolved {
    parts: Parts,
    content: Fetched,
    material: RemoteMaterial,
}

enum Fetched {
    /// A file that came with the answer: it is stored as a blob.
    File(Box<HttpFile<BlobWriter>>),
    /// A file that need not have been asked for.
    Unasked,
    /// A commit that is not checked out.
    Commit(Box<(GitUrl, GitCommit, bool)>),
}

/// Solves a source from the network: finds out what it is now, and fetches it unless that is stored.
pub(crate) async fn solve(
    services: &Services,
    source: &SourceOp,
    event: u64,
) -> Result<(Snapshot, Outcome), StepError> {
    let known = {
        let solved = services.remotes.solved();
        let found = solved.iter().find(|(op, _)| op == source);
        found.map(|(_, snapshot)| snapshot.clone())
    };
    if let Some(snapshot) = known {
        return Ok((snapshot, Outcome::Hit));
    }
    let cancelled = services.cancel.cancelled();
    let (snapshot, outcome) = tokio::select! {
        biased;
        () = cancelled => Err(StepError::Cancelled),
        solved = solve_uncancelled(services, source, event) => solved,
    }?;
    services
        .remotes
        .solved()
        .push((source.clone(), snapshot.clone()));
    Ok((snapshot, outcome))
}

/// Fetches a build context before there is a plan, since the Dockerfile is in it.
///
/// # Errors
/// When it cannot be had.
pub async fn fetch_context(
    services: &Services,
    source: &SourceOp,
) -> Result<MergedTree, StepError> {
    let event = services
        .reporter
        .start_internal("[internal] load remote build context");
    let result = solve(services, source, event).await;
    services.reporter.finish_internal(event, &result);
    let (snapshot, _) = result?;
    Ok(services.snapshots.tree(&snapshot.layers)?)
}

async fn solve_uncancelled(
    services: &Services,
    source: &SourceOp,
    event: u64,
) -> Result<(Snapshot, Outcome), StepError> {
    let resolved = resolve(services, source, event, true).await?;
    let key = resolved.parts.key();
    if let Some(result) = services.store.action(&key)? {
        return Ok((snapshot(&result), Outcome::Hit));
    }
    let lock = match services.turn(&key, Some(0)).await? {
        Turn::Own(lock) => lock,
        Turn::Shared(result) => return Ok((snapshot(&result), Outcome::Shared)),
    };
    let layer = match resolved.content {
        Fetched::File(file) => store_file(services, source, *file)?,
        Fetched::Unasked => {
            // What is known of the file is not worth much without it.
            let asked = resolve(services, source, event, false).await?;
            match asked.content {
                Fetched::File(file) if asked.parts.key() == key => {
                    store_file(services, source, *file)?
                }
                _ => {
                    let message = "the file changed while it was fetched: build again";
                    return Err(StepError::Fetch(message.to_owned()));
                }
            }
        }
        Fetched::Commit(commit) => check_out(services, &commit).await?,
    };
    let parts = services.store.put_parts(&resolved.parts.encode())?;
    let result = ActionResult {
        layer,
        parts: Some(parts),
        created_unix_ms: services.options.now_unix_ms,
        ..ActionResult::default()
    };
    services.store.record_action(&key, &result)?;
    drop(lock);
    Ok((snapshot(&result), Outcome::Executed { miss: None }))
}

fn snapshot(result: &ActionResult) -> Snapshot {
    Snapshot::of_layers(result.layer.into_iter().collect())
}

/// Finds out what a source is now. `stored` says that what an earlier build learned may be used.
async fn resolve(
    services: &Services,
    source: &SourceOp,
    event: u64,
    stored: bool,
) -> Result<Resolved, StepError> {
    let mut resolved = match source {
        SourceOp::Http {
            url,
            name,
            checksum,
            unpack,
        } => {
            let file = WebFile {
                url,
                name,
                unpack: *unpack,
                checksum: *checksum,
            };
            file.resolve(services, event, stored).await?
        }
        SourceOp::Git {
            url,
            checksum,
            keep_git_dir,
        } => resolve_repository(services, url, checksum.as_deref(), *keep_git_dir).await?,
        _ => {
            let message = "a source that is not on the network";
            return Err(StepError::Internal(message.to_owned()));
        }
    };
    action::time_part(&services.options, &mut resolved.parts);
    services.remotes.note(resolved.material.clone());
    Ok(resolved)
}

struct WebFile<'a> {
    url: &'a str,
    name: &'a str,
    checksum: Option<Digest>,
    unpack: bool,
}

impl WebFile<'_> {
    async fn resolve(
        &self,
        services: &Services,
        event: u64,
        stored: bool,
    ) -> Result<Resolved, StepError> {
        if let Some(digest) = self.checksum
            && stored
        {
            return Ok(Resolved {
                parts: self.parts(services, &digest, None),
                content: Fetched::Unasked,
                material: self.material(&digest),
            });
        }
        let document = format!("{} {}", self.url, self.secret_names(services).join(" "));
        let answered: Answered = services
            .store
            .document(DOCUMENT_KIND, &document)?
            .filter(|_| stored)
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let request = HttpRequest {
            url: self.url.to_owned(),
            authorization: self.authorization(services)?,
            known: HttpVersion {
                etag: answered.etag.clone().filter(|_| answered.digest.is_some()),
                last_modified: answered
                    .last_modified
                    .clone()
                    .filter(|_| answered.digest.is_some()),
            },
            expected: self.checksum,
            bytes_max: None,
        };
        let progress = |bytes: u64| {
            services.reporter.send(EventKind::Progress {
                vertex: event,
                label: self.name.to_owned(),
                current_bytes: bytes,
                total_bytes: None,
            });
        };
        let open = || services.store.blob_writer().map_err(std::io::Error::other);
        let answer = services.remotes.http.fetch(&request, open, &progress).await;
        let file = match answer.map_err(|error| StepError::Fetch(error.to_string()))? {
            HttpAnswer::File(file) => file,
            HttpAnswer::NotModified => {
                let digest = answered.digest.ok_or_else(|| {
                    StepError::Internal("a file that was not known is unchanged".to_owned())
                })?;
                return Ok(Resolved {
                    parts: self.parts(services, &digest, answered.last_modified.as_deref()),
                    content: Fetched::Unasked,
                    material: self.material(&digest),
                });
            }
        };
        let learned = Answered {
            etag: file.version.etag.clone(),
            last_modified: file.version.last_modified.clone(),
            digest: Some(file.digest),
        };
        let bytes =
            serde_json::to_vec(&learned).map_err(|error| StepError::Internal(error.to_string()))?;
        services
            .store
            .put_document(DOCUMENT_KIND, &document, &bytes)?;
        // A checksum decides everything, so that a build which has it need not ask.
        let modified = learned
            .last_modified
            .as_deref()
            .filter(|_| self.checksum.is_none());
        Ok(Resolved {
            parts: self.parts(services, &file.digest, modified),
            material: self.material(&file.digest),
            content: Fetched::File(Box::new(file)),
        })
    }

    fn material(&self, digest: &Digest) -> RemoteMaterial {
        RemoteMaterial {
            source: SourceOp::Http {
                url: self.url.to_owned(),
                name: self.name.to_owned(),
                checksum: self.checksum,
                unpack: self.unpack,
            },
            address: without_login(self.url),
            algorithm: Digest::ALGORITHM,
            digest: digest.to_hex(),
        }
    }

    fn parts(&self, services: &Services, digest: &Digest, modified: Option<&str>) -> Parts {
        let mut parts = Parts::default();
        parts
            .text("step", "http")
            .text("digest", digest.to_string())
            .text("name", self.name);
        if let Some(modified) = modified {
            parts.text("last modified", modified);
        }
        if self.unpack {
            parts.text("unpack", "");
        }
        let secrets = self.secret_names(services);
        if !secrets.is_empty() {
            parts.list("secrets", secrets);
        }
        parts
    }

    /// Returns the names of the secrets that are meant for the host and were given.
    fn secret_names(&self, services: &Services) -> Vec<String> {
        let host = host_of(self.url);
        ["HTTP_AUTH_HEADER_", "HTTP_AUTH_TOKEN_"]
            .iter()
            .map(|prefix| format!("{prefix}{host}"))
            .filter(|name| services.options.secrets.contains_key(name))
            .collect()
    }

    fn authorization(&self, services: &Services) -> Result<Option<String>, StepError> {
        let mut value = None;
        for name in self.secret_names(services) {
            let secret = secret_text(services, &name)?;
            value = secret.map(|text| match name.starts_with("HTTP_AUTH_TOKEN_") {
                true => format!("Bearer {text}"),
                false => text,
            });
        }
        Ok(value)
    }
}

/// Makes the layer that holds a file and nothing else.
fn store_file(
    services: &Services,
    source: &SourceOp,
    file: HttpFile<BlobWriter>,
) -> Result<Option<LayerId>, StepError> {
    let SourceOp::Http { name, unpack, .. } = source else {
        return Err(StepError::Internal(
            "a repository came as a file".to_owned(),
        ));
    };
    let seconds = file
        .modified
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
    let (digest, _) = file.writer.commit(Some(&file.digest))?;
    let blob = services
        .store
        .blob(&digest)?
        .ok_or_else(|| StepError::Internal(format!("blob {digest} is gone")))?;
    let path = EntryPath::root()
        .child(name.as_bytes())
        .map_err(|error| StepError::Fetch(error.to_string()))?;
    let mut builder = services.snapshots.builder(MergedTree::default(), FORMS);
    let open = || {
        Ok(BufReader::with_capacity(
            1 << 17,
            fs::File::open(&blob.path)?,
        ))
    };
    if *unpack && archive::is_archive(open().map_err(StepError::Io)?) {
        let reader = open().map_err(StepError::Io)?;
        // Everything in a context is root's.
        let mut change = |entry: &mut Entry| (entry.metadata.uid, entry.metadata.gid) = (0, 0);
        builder.add_archive(reader, &EntryPath::root(), &mut change)?;
        return Ok(builder.finish()?);
    }
    builder.entry(NewEntry::File {
        path,
        metadata: Metadata {
            mtime: Mtime { seconds, nanos: 0 },
            ..Metadata::with_mode(FILE_MODE)
        },
        content: Content::file(blob.path),
    });
    Ok(builder.finish()?)
}

/// Sources are copied from, so that one packed file is the cheapest.
const FORMS: Forms = Forms::PACKED;

async fn resolve_repository(
    services: &Services,
    url: &str,
    checksum: Option<&str>,
    keep_git_dir: Option<bool>,
) -> Result<Resolved, StepError> {
    let fail = |message: String| StepError::Fetch(message);
    let mut source: GitUrl = url.parse().map_err(|error| fail(format!("{error}")))?;
    if let Some(checksum) = checksum {
        if let Some(other) = source
            .checksum
            .as_deref()
            .filter(|other| *other != checksum)
        {
            return Err(fail(format!(
                "--checksum={checksum} and the address, which says {other}, contradict each other"
            )));
        }
        source = source
            .with_checksum(checksum)
            .map_err(|error| fail(format!("--checksum: {error}")))?;
    }
    if let (Some(flag), Some(query)) = (keep_git_dir, source.keep_git_dir)
        && flag != query
    {
        let message = "--keep-git-dir and the address contradict each other";
        return Err(fail(message.to_owned()));
    }
    let keep = keep_git_dir.or(source.keep_git_dir).unwrap_or(false);
    let commit = resolve_git(&source, &git_options(services, &source)?)
        .await
        .map_err(|error| fail(error.to_string()))?;
    let mut parts = Parts::default();
    parts
        .text("step", "git")
        .text("commit", &commit.commit)
        .text("folder", source.subdir.as_deref().unwrap_or_default());
    for (label, set) in [
        ("git dir", keep),
        ("no submodules", source.submodules == Some(false)),
        ("commit times", source.mtime_of_commit == Some(true)),
    ] {
        if set {
            parts.text(label, "");
        }
    }
    if keep {
        // They are written into `.git`.
        parts
            .text("address", source.shown_remote())
            .text("reference", &commit.reference);
    }
    let material = RemoteMaterial {
        source: SourceOp::Git {
            url: url.to_owned(),
            checksum: checksum.map(str::to_owned),
            keep_git_dir,
        },
        address: without_login(url),
        algorithm: match commit.commit.len() {
            40 => "sha1",
            _ => "sha256",
        },
        digest: commit.commit.clone(),
    };
    Ok(Resolved {
        parts,
        content: Fetched::Commit(Box::new((source, commit, keep))),
        material,
    })
}

/// Leaves out the user and password of an address. What has no scheme is as `git@host:path`, where the
/// user is no secret.
fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// Checks a commit out and makes a layer of its files.
async fn check_out(
    services: &Services,
    (source, commit, keep): &(GitUrl, GitCommit, bool),
) -> Result<Option<LayerId>, StepError> {
    let temp = services.store.temp_dir()?;
    let folder = temp.path().join("files");
    checkout_git(
        source,
        commit,
        *keep,
        &folder,
        &git_options(services, source)?,
    )
    .await
    .map_err(|error| StepError::Fetch(error.to_string()))?;
    // Times of a checkout are those at which it was made, unless the commit's are asked for.
    let time = services
        .options
        .file_time
        .filter(|_| source.mtime_of_commit != Some(true));
    let files = ContextFiles::temporary(&folder, "the repository")?.with_time(time);
    file_step::layer_of(services, std::sync::Arc::new(files), FORMS)
}

/// The secrets that BuildKit takes for git: `GIT_AUTH_HEADER` and `GIT_AUTH_TOKEN`, for a host if
/// its name follows after a dot.
fn git_options(services: &Services, source: &GitUrl) -> Result<GitOptions, StepError> {
    let host = host_of(&source.remote);
    let of = |name: &str| -> Result<Option<String>, StepError> {
        match secret_text(services, &format!("{name}.{host}"))? {
            Some(text) => Ok(Some(text)),
            None => secret_text(services, name),
        }
    };
    let token = of("GIT_AUTH_TOKEN")?.map(|token| {
        format!(
            "Basic {}",
            STANDARD.encode(format!("x-access-token:{token}"))
        )
    });
    Ok(GitOptions {
        authorization: of("GIT_AUTH_HEADER")?.or(token),
        ..GitOptions::default()
    })
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or(host),
    }
}

fn secret_text(services: &Services, name: &str) -> Result<Option<String>, StepError> {
    let bytes = match services.options.secrets.get(name) {
        None => return Ok(None),
        Some(Secret::Bytes(bytes)) => bytes.clone(),
        Some(Secret::File(path)) => fs_err::read(path).map_err(StepError::Io)?,
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| StepError::Fetch(format!("the secret {name} is not text")))?;
    Ok(Some(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_addresses() {
        for (url, expected) in [
            ("https://a.example:8080/b", "a.example"),
            ("http://u:p@a.example", "a.example"),
            ("http://[::1]:80/x", "::1"),
            ("git@a.example:b/c.git", "a.example"),
        ] {
            assert_eq!(host_of(url), expected, "{url}");
        }
    }
}
