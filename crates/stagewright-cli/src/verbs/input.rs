//! A build's request, made of what was typed.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use stagewright::{
    BuildRequest, ContextSource, DockerfileSource, Network, Secret, SecretValue, Squash, SshAgent,
    is_remote_source,
};
use tempfile::NamedTempFile;

use crate::arguments::{
    BuildArguments, KeyValue, NetworkArgument, OnError, SecretArgument, SecretOrigin, SshArgument,
};
use crate::failure::Failure;
use crate::settings::variable;

/// Where tars have their magic word, and the word.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");
/// How compressed files begin: gzip, bzip2, xz, zstd.
const COMPRESSED: [&[u8]; 4] = [
    &[0x1f, 0x8b],
    b"BZh",
    &[0xfd, b'7', b'z'],
    &[0x28, 0xb5, 0x2f, 0xfd],
];

/// A request, and what has to live as long as its build.
pub(crate) struct Input {
    pub(crate) request: BuildRequest,
    /// A context that came on standard input.
    _context: Option<NamedTempFile>,
}

/// Makes the request; standard input is read when an argument says so.
pub(crate) fn read(arguments: &BuildArguments) -> Result<Input, Failure> {
    if let Some(flag) = arguments.unsupported.first() {
        return Err(Failure::Usage(format!("{flag} is not supported yet")));
    }
    let (provenance, sbom) = arguments.attest.asked().map_err(Failure::Usage)?;
    let (context, dockerfile, kept) = sources(arguments)?;
    let request = BuildRequest {
        context,
        dockerfile,
        ignore_file: arguments.ignorefile.clone(),
        named_contexts: arguments
            .build_context
            .iter()
            .map(|context| (context.name.clone(), context.location.clone()))
            .collect(),
        target: arguments.target.clone(),
        stage: None,
        build_args: build_args(&arguments.build_arg),
        labels: arguments
            .label
            .iter()
            .map(|label| (label.name.clone(), label.value.clone().unwrap_or_default()))
            .collect(),
        unset_env: arguments.unsetenv.clone(),
        unset_labels: arguments.unsetlabel.clone(),
        inherit_labels: arguments.inherit_labels,
        squash: squash(arguments)?,
        tags: arguments.tag.clone(),
        platform: arguments.platform.first().cloned(),
        no_cache: arguments.no_cache,
        no_cache_filter: arguments.no_cache_filter.clone(),
        cache_ttl: arguments.cache_ttl,
        pull: arguments.pull,
        cache_from: arguments
            .cache_from
            .iter()
            .flat_map(|argument| argument.0.iter().cloned())
            .collect(),
        network: match arguments.network {
            NetworkArgument::Default => Network::Default,
            NetworkArgument::Host => Network::Host,
            NetworkArgument::None => Network::None,
            NetworkArgument::Pasta => Network::Pasta,
            NetworkArgument::Slirp4netns => Network::Slirp4netns,
        },
        secrets: arguments
            .secret
            .iter()
            .map(secret)
            .collect::<Result<_, _>>()?,
        ssh: arguments.ssh.iter().map(ssh).collect::<Result<_, _>>()?,
        extra_hosts: arguments
            .add_host
            .iter()
            .map(|host| (host.name.clone(), host.address.to_string()))
            .collect(),
        dns: arguments.dns.clone(),
        dns_search: arguments.dns_search.clone(),
        dns_options: arguments.dns_option.clone(),
        shm_bytes: arguments.shm_size,
        memory_bytes: arguments.memory,
        memory_swap_bytes: arguments.memory_swap,
        cpu_shares: arguments.cpu_shares,
        cpu_quota_us: arguments.cpu_quota,
        cpu_period_us: arguments.cpu_period,
        cpuset_cpus: arguments.cpuset_cpus.clone(),
        cpuset_mems: arguments.cpuset_mems.clone(),
        cgroup_parent: arguments.cgroup_parent.clone(),
        ulimits: arguments
            .ulimit
            .iter()
            .map(|limit| (limit.name.clone(), limit.soft, limit.hard))
            .collect(),
        volumes: arguments.volumes(),
        step_timeout: arguments.timeout,
        step_log_bytes_max: arguments.log_limit,
        keep_failed_step: arguments.on_error == OnError::Shell,
        jobs: arguments.jobs.map(usize::from),
        source_date_epoch: source_date_epoch()?,
        reproducible: arguments.reproducible,
        provenance,
        sbom,
        allow: arguments.allow.clone(),
    };
    Ok(Input {
        request,
        _context: kept,
    })
}

type Sources = (ContextSource, DockerfileSource, Option<NamedTempFile>);

fn sources(arguments: &BuildArguments) -> Result<Sources, Failure> {
    let file_on_stdin = arguments.file.as_deref() == Some(Path::new("-"));
    let context_on_stdin = arguments.context == "-";
    if file_on_stdin && context_on_stdin {
        let message = "standard input is either the Dockerfile or the context, not both";
        return Err(Failure::Usage(message.to_owned()));
    }
    if arguments.on_error == OnError::Shell && (file_on_stdin || context_on_stdin) {
        let message = "--on-error=shell reads its commands from standard input, which is the Dockerfile or the context here: name a file or a folder";
        return Err(Failure::Usage(message.to_owned()));
    }
    if context_on_stdin {
        let bytes = read_stdin()?;
        if !is_archive(&bytes) {
            if arguments.file.is_some() {
                let message = "standard input is no tar archive, so there is nothing that -f could name a file in";
                return Err(Failure::Usage(message.to_owned()));
            }
            return Ok((
                ContextSource::Empty,
                DockerfileSource::Text(text(bytes)?),
                None,
            ));
        }
        let archive = NamedTempFile::new()?;
        fs_err::write(archive.path(), &bytes)?;
        return Ok((
            ContextSource::Archive(archive.path().to_path_buf()),
            match &arguments.file {
                None => DockerfileSource::Usual,
                Some(name) => DockerfileSource::InContext(name.display().to_string()),
            },
            Some(archive),
        ));
    }
    let remote = remote(&arguments.context);
    let is_remote = remote.is_some();
    let context = match remote {
        Some(address) => ContextSource::Remote(address),
        None => ContextSource::Directory(PathBuf::from(&arguments.context)),
    };
    let dockerfile = match &arguments.file {
        None => DockerfileSource::Usual,
        Some(_) if file_on_stdin => DockerfileSource::Text(text(read_stdin()?)?),
        Some(file) if is_remote => DockerfileSource::InContext(file.display().to_string()),
        Some(file) => DockerfileSource::File(file.clone()),
    };
    Ok((context, dockerfile, None))
}

/// Returns the address that a context is, if it is none of a folder.
fn remote(context: &str) -> Option<String> {
    if is_remote_source(context) {
        return Some(context.to_owned());
    }
    // Docker's short form.
    let short = context.starts_with("github.com/") && !Path::new(context).exists();
    short.then(|| format!("https://{context}"))
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        let message = "standard input is a terminal; pipe a Dockerfile or a tar archive into it";
        return Err(Failure::Usage(message.to_owned()));
    }
    let mut bytes = Vec::new();
    stdin
        .read_to_end(&mut bytes)
        .context("reading standard input")?;
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes)
        .map_err(|_| anyhow!("standard input is neither a tar archive nor UTF-8 text").into())
}

fn is_archive(bytes: &[u8]) -> bool {
    let (offset, magic) = TAR_MAGIC;
    COMPRESSED.iter().any(|start| bytes.starts_with(start))
        || bytes.get(offset..offset + magic.len()) == Some(magic)
}

/// A build argument without a value takes that of the environment; where there is none either, it
/// is as if it had not been given.
fn build_args(given: &[KeyValue]) -> Vec<(String, String)> {
    given
        .iter()
        .filter_map(|argument| {
            let value = argument
                .value
                .clone()
                .or_else(|| std::env::var(&argument.name).ok())?;
            Some((argument.name.clone(), value))
        })
        .collect()
}

fn squash(arguments: &BuildArguments) -> Result<Squash, Failure> {
    match (arguments.squash, arguments.squash_all) {
        (false, false) => Ok(Squash::No),
        (true, false) => Ok(Squash::New),
        (false, true) => Ok(Squash::All),
        (true, true) => {
            let message = "--squash keeps the layers of the base and --squash-all does not: write one of them";
            Err(Failure::Usage(message.to_owned()))
        }
    }
}

fn source_date_epoch() -> Result<Option<u64>, Failure> {
    let Some(text) = variable("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    match text.parse() {
        Ok(seconds) => Ok(Some(seconds)),
        Err(_) => {
            let message = format!("SOURCE_DATE_EPOCH is {text:?}; write it in seconds since 1970");
            Err(Failure::Usage(message))
        }
    }
}

fn secret(argument: &SecretArgument) -> Result<Secret, Failure> {
    let from_variable = |name: &str| variable(name).map(|value| SecretValue::Bytes(value.into()));
    let value = match &argument.origin {
        SecretOrigin::File(path) => SecretValue::File(path.clone()),
        SecretOrigin::Environment(name) => from_variable(name).ok_or_else(|| {
            Failure::Usage(format!("the secret {:?}: ${name} is not set", argument.id))
        })?,
        SecretOrigin::Guess => {
            from_variable(&argument.id).unwrap_or_else(|| SecretValue::File((&argument.id).into()))
        }
    };
    Ok(Secret {
        id: argument.id.clone(),
        value,
    })
}

fn ssh(argument: &SshArgument) -> Result<SshAgent, Failure> {
    let id = argument.id.clone();
    let paths = match argument.paths.as_slice() {
        [] => match variable("SSH_AUTH_SOCK") {
            Some(socket) if !socket.is_empty() => vec![socket.into()],
            _ => {
                return Err(Failure::Usage(format!(
                    "--ssh {id}: $SSH_AUTH_SOCK is not set; start an agent, or write --ssh {id}=SOCKET or --ssh {id}=KEY"
                )));
            }
        },
        paths => paths.to_vec(),
    };
    Ok(SshAgent { id, paths })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_from_dockerfiles() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for archive in [
            tar.as_slice(),
            &[0x1f, 0x8b, 8],
            b"BZh9",
            &[0x28, 0xb5, 0x2f, 0xfd],
        ] {
            assert!(is_archive(archive));
        }
        for other in [b"FROM scratch\n".as_slice(), b""] {
            assert!(!is_archive(other));
        }
    }
}
