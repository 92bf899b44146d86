//! Values of flags that have a form of their own.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use stagewright::{CacheFrom, DiskSpace, NamedContext};

/// `NAME=VALUE`, or `NAME` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyValue {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl FromStr for KeyValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() {
            return Err("there is no name before the `=`".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

/// `--registry-mirror REGISTRY=HOST[:PORT][/PREFIX]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MirrorArgument {
    pub(crate) registry: String,
    pub(crate) location: String,
}

impl FromStr for MirrorArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((registry, location)) if !registry.is_empty() && !location.is_empty() => {
                Ok(Self {
                    registry: registry.to_owned(),
                    location: location.to_owned(),
                })
            }
            _ => Err("write REGISTRY=HOST[:PORT], such as docker.io=127.0.0.1:5000".to_owned()),
        }
    }
}

/// `--build-context NAME=WHERE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedContextArgument {
    pub(crate) name: String,
    pub(crate) location: NamedContext,
}

impl FromStr for NamedContextArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, location) = match text.split_once('=') {
            Some((name, location)) if !name.is_empty() && !location.is_empty() => (name, location),
            _ => return Err("write NAME=WHERE, such as assets=../assets".to_owned()),
        };
        let location = location
            .parse()
            .map_err(|error: stagewright::Error| error.message)?;
        Ok(Self {
            name: name.to_owned(),
            location,
        })
    }
}

/// `--secret id=NAME[,src=FILE|,env=VARIABLE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretArgument {
    pub(crate) id: String,
    pub(crate) origin: SecretOrigin,
}

/// Where a secret's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretOrigin {
    File(PathBuf),
    Environment(String),
    /// Not said: a variable of the secret's name, else a file of its name.
    Guess,
}

impl FromStr for SecretArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
        for field in stagewright::csv_fields(text)? {
            match field.split_once('=') {
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("src" | "source", value)) => file = Some(value.to_owned()),
                Some(("env", value)) => variable = Some(value.to_owned()),
                Some(("type", value @ ("file" | "env"))) => kind = Some(value.to_owned()),
                Some(("type", value)) => {
                    return Err(format!("a secret's type is file or env, not {value:?}"));
                }
                _ => return Err(format!("{field:?} is none of id=, src=, env=, type=")),
            }
        }
        let origin = match (file, variable, kind.as_deref()) {
            (Some(_), Some(_), _) => return Err("a secret has src= or env=, not both".to_owned()),
            (None, Some(variable), _) => SecretOrigin::Environment(variable),
            (Some(variable), None, Some("env")) => SecretOrigin::Environment(variable),
            (Some(file), None, _) => SecretOrigin::File(PathBuf::from(file)),
            (None, None, Some("env")) => SecretOrigin::Environment(id.clone().unwrap_or_default()),
            (None, None, _) => SecretOrigin::Guess,
        };
        let id = match (id, &origin) {
            (Some(id), _) if !id.is_empty() => id,
            (None, SecretOrigin::Environment(variable)) => variable.clone(),
            (None, SecretOrigin::File(file)) => match file.file_name() {
                Some(name) => name.to_string_lossy().into_owned(),
                None => return Err("a secret needs id=NAME".to_owned()),
            },
            _ => return Err("a secret needs id=NAME".to_owned()),
        };
        Ok(Self { id, origin })
    }
}

/// `--ssh ID[=PATH,...]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshArgument {
    pub(crate) id: String,
    /// A socket or files of keys; none for the agent of the environment.
    pub(crate) paths: Vec<PathBuf>,
}

impl FromStr for SshArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        let paths: Vec<PathBuf> = match paths {
            "" => Vec::new(),
            paths => paths.split(',').map(PathBuf::from).collect(),
        };
        if paths.iter().any(|path| path.as_os_str().is_empty()) {
            return Err("a path between the commas is empty".to_owned());
        }
        let id = if id.is_empty() { "default" } else { id };
        Ok(Self {
            id: id.to_owned(),
            paths,
        })
    }
}

/// `--add-host HOST:IP` or `HOST=IP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtraHost {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
}

impl FromStr for ExtraHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .filter(|(name, _)| !name.is_empty())
            .ok_or("write HOST:IP, such as db:10.0.0.5")?;
        if address == "host-gateway" {
            return Err("host-gateway is not supported yet; write the address".to_owned());
        }
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(address);
        let address = bare
            .parse()
            .map_err(|_| format!("{address:?} is not an IP address"))?;
        Ok(Self {
            name: name.to_owned(),
            address,
        })
    }
}

/// `--ulimit NAME=SOFT[:HARD]`; `-1` is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ulimit {
    pub(crate) name: String,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// The names that docker knows.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl FromStr for Ulimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, limits) = text
            .split_once('=')
            .ok_or("write NAME=SOFT[:HARD], such as nofile=1024:2048")?;
        if !ULIMITS.contains(&name) {
            return Err(format!(
                "there is no limit {name:?}; the limits are {}",
                ULIMITS.join(", ")
            ));
        }
        let number = |text: &str| match text {
            "-1" => Ok(u64::MAX),
            text => text
                .parse()
                .map_err(|_| format!("{text:?} is not a number")),
        };
        let (soft, hard) = match limits.split_once(':') {
            Some((soft, hard)) => (number(soft)?, number(hard)?),
            None => (number(limits)?, number(limits)?),
        };
        if soft > hard {
            return Err("the soft limit is above the hard one".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            soft,
            hard,
        })
    }
}

/// Parses a number of bytes with docker's units: `64m`, `1.5g`, `512kb`; all in powers of 1024.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        unit => return Err(format!("{unit:?} is not a unit; write b, k, m, g or t")),
    };
    let number: f64 = digits
        .trim()
        .parse()
        .map_err(|_| format!("{text:?} is not a number of bytes, such as 64m"))?;
    let bytes = number * f64::from(1_u32 << 10).powi(shift / 10);
    if !(0.0..9.0e18).contains(&bytes) {
        return Err(format!("{text:?} is out of range"));
    }
    Ok(bytes as u64)
}

/// Parses room on a disk: a number of bytes, or a share of the disk such as `10%`.
pub(crate) fn parse_space(text: &str) -> Result<DiskSpace, String> {
    let Some(percent) = text.trim().strip_suffix('%') else {
        return parse_bytes(text).map(DiskSpace::Bytes);
    };
    match percent.parse() {
        Ok(percent @ 0..=100) => Ok(DiskSpace::Percent(percent)),
        _ => Err(format!("{text:?} is no share of a disk, such as 10%")),
    }
}

/// Parses `--memory-swap`: a number of bytes, or -1 for no limit.
pub(crate) fn parse_swap(text: &str) -> Result<i64, String> {
    if text.trim() == "-1" {
        return Ok(-1);
    }
    i64::try_from(parse_bytes(text)?).map_err(|_| format!("{text:?} is out of range"))
}

/// A value of `--cache-from`, which may name several caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheFromArgument(pub(crate) Vec<CacheFrom>);

impl FromStr for CacheFromArgument {
    type Err = stagewright::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        CacheFrom::parse_all(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_dockers_units() {
        for (text, expected) in [
            ("64m", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("512KB", Some(512 << 10)),
            ("0", Some(0)),
            ("10", Some(10)),
            ("10 m", Some(10 << 20)),
            ("x", None),
            ("5q", None),
            ("-1", None),
            ("", None),
            ("9e30", None),
        ] {
            assert_eq!(parse_bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn room_is_bytes_or_a_share_of_the_disk() {
        for (text, expected) in [
            ("2g", Some(DiskSpace::Bytes(2 << 30))),
            ("10%", Some(DiskSpace::Percent(10))),
            ("100%", Some(DiskSpace::Percent(100))),
            ("101%", None),
            ("%", None),
            ("1.5%", None),
            ("-1%", None),
            ("x", None),
        ] {
            assert_eq!(parse_space(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn secrets_come_from_files_and_variables() {
        let origin = |text: &str| text.parse::<SecretArgument>().map(|s| (s.id, s.origin));
        let ok = |id: &str, origin| Ok((id.to_owned(), origin));
        assert_eq!(
            origin("id=a,src=/x"),
            ok("a", SecretOrigin::File("/x".into()))
        );
        assert_eq!(
            origin("id=a,env=B"),
            ok("a", SecretOrigin::Environment("B".into()))
        );
        assert_eq!(
            origin("type=env,id=A"),
            ok("A", SecretOrigin::Environment("A".into()))
        );
        assert_eq!(origin("id=a"), ok("a", SecretOrigin::Guess));
        assert_eq!(
            origin("src=/x/key"),
            ok("key", SecretOrigin::File("/x/key".into()))
        );
        for wrong in [
            "",
            "id=",
            "src=",
            "id=a,src=b,env=c",
            "id=a,what=b",
            "id=a,type=x",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_limits_and_mirrors_are_checked() {
        let host = |text: &str| {
            text.parse::<ExtraHost>()
                .map(|h| format!("{} {}", h.name, h.address))
        };
        assert_eq!(host("db:10.0.0.5").unwrap(), "db 10.0.0.5");
        assert_eq!(host("db=[::1]").unwrap(), "db ::1");
        assert_eq!(host("db:::1").unwrap(), "db ::1");
        assert!(
            host("db").is_err() && host("db:host-gateway").is_err() && host(":1.1.1.1").is_err()
        );

        let limit = |text: &str| text.parse::<Ulimit>().map(|u| (u.soft, u.hard));
        assert_eq!(limit("nofile=1:2"), Ok((1, 2)));
        assert_eq!(limit("nofile=5"), Ok((5, 5)));
        assert_eq!(limit("core=-1"), Ok((u64::MAX, u64::MAX)));
        assert!(
            limit("nofile=2:1").is_err() && limit("files=1").is_err() && limit("nofile").is_err()
        );

        assert!("docker.io=127.0.0.1:5000".parse::<MirrorArgument>().is_ok());
        assert!("docker.io".parse::<MirrorArgument>().is_err());
    }

    #[test]
    fn named_contexts_know_their_forms() {
        let location = |text: &str| text.parse::<NamedContextArgument>().map(|c| c.location);
        let layout = |path: &str, reference: Option<&str>| NamedContext::OciLayout {
            path: path.into(),
            reference: reference.map(str::to_owned),
        };
        assert_eq!(
            location("a=../x"),
            Ok(NamedContext::Directory("../x".into()))
        );
        assert_eq!(
            location("a=docker-image://alpine:3"),
            Ok(NamedContext::Image("alpine:3".into()))
        );
        assert_eq!(location("a=oci-layout:///x/y"), Ok(layout("/x/y", None)));
        assert_eq!(
            location("a=oci-layout:///x/y:tag"),
            Ok(layout("/x/y", Some("tag")))
        );
        assert_eq!(
            location("a=oci-layout://x@sha256:ab"),
            Ok(layout("x", Some("sha256:ab")))
        );
        for remote in [
            "https://example.com/x.git#v1",
            "http://a/b",
            "git@a.example:b",
        ] {
            assert_eq!(
                location(&format!("a={remote}")),
                Ok(NamedContext::Remote(remote.to_owned()))
            );
        }
        for (text, expected) in [
            ("a=ftp://x", "there is no ftp context"),
            ("a=target:x", "bake file"),
        ] {
            let error = location(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(location("a").is_err() && location("=x").is_err());
    }
}
