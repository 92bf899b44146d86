//! Image configs: how a container of an image starts, and how the image came to be.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stagewright_digest::DiffId;

use crate::platform::Platform;

/// The longest image config that is read.
pub const CONFIG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The config of an image (image specification, "Image Configuration") with Docker's additions.
///
/// Fields are written in the order that BuildKit writes them, so that equal images have equal
/// digests. Fields that are not known here are kept and written last; BuildKit drops those of a
/// base image from what it builds on it, which [`without_unknown`](Self::without_unknown) does.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The processor, in Go's name.
    #[serde(default)]
    pub architecture: String,
    /// Who made the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// How a container starts.
    #[serde(default, deserialize_with = "crate::null::as_default")]
    pub config: RunConfig,
    /// When the image was made, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// A line for each instruction, the oldest first.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub history: Vec<History>,
    /// The operating system, in Go's name.
    #[serde(default)]
    pub os: String,
    /// Features of the operating system that the image needs.
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub os_features: Vec<String>,
    /// The version of the operating system.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// The layers, by the digests of their uncompressed forms.
    #[serde(default)]
    pub rootfs: RootFs,
    /// The variant of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How a container of an image starts: the `config` object of an image config.
///
/// For lists that may be unset, nothing and the empty list differ: `CMD []` clears.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// The user, and group after a colon, by name or number.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub user: String,
    /// Ports as `80/tcp`.
    #[serde(
        default,
        skip_serializing_if = "BTreeSet::is_empty",
        with = "crate::null::set"
    )]
    pub exposed_ports: BTreeSet<String>,
    /// Variables as `NAME=value`, in order.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub env: Vec<String>,
    /// The program that is always run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command, or the arguments of the entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Folders that are volumes.
    #[serde(
        default,
        skip_serializing_if = "BTreeSet::is_empty",
        with = "crate::null::set"
    )]
    pub volumes: BTreeSet<String>,
    /// The folder that the command starts in.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub working_dir: String,
    /// Labels by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the container to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Whether a Windows command line is already escaped.
    #[serde(
        default,
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "crate::null::as_default"
    )]
    pub args_escaped: bool,
    /// How Docker tells whether the container is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions that run in a build on top of this image.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub on_build: Vec<String>,
    /// The shell of `RUN`, `CMD` and `ENTRYPOINT` in shell form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How Docker tells whether a container is well. Durations are in nanoseconds, 0 means inherited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", arg…]`, `["CMD-SHELL", command]`; empty means inherited.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub test: Vec<String>,
    /// The time between two checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// The time after which a check has failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// The time in which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// The time between two checks during the start period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// The failures in a row after which the container is unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers of an image by the digests of their uncompressed forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The layers from the bottom up.
    #[serde(default, deserialize_with = "crate::null::as_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
        }
    }
}

/// What one instruction did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// When, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What the builder says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl ImageConfig {
    /// Makes the config of an empty image.
    pub fn for_platform(platform: &Platform) -> Self {
        let platform = platform.clone().normalized();
        Self {
            architecture: platform.architecture,
            os: platform.os,
            os_features: platform.os_features,
            os_version: platform.os_version,
            variant: platform.variant,
            ..Self::default()
        }
    }

    /// Parses the JSON of a config.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Returns the bytes of the document. Equal configs give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("because the keys of all maps are strings")
    }

    /// Returns the platform that the image is for.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
        }
        .normalized()
    }

    /// Returns the config without the fields that are not known here, such as `docker_version`
    /// and `container` of old images.
    pub fn without_unknown(mut self) -> Self {
        self.other.clear();
        self.config.other.clear();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written once and for all: a changed byte changes the digest of every image.
    #[test]
    fn the_bytes_of_a_config_are_pinned() {
        let mut image = ImageConfig::for_platform(&"linux/arm/v7".parse().unwrap());
        image.author = Some("a".to_owned());
        image.created = Some("1970-01-01T00:00:00Z".to_owned());
        image.history.push(History {
            created_by: Some("RUN x".to_owned()),
            empty_layer: true,
            ..History::default()
        });
        image.config = RunConfig {
            user: "u".to_owned(),
            exposed_ports: ["80/tcp".to_owned()].into(),
            env: vec!["B=1".to_owned(), "A=2".to_owned()],
            entrypoint: Some(vec![]),
            cmd: Some(vec!["c".to_owned()]),
            volumes: ["/v".to_owned()].into(),
            working_dir: "/".to_owned(),
            labels: [("k".to_owned(), "v".to_owned())].into(),
            stop_signal: Some("9".to_owned()),
            healthcheck: Some(Healthcheck {
                test: vec!["NONE".to_owned()],
                retries: 3,
                ..Healthcheck::default()
            }),
            on_build: vec!["RUN y".to_owned()],
            shell: Some(vec!["sh".to_owned()]),
            ..RunConfig::default()
        };
        let bytes = image.encode();
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            concat!(
                r#"{"architecture":"arm","author":"a","config":{"User":"u","ExposedPorts":{"80/tcp":{}},"#,
                r#""Env":["B=1","A=2"],"Entrypoint":[],"Cmd":["c"],"Volumes":{"/v":{}},"WorkingDir":"/","#,
                r#""Labels":{"k":"v"},"StopSignal":"9","Healthcheck":{"Test":["NONE"],"Retries":3},"#,
                r#""OnBuild":["RUN y"],"Shell":["sh"]},"created":"1970-01-01T00:00:00Z","#,
                r#""history":[{"created_by":"RUN x","empty_layer":true}],"os":"linux","#,
                r#""rootfs":{"type":"layers","diff_ids":[]},"variant":"v7"}"#
            )
        );
        assert_eq!(ImageConfig::parse(&bytes).unwrap(), image);
    }

    #[test]
    fn old_docker_configs_are_read() {
        let text = r#"{"architecture":"amd64","os":"linux","docker_version":"18.06","container":"x",
            "config":{"Hostname":"","User":"","ExposedPorts":null,"Env":null,"Cmd":["sh"],
            "Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null,
            "Healthcheck":{"Test":null,"Interval":5}},
            "history":null,"rootfs":{"type":"layers","diff_ids":null}}"#;
        let image = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(image.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(image.config.entrypoint, None);
        assert_eq!(image.config.healthcheck.as_ref().unwrap().interval, 5);
        assert_eq!(image.other["docker_version"], "18.06");
        assert!(image.config.other.contains_key("Hostname"));
        let clean = image.without_unknown();
        assert_eq!(
            String::from_utf8(clean.encode()).unwrap(),
            concat!(
                r#"{"architecture":"amd64","config":{"Cmd":["sh"],"Healthcheck":{"Interval":5}},"#,
                r#""os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#
            )
        );
    }

    /// Members that are not known are kept, their numbers too.
    #[test]
    fn unknown_numbers_are_written_as_they_were_read() {
        for number in ["1111111111111111111111111111111117", "0.1", "1e300", "-7"] {
            let text = format!("{{\"@\":{number}}}");
            let config = ImageConfig::parse(text.as_bytes()).unwrap();
            let written = config.encode();
            assert_eq!(ImageConfig::parse(&written).unwrap(), config, "{number}");
        }
    }

    #[test]
    fn a_config_without_anything_is_read() {
        let image = ImageConfig::parse(b"{}").unwrap();
        assert_eq!(image, ImageConfig::default());
        assert!(ImageConfig::parse(br#"{"config":{"Env":"x"}}"#).is_err());
    }
}
