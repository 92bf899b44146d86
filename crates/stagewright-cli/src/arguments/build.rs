//! `stagewright build`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Args, ValueEnum};
use stagewright::{CachePlace, CacheTo, Volume};

use super::annotation::AnnotationArgument;
use super::attest::AttestArguments;
use super::cache::parse_duration;
use super::call::{CallArgument, CallMethod};
use super::output::OutputArgument;
use super::unsupported::Unsupported;
use super::values::{
    CacheFromArgument, ExtraHost, KeyValue, MirrorArgument, NamedContextArgument, SecretArgument,
    SshArgument, Ulimit, parse_bytes, parse_swap,
};

/// Flags of `stagewright build`, as docker spells them. What is said once for all of them is not said for each: the command
/// is a list of calls, and would be larger by a tenth.
#[derive(Debug, Clone, Args)]
#[command(args_override_self = true, mut_args(switch))]
pub(crate) struct BuildArguments {
    /// Folder with the files to build from; `-` reads a Dockerfile or a tar archive from stdin
    #[arg(value_name = "CONTEXT", default_value = ".")]
    pub(crate) context: String,

    /// The Dockerfile; `-` reads it from stdin [default: CONTEXT/Dockerfile, else CONTEXT/Containerfile]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What of the context is left out [default: FILE.dockerignore, FILE.containerignore,
    /// CONTEXT/.dockerignore or CONTEXT/.containerignore, the first that is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) ignorefile: Option<PathBuf>,
    /// Name the image `NAME[:TAG]`; may be repeated
    #[arg(short, long, value_name = "NAME")]
    pub(crate) tag: Vec<String>,
    /// Build this stage, by its name or number, instead of the last one
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Set a build argument; without a value it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) build_arg: Vec<KeyValue>,
    /// Use a folder or image as a named context (`NAME=PATH`, `NAME=docker-image://REF`,
    /// `NAME=oci-layout://PATH`)
    #[arg(long, value_name = "NAME=WHERE")]
    pub(crate) build_context: Vec<NamedContextArgument>,
    /// Set a label of the image
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<KeyValue>,
    /// Leave a variable out of the image; steps see it all the same
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) unsetenv: Vec<String>,
    /// Leave a label out of the image
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) unsetlabel: Vec<String>,
    /// Take over the labels of what a stage starts from [default: true]
    #[arg(long, action = ArgAction::Set, default_value = "true", value_name = "BOOL")]
    pub(crate) inherit_labels: bool,
    /// Make the layers of this build one, on those of the base
    #[arg(long, action = ArgAction::Set, default_value = "false", value_name = "BOOL")]
    pub(crate) squash: bool,
    /// Make all layers one, those of the base too
    #[arg(long, action = ArgAction::Set, default_value = "false", value_name = "BOOL")]
    pub(crate) squash_all: bool,
    /// Build for this platform, as `OS/ARCHITECTURE[/VARIANT]`
    #[arg(
        long,
        value_name = "PLATFORM",
        env = "DOCKER_DEFAULT_PLATFORM",
        value_delimiter = ','
    )]
    pub(crate) platform: Vec<String>,
    /// Give steps a secret (`id=NAME,src=FILE` or `id=NAME,env=VARIABLE`)
    #[arg(long, value_name = "SECRET")]
    pub(crate) secret: Vec<SecretArgument>,
    /// Let steps reach an ssh agent ($SSH_AUTH_SOCK unless a socket is named), or keys in files
    #[arg(long, value_name = "default|ID[=SOCKET|KEY,...]")]
    pub(crate) ssh: Vec<SshArgument>,

    /// Write the image (`type=oci|docker|local|tar,dest=PATH`); a path alone is `type=local`
    #[arg(short, long, value_name = "OUTPUT")]
    pub(crate) output: Vec<OutputArgument>,
    /// Load the image into Docker or Podman, whichever is there
    #[arg(long, action = ArgAction::Set, default_value = "false", value_name = "BOOL")]
    pub(crate) load: bool,
    /// Push the image to the registries of its names
    #[arg(long, action = ArgAction::Set, default_value = "false", value_name = "BOOL")]
    pub(crate) push: bool,
    /// Annotate the image (`[LEVEL[PLATFORM]:]KEY=VALUE`; levels are manifest, manifest-descriptor,
    /// index, index-descriptor)
    #[arg(long, value_name = "ANNOTATION")]
    pub(crate) annotation: Vec<AnnotationArgument>,
    /// Write the image's id into a file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write the build's results into a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) attest: AttestArguments,
    /// Make the same image whenever and wherever it is built: files and history carry
    /// $SOURCE_DATE_EPOCH, else the time of the context's commit, else 0
    #[arg(long)]
    pub(crate) reproducible: bool,
    /// Don't use the cache
    #[arg(long, action = ArgAction::Set, default_value = "false", value_name = "BOOL")]
    pub(crate) no_cache: bool,
    /// Don't use the cache for these stages
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(crate) no_cache_filter: Vec<String>,
    /// Run commands again whose results were made longer ago, such as 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) cache_ttl: Option<Duration>,
    /// Look results up in a cache that was exported elsewhere (`REF`, `type=registry,ref=REF`,
    /// `type=local,src=FOLDER`, `type=s3`, `type=azblob`, `type=gha`, each with `mounts=true`)
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_from: Vec<CacheFromArgument>,
    /// Export the cache (`type=registry,ref=REF`, `type=local,dest=FOLDER`, `type=s3`, `type=azblob`,
    /// `type=gha`, each with `mode=min|max` and `mounts=true`; `type=inline`)
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_to: Vec<CacheTo>,
    /// Ask the registries for newer base images
    #[arg(long, action = ArgAction::Set, default_value = "false", value_name = "BOOL")]
    pub(crate) pull: bool,

    /// Say something of the Dockerfile instead of building (`build`, `check`, `outline`, `targets`;
    /// `,format=json` for programs)
    #[arg(long, value_name = "METHOD[,format=json]")]
    pub(crate) call: Option<CallArgument>,
    /// Run the build checks, as `--call=check` does
    #[arg(long, action = ArgAction::Set, default_value = "false", value_name = "BOOL")]
    pub(crate) check: bool,

    /// Network of RUN steps that name none
    #[arg(long, value_name = "MODE", default_value = "default", value_enum)]
    pub(crate) network: NetworkArgument,
    /// Add a line to the steps' /etc/hosts
    #[arg(long, value_name = "HOST:IP")]
    pub(crate) add_host: Vec<ExtraHost>,
    /// A name server of the steps' /etc/resolv.conf; `none` leaves the image's file as it is [default:
    /// the host's]
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub(crate) dns: Vec<String>,
    /// A search domain there; `.` for none at all [default: the host's]
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',')]
    pub(crate) dns_search: Vec<String>,
    /// An option there, such as ndots:2 [default: the host's]
    #[arg(long, value_name = "OPTION", value_delimiter = ',')]
    pub(crate) dns_option: Vec<String>,
    /// Size of the steps' /dev/shm, such as 64m
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) shm_size: Option<u64>,
    /// The most memory of a step, such as 512m; it needs a cgroup, as the next seven do
    #[arg(short, long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) memory: Option<u64>,
    /// The most memory and swap of a step together; -1 does not limit swap [default: twice the memory]
    #[arg(long, value_name = "BYTES", value_parser = parse_swap, allow_negative_numbers = true)]
    pub(crate) memory_swap: Option<i64>,
    /// The weight of a step's processor time against others' [usual: 1024]
    #[arg(short, long, value_name = "SHARES")]
    pub(crate) cpu_shares: Option<u64>,
    /// The most processor time of a step in each period, in microseconds
    #[arg(long, value_name = "TIME")]
    pub(crate) cpu_quota: Option<u64>,
    /// The period of --cpu-quota, in microseconds [default: 100000]
    #[arg(long, value_name = "TIME")]
    pub(crate) cpu_period: Option<u64>,
    /// The processors that steps may use, such as 0-2,4
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// The memory nodes that steps may use, such as 0,1
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// The cgroup that those of steps are made in
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup_parent: Option<String>,
    /// Limit what steps may use, as `NAME=SOFT[:HARD]`
    #[arg(long, value_name = "LIMIT")]
    pub(crate) ulimit: Vec<Ulimit>,
    /// Show steps a folder or file of the host, as `SOURCE:TARGET[:OPTIONS]`: `ro` to read, `O` to throw
    /// away what they change, and with these `key` to run them again when it changes
    #[arg(short, long, value_name = "VOLUME", value_parser = Volume::parse)]
    volume: Vec<Volume>,
    /// Show steps a device of the host, as `DEVICE[:TARGET]`
    #[arg(long, value_name = "DEVICE", value_parser = Volume::parse_device)]
    device: Vec<Volume>,
    /// End a step that takes longer, such as 90s or 1h30m, and fail
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Show this much of what a step writes, such as 10m; 0 for all [default: 2m]
    #[arg(long, value_name = "BYTES", value_parser = parse_log_limit,
          env = "BUILDKIT_STEP_LOG_MAX_SIZE", allow_hyphen_values = true)]
    pub(crate) log_limit: Option<u64>,
    /// What to do when a step fails; `shell` opens one where it failed, with its files, mounts,
    /// environment and user
    #[arg(long, value_name = "WHAT", default_value = "fail", value_enum)]
    pub(crate) on_error: OnError,
    /// Allow steps to ask for `network.host` or `security.insecure`
    #[arg(long, value_name = "ENTITLEMENT")]
    pub(crate) allow: Vec<String>,
    /// How many steps may run at once
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Ask another registry first, as `REGISTRY=HOST[:PORT][/PREFIX]`
    #[arg(long, value_name = "MIRROR")]
    pub(crate) registry_mirror: Vec<MirrorArgument>,

    /// How to show progress
    #[arg(
        long,
        value_name = "MODE",
        default_value = "auto",
        value_enum,
        env = "BUILDKIT_PROGRESS"
    )]
    pub(crate) progress: ProgressMode,
    /// Print nothing but the image's id
    #[arg(short, long, action = ArgAction::Set, default_value = "false", value_name = "BOOL")]
    pub(crate) quiet: bool,

    /// Does nothing: there are no intermediate containers to remove
    #[arg(long, hide = true, action = ArgAction::Set, default_value = "true", value_name = "BOOL")]
    pub(crate) rm: bool,
    /// Does nothing: there are no intermediate containers to remove
    #[arg(long, hide = true, action = ArgAction::Set, default_value = "true", value_name = "BOOL")]
    pub(crate) force_rm: bool,

    #[command(flatten)]
    pub(crate) unsupported: Unsupported,
}

impl BuildArguments {
    /// Returns what is asked for instead of a build.
    pub(crate) fn asks(&self) -> Option<CallArgument> {
        let call = self.call.filter(|call| call.method != CallMethod::Build);
        call.or(self.check.then_some(CallArgument::CHECK))
    }

    /// Returns what steps see of the host.
    pub(crate) fn volumes(&self) -> Vec<Volume> {
        self.volume.iter().chain(&self.device).cloned().collect()
    }

    /// Returns whether images are to be caches, too.
    pub(crate) fn inline_cache(&self) -> bool {
        let inline = |to: &CacheTo| to.place == CachePlace::Inline;
        let argument = self
            .build_arg
            .iter()
            .rfind(|given| given.name == INLINE_CACHE);
        let value = argument.and_then(|given| given.value.as_deref());
        self.cache_to.iter().any(inline) || matches!(value, Some("1" | "true"))
    }
}

/// Lets a flag that is true or false be given without a value, which is after `=` else.
fn switch(arg: Arg) -> Arg {
    let is_switch = arg.get_value_names().is_some_and(|names| names == ["BOOL"]);
    if !is_switch || arg.get_default_values().is_empty() {
        return arg;
    }
    arg.num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_possible_values(true)
        .hide_default_value(true)
}

/// The build argument by which BuildKit's users ask for an inline cache.
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";

/// The network of a RUN step that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkArgument {
    /// The host's network
    Default,
    /// The host's network
    Host,
    /// Loopback only
    None,
    /// One of its own, that the program pasta connects to the host's
    Pasta,
    /// One of its own, that the program slirp4netns connects to the host's
    Slirp4netns,
}

/// What is done when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnError {
    /// The build fails
    Fail,
    /// A shell is opened where the step failed; then the build fails
    #[value(alias = "debug")]
    Shell,
}

/// Reads a limit, BuildKit's `-1` for none included.
fn parse_log_limit(text: &str) -> Result<u64, String> {
    match text {
        "-1" => Ok(0),
        _ => parse_bytes(text),
    }
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// `tty` on a terminal, else `plain`
    Auto,
    /// Every line as it comes
    Plain,
    /// A table that is drawn anew
    Tty,
    /// A JSON object a line
    Rawjson,
    /// Nothing but the image's id
    Quiet,
    /// Nothing
    None,
}

impl ProgressMode {
    /// Returns what `--quiet` makes of it.
    pub(crate) fn or_quiet(self, quiet: bool) -> Self {
        match quiet {
            true => Self::Quiet,
            false => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Arguments, Verb};
    use super::*;

    fn parse(line: &str) -> Result<BuildArguments, String> {
        let words = ["stagewright", "build"]
            .into_iter()
            .chain(line.split_whitespace());
        match Arguments::try_parse_from(words) {
            Ok(Arguments {
                verb: Verb::Build(arguments),
                ..
            }) => Ok(*arguments),
            Ok(other) => panic!("not a build: {other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn dockers_ways_to_spell_flags_work() {
        let bare = parse("").unwrap();
        assert_eq!(
            (bare.context.as_str(), bare.no_cache, bare.pull),
            (".", false, false)
        );
        for line in [
            "-t a -t b:1 -f x/Dockerfile --no-cache --pull --target=t -q dir",
            "-ta --tag=b:1 --file x/Dockerfile --no-cache=true --pull=true --target t --quiet=true dir",
            "dir -t=a -t=b:1 -f=x/Dockerfile --no-cache --pull -q --target t --rm --force-rm=false",
        ] {
            let arguments = parse(line).unwrap();
            assert_eq!(arguments.context, "dir", "{line}");
            assert_eq!(arguments.tag, ["a", "b:1"], "{line}");
            assert_eq!(
                arguments.file,
                Some(PathBuf::from("x/Dockerfile")),
                "{line}"
            );
            assert_eq!(arguments.target.as_deref(), Some("t"), "{line}");
            assert!(
                arguments.no_cache && arguments.pull && arguments.quiet,
                "{line}"
            );
        }
        let stdin = parse("-f - .").unwrap();
        assert_eq!(
            (stdin.file, stdin.context.as_str()),
            (Some(PathBuf::from("-")), ".")
        );
        assert_eq!(parse("-").unwrap().context, "-");
        assert!(!parse("--no-cache=false").unwrap().no_cache);
    }

    #[test]
    fn the_last_of_a_flag_wins() {
        let arguments =
            parse("--progress=plain -f a --progress=tty -f b --pull --pull=false").unwrap();
        assert_eq!(arguments.progress, ProgressMode::Tty);
        assert_eq!(arguments.file, Some(PathBuf::from("b")));
        assert!(!arguments.pull);
    }

    #[test]
    fn lists_can_be_given_at_once_or_one_by_one() {
        let arguments =
            parse("--no-cache-filter a,b --no-cache-filter c --build-arg A=1 --build-arg B")
                .unwrap();
        assert_eq!(arguments.no_cache_filter, ["a", "b", "c"]);
        assert_eq!(arguments.build_arg[0].value.as_deref(), Some("1"));
        assert_eq!(arguments.build_arg[1].value, None);
    }

    #[test]
    fn the_limit_of_logs_is_none_as_buildkit_says_it_too() {
        for (text, bytes) in [("2m", 2 << 20), ("0", 0), ("-1", 0), ("100", 100)] {
            let line = format!("--log-limit {text}");
            assert_eq!(parse(&line).unwrap().log_limit, Some(bytes), "{text}");
        }
        assert!(parse("--log-limit=-2").is_err());
        for what in ["shell", "debug"] {
            let line = format!("--on-error={what}");
            assert_eq!(parse(&line).unwrap().on_error, OnError::Shell);
        }
    }

    #[test]
    fn what_does_not_exist_is_an_error_with_advice() {
        let error = parse("--no-cashe").unwrap_err();
        assert!(error.contains("--no-cache"), "{error}");
        for line in [
            "--progress=fancy",
            "--network=bridge",
            "--jobs=0",
            "a b",
            "--load=maybe",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn limits_are_read_as_docker_writes_them() {
        let line = "-m 1g --memory-swap -1 -c 512 --cpu-quota=50000 --cpu-period=100000 --cpuset-cpus 0-1 --cpuset-mems 0 --cgroup-parent /a/b --network=pasta";
        let given = parse(line).unwrap();
        assert_eq!(given.memory, Some(1 << 30));
        assert_eq!(given.memory_swap, Some(-1));
        assert_eq!(
            (given.cpu_shares, given.cpu_quota, given.cpu_period),
            (Some(512), Some(50_000), Some(100_000))
        );
        assert_eq!(
            (given.cpuset_cpus.as_deref(), given.cpuset_mems.as_deref()),
            (Some("0-1"), Some("0"))
        );
        assert_eq!(given.cgroup_parent.as_deref(), Some("/a/b"));
        assert_eq!(given.network, NetworkArgument::Pasta);
        assert_eq!(
            parse("--memory-swap=2m").unwrap().memory_swap,
            Some(2 << 20)
        );
        for line in ["--memory=lots", "--memory-swap=-2", "--cpu-quota=-1"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn attestations_are_asked_for_as_buildx_has_them() {
        for (line, provenance, sbom) in [
            ("", false, false),
            ("--provenance=false --sbom=false", false, false),
            ("--provenance --sbom", true, true),
            ("--provenance=mode=min .", true, false),
            (
                "--attest=type=sbom --attest type=provenance,mode=max",
                true,
                true,
            ),
            ("--attest=type=sbom,disabled=true", false, false),
        ] {
            let asked = parse(line).unwrap().attest.asked().unwrap();
            assert_eq!((asked.0.is_some(), asked.1), (provenance, sbom), "{line}");
        }
        let twice = parse("--sbom --attest type=sbom").unwrap().attest.asked();
        assert!(twice.unwrap_err().contains("twice"));
        for line in ["--provenance=x", "--sbom=generator=a", "--attest=sbom"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_is_not_supported_is_kept_to_be_refused() {
        for (line, flag) in [
            ("--policy x .", Some("--policy")),
            ("--security-opt=x", Some("--security-opt")),
            ("--compress", Some("--compress")),
            ("--isolation=default", None),
        ] {
            assert_eq!(parse(line).unwrap().unsupported.first(), flag, "{line}");
        }
    }
}
