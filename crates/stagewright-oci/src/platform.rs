//! Platforms: which machine an image is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An operating system and processor, in Go's names as the image specification asks for.
///
/// Parsing normalises as Docker does: `x86_64` is `amd64`, `aarch64` and `arm64/v8` are `arm64`,
/// `armhf` is `arm/v7`. Values that come from a document stand as they were written until
/// [`normalized`](Self::normalized).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, such as `amd64`.
    pub architecture: String,
    /// The operating system, such as `linux`.
    pub os: String,
    /// The version of the operating system, which only Windows images give.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Features of the operating system that the image needs, which only Windows images give.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The variant of the processor, such as `v7` of `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not a platform: {reason}; write it as os/architecture or os/architecture/variant, such as linux/arm64"
)]
pub struct InvalidPlatform {
    /// The text that was parsed.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Platform {
    /// Makes a platform from normalised parts.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            os_version: None,
            os_features: Vec::new(),
            variant: variant.map(str::to_owned),
        }
        .normalized()
    }

    /// Returns the platform that this program was compiled for, as a container sees it.
    pub fn host() -> Self {
        let os = if cfg!(target_os = "macos") {
            // Containers on a Mac are Linux containers.
            "linux"
        } else {
            std::env::consts::OS
        };
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "powerpc64" => ("ppc64", None),
            "loongarch64" => ("loong64", None),
            "mips64" if cfg!(target_endian = "little") => ("mips64le", None),
            other => (other, None),
        };
        Self::new(os, architecture, variant)
    }

    /// Returns the platform with Docker's names for everything that has several.
    pub fn normalized(mut self) -> Self {
        self.os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let architecture = self.architecture.to_ascii_lowercase();
        let variant = self
            .variant
            .take()
            .map(|variant| variant.to_ascii_lowercase())
            .filter(|variant| !variant.is_empty());
        let (architecture, variant) = normalize_processor(&architecture, variant.as_deref());
        self.architecture = architecture.to_owned();
        self.variant = variant;
        self.os_version = self.os_version.filter(|version| !version.is_empty());
        self
    }

    /// Returns whether an image for `image` is exactly of this platform.
    ///
    /// The version of the operating system is compared only where this platform asks for one.
    pub fn matches(&self, image: &Self) -> bool {
        let wanted = self.clone().normalized();
        let image = image.clone().normalized();
        wanted.os == image.os
            && wanted.architecture == image.architecture
            && wanted.variant == image.variant
            && (wanted.os_version.is_none() || wanted.os_version == image.os_version)
    }

    /// Returns the platforms whose images run here, the best first.
    ///
    /// An `arm/v7` runs `arm/v6` and `arm/v5`, an `arm64` runs 32-bit `arm` and an `amd64` runs
    /// `386`, as containerd decides.
    pub fn candidates(&self) -> Vec<Self> {
        let wanted = self.clone().normalized();
        let with = |architecture: &str, variant: Option<String>| Self {
            architecture: architecture.to_owned(),
            variant,
            ..wanted.clone()
        };
        let mut all = vec![wanted.clone()];
        match (wanted.architecture.as_str(), wanted.variant.as_deref()) {
            ("amd64", variant) => {
                for lower in lower_versions(variant.unwrap_or("v1"), 2) {
                    all.push(with("amd64", Some(lower)));
                }
                if variant.is_some() {
                    all.push(with("amd64", None));
                }
                all.push(with("386", None));
            }
            ("arm", variant) => {
                for lower in lower_versions(variant.unwrap_or("v7"), 5) {
                    all.push(with("arm", Some(lower)));
                }
            }
            ("arm64", variant) => {
                if variant.is_some() {
                    all.push(with("arm64", None));
                }
                for version in ["v8", "v7", "v6", "v5"] {
                    all.push(with("arm", Some(version.to_owned())));
                }
            }
            _ => {}
        }
        all
    }

    /// Returns the position of the best of several platforms for this one, or nothing.
    ///
    /// Of equals the first wins, as in every other client.
    pub fn select<'a>(
        &self,
        offered: impl IntoIterator<Item = Option<&'a Platform>>,
    ) -> Option<usize> {
        let offered: Vec<_> = offered.into_iter().collect();
        self.candidates().iter().find_map(|candidate| {
            offered
                .iter()
                .position(|platform| platform.is_some_and(|platform| candidate.matches(platform)))
        })
    }
}

/// Lists the variants below `variant` down to `lowest`, such as v6 and v5 below v7.
fn lower_versions(variant: &str, lowest: u32) -> Vec<String> {
    let version = variant
        .strip_prefix('v')
        .and_then(|digits| digits.parse::<u32>().ok())
        .unwrap_or(0);
    (lowest..version)
        .rev()
        .map(|lower| format!("v{lower}"))
        .collect()
}

fn normalize_processor<'a>(
    architecture: &'a str,
    variant: Option<&str>,
) -> (&'a str, Option<String>) {
    let own = variant.map(str::to_owned);
    match architecture {
        "i386" | "x86" => ("386", None),
        "x86_64" | "x86-64" | "amd64" => ("amd64", own.filter(|variant| variant != "v1")),
        "aarch64" | "arm64" => (
            "arm64",
            own.map(|variant| {
                if variant == "8" {
                    "v8".to_owned()
                } else {
                    variant
                }
            })
            .filter(|variant| variant != "v8"),
        ),
        "armhf" => ("arm", Some("v7".to_owned())),
        "armel" => ("arm", Some("v6".to_owned())),
        "arm" => (
            "arm",
            Some(match variant {
                None | Some("7") => "v7".to_owned(),
                Some(digit @ ("5" | "6" | "8")) => format!("v{digit}"),
                Some(other) => other.to_owned(),
            }),
        ),
        other => (other, own),
    }
}

/// Operating systems that one word may name; every other single word is a processor.
const KNOWN_OS: [&str; 12] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "linux",
    "macos",
    "netbsd",
    "openbsd",
    "solaris",
    "windows",
];

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |reason| InvalidPlatform {
            text: text.to_owned(),
            reason,
        };
        let mut parts = text.split('/');
        let first = parts.next().unwrap_or_default();
        let (second, third) = (parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(invalid("it has more than three parts"));
        }
        let (os, os_version) = match first.split_once('(') {
            None => (first, None),
            Some((os, rest)) => {
                let version = rest
                    .strip_suffix(')')
                    .ok_or_else(|| invalid("the version in parentheses does not end"))?;
                (os, Some(version.to_owned()))
            }
        };
        for part in [Some(os), second, third].into_iter().flatten() {
            if part.is_empty() {
                return Err(invalid("a part is empty"));
            }
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            if !part.bytes().all(allowed) {
                return Err(invalid(
                    "a part has a character other than letters, digits, _ - .",
                ));
            }
        }
        let host = Self::host();
        let (os, architecture, variant) = match (second, third) {
            (Some(architecture), variant) => (os, architecture, variant),
            (None, _) if KNOWN_OS.contains(&os.to_ascii_lowercase().as_str()) => {
                (os, host.architecture.as_str(), host.variant.as_deref())
            }
            (None, _) => (host.os.as_str(), os, None),
        };
        Ok(Self {
            os_version,
            ..Self::new(os, architecture, variant)
        })
    }
}

impl fmt::Display for Platform {
    /// Writes `os/architecture[/variant]`, which parses back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if let Some(version) = &self.os_version {
            write!(f, "({version})")?;
        }
        write!(f, "/{}", self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        text.parse::<Platform>().map_or_else(
            |error| error.reason.to_owned(),
            |platform| platform.to_string(),
        )
    }

    #[test]
    fn names_are_dockers() {
        let host = Platform::host();
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/X86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
            ("linux", &format!("linux/{}", host.architecture)),
            ("riscv64", &format!("{}/riscv64", host.os)),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
        for bad in [
            "",
            "/",
            "linux/",
            "linux/amd64/v1/x",
            "linux/am d64",
            "linux(1/amd64",
            "a,b",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_best_offer_is_taken() {
        for (wanted, offered, expected) in [
            ("linux/amd64", &["linux/arm64", "linux/amd64"][..], Some(1)),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"], Some(1)),
            ("linux/arm64", &["linux/arm/v7", "linux/arm64/v8"], Some(1)),
            ("linux/arm64", &["linux/arm/v7"], Some(0)),
            ("linux/amd64", &["linux/amd64/v3", "linux/386"], Some(1)),
            (
                "linux/amd64/v3",
                &["linux/amd64", "linux/amd64/v2"],
                Some(1),
            ),
            ("linux/amd64", &["windows/amd64", "linux/arm64"], None),
            ("linux/amd64", &[], None),
        ] {
            let wanted: Platform = wanted.parse().unwrap();
            let offered: Vec<Platform> = offered.iter().map(|text| text.parse().unwrap()).collect();
            let found = wanted.select(offered.iter().map(Some));
            assert_eq!(found, expected, "{wanted} of {offered:?}");
        }
    }

    #[test]
    fn an_entry_without_platform_is_never_taken() {
        assert_eq!(Platform::host().select([None]), None);
    }

    #[test]
    fn documents_are_written_in_dockers_order() {
        let platform: Platform = "linux/arm/v7".parse().unwrap();
        assert_eq!(
            serde_json::to_string(&platform).unwrap(),
            r#"{"architecture":"arm","os":"linux","variant":"v7"}"#
        );
    }
}
