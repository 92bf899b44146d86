//! `RUN --mount`: its options, after expansion.

use std::collections::BTreeMap;

use crate::error::suggestion;

/// A mount of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is seen in the step, as it was written; empty where the kind has a default.
    pub target: String,
    /// What it is.
    pub kind: MountKind,
}

/// The kinds of mounts with their options, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    Bind {
        /// `from`.
        from: Option<String>,
        /// `source`: a path in it; its root if absent.
        source: String,
        /// Writes are possible, and thrown away.
        writable: bool,
    },
    /// A directory that stays from build to build.
    Cache {
        /// `id`; the cleaned target if absent.
        id: Option<String>,
        /// `from`: what an empty cache starts with.
        from: Option<String>,
        /// `source`: a path in it.
        source: String,
        /// `ro`.
        readonly: bool,
        /// `sharing`.
        sharing: CacheSharing,
        /// `mode` of a new directory.
        mode: u32,
        /// `uid` of a new directory.
        uid: u32,
        /// `gid` of a new directory.
        gid: u32,
    },
    /// A file system in memory.
    Tmpfs {
        /// `size` in bytes.
        size_bytes: Option<u64>,
    },
    /// A secret as a file, as a variable, or both.
    Secret {
        /// `id`; the target's last part if absent.
        id: String,
        /// `env`.
        env: Option<String>,
        /// As a file: not when only `env` is given.
        as_file: bool,
        /// `required`.
        required: bool,
        /// `mode`.
        mode: u32,
        /// `uid`.
        uid: u32,
        /// `gid`.
        gid: u32,
    },
    /// An ssh agent's socket.
    Ssh {
        /// `id`.
        id: String,
        /// `required`.
        required: bool,
        /// `mode`.
        mode: u32,
        /// `uid`.
        uid: u32,
        /// `gid`.
        gid: u32,
    },
}

/// How steps share a cache directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheSharing {
    /// All at once.
    #[default]
    Shared,
    /// Each its own.
    Private,
    /// One at a time.
    Locked,
}

const KINDS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

const CACHE_MODE: u32 = 0o755;
const SECRET_MODE: u32 = 0o400;
const SSH_MODE: u32 = 0o600;

/// Returns what a mount takes its files from, without expanding anything: `from` itself may hold no
/// variable.
pub fn mount_from(text: &str) -> Option<String> {
    fields(text)
        .ok()?
        .into_iter()
        .find(|(key, _)| key == "from")
        .and_then(|(_, value)| value)
}

impl Mount {
    /// Parses the options of a mount, variables in them expanded.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut options = Options::parse(text)?;
        options.all_known()?;
        let kind = options.take("type").unwrap_or_else(|| "bind".to_owned());
        let target = options
            .take_any(&["target", "dst", "destination"])
            .unwrap_or_default();
        let kind = match kind.to_lowercase().as_str() {
            "bind" => options.bind(&target)?,
            "cache" => options.cache(&target)?,
            "tmpfs" => options.tmpfs(&target)?,
            "secret" => options.secret(&target)?,
            "ssh" => options.ssh()?,
            other => {
                return Err(match suggestion(other, &KINDS) {
                    Some(near) => {
                        format!("unsupported mount type {other:?}: did you mean {near}?")
                    }
                    None => format!(
                        "unsupported mount type {other:?}: it is bind, cache, tmpfs, secret or ssh"
                    ),
                });
            }
        };
        options.nothing_left()?;
        if is_root(&target) {
            return Err("invalid mount target \"/\"".to_owned());
        }
        Ok(Self { target, kind })
    }
}

fn is_root(target: &str) -> bool {
    !target.is_empty()
        && target.split('/').all(|part| matches!(part, "" | "."))
        && target.starts_with('/')
}

/// Splits `key=value,flag,"quoted, value"` as CSV.
fn fields(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            char => field.push(char),
        }
    }
    if quoted {
        return Err(format!("a quote is not closed in the mount {text:?}"));
    }
    fields.push(field);
    Ok(fields
        .into_iter()
        .map(|field| match field.split_once('=') {
            Some((key, value)) => (key.trim().to_lowercase(), Some(value.to_owned())),
            None => (field.trim().to_lowercase(), None),
        })
        .collect())
}

struct Options(BTreeMap<String, Option<String>>);

impl Options {
    fn parse(text: &str) -> Result<Self, String> {
        let mut options = BTreeMap::new();
        for (key, value) in fields(text)? {
            if value.is_none()
                && !["ro", "readonly", "rw", "readwrite", "required"].contains(&key.as_str())
            {
                return Err(format!(
                    "invalid field {key:?}: it must be a key=value pair"
                ));
            }
            if options.insert(key.clone(), value).is_some() {
                return Err(format!("the mount option {key:?} is given twice"));
            }
        }
        Ok(Self(options))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key).flatten()
    }

    fn take_any(&mut self, keys: &[&str]) -> Option<String> {
        keys.iter().filter_map(|key| self.take(key)).last()
    }

    fn flag(&mut self, keys: &[&str]) -> Result<Option<bool>, String> {
        let mut found = None;
        for key in keys {
            match self.0.remove(*key) {
                None => {}
                Some(None) => found = Some(true),
                Some(Some(value)) => match value.to_lowercase().as_str() {
                    "true" | "1" => found = Some(true),
                    "false" | "0" => found = Some(false),
                    _ => {
                        return Err(format!(
                            "invalid value for {key}: {value}: it is true or false"
                        ));
                    }
                },
            }
        }
        Ok(found)
    }

    fn number(&mut self, key: &str, default: u32, radix: u32) -> Result<u32, String> {
        match self.take(key) {
            None => Ok(default),
            Some(text) => u32::from_str_radix(&text, radix)
                .map_err(|_| format!("invalid value for {key}: {text}")),
        }
    }

    fn writable(&mut self, default: bool) -> Result<bool, String> {
        let readonly = self.flag(&["ro", "readonly"])?;
        let writable = self.flag(&["rw", "readwrite"])?;
        Ok(writable
            .or(readonly.map(|readonly| !readonly))
            .unwrap_or(default))
    }

    fn needs_target(target: &str) -> Result<(), String> {
        if target.is_empty() {
            Err("target is required".to_owned())
        } else {
            Ok(())
        }
    }

    fn bind(&mut self, target: &str) -> Result<MountKind, String> {
        Self::needs_target(target)?;
        Ok(MountKind::Bind {
            from: self.take("from"),
            source: self.take_any(&["source", "src"]).unwrap_or_default(),
            writable: self.writable(false)?,
        })
    }

    fn cache(&mut self, target: &str) -> Result<MountKind, String> {
        Self::needs_target(target)?;
        let sharing = match self.take("sharing").as_deref() {
            None | Some("shared") => CacheSharing::Shared,
            Some("private") => CacheSharing::Private,
            Some("locked") => CacheSharing::Locked,
            Some(other) => {
                return Err(format!(
                    "unsupported sharing value {other:?}: it is shared, private or locked"
                ));
            }
        };
        let from = self.take("from");
        let source = self.take_any(&["source", "src"]).unwrap_or_default();
        if from.is_none() && !source.split('/').all(|part| matches!(part, "" | ".")) {
            return Err(format!(
                "source={source} needs from=: it is what a new cache starts as"
            ));
        }
        Ok(MountKind::Cache {
            id: self.take("id"),
            from,
            source,
            readonly: !self.writable(true)?,
            sharing,
            mode: self.number("mode", CACHE_MODE, 8)?,
            uid: self.number("uid", 0, 10)?,
            gid: self.number("gid", 0, 10)?,
        })
    }

    fn tmpfs(&mut self, target: &str) -> Result<MountKind, String> {
        Self::needs_target(target)?;
        let size_bytes = self.take("size").map(|text| size(&text)).transpose()?;
        Ok(MountKind::Tmpfs { size_bytes })
    }

    fn secret(&mut self, target: &str) -> Result<MountKind, String> {
        let own_id = self.take("id");
        let source = self.take_any(&["source", "src"]);
        if own_id.is_some() && source.is_some() {
            return Err("id and source can not both be given for a secret mount".to_owned());
        }
        let named = own_id.or(source);
        let base = target.rsplit('/').next().unwrap_or_default().to_owned();
        let id = named.filter(|id| !id.is_empty()).unwrap_or(base);
        if id.is_empty() {
            return Err("invalid secret mount: it needs an id or a target".to_owned());
        }
        let env = self.take("env");
        Ok(MountKind::Secret {
            as_file: env.is_none() || !target.is_empty(),
            id,
            env,
            required: self.flag(&["required"])?.unwrap_or(false),
            mode: self.number("mode", SECRET_MODE, 8)?,
            uid: self.number("uid", 0, 10)?,
            gid: self.number("gid", 0, 10)?,
        })
    }

    fn ssh(&mut self) -> Result<MountKind, String> {
        Ok(MountKind::Ssh {
            id: self.take("id").unwrap_or_else(|| "default".to_owned()),
            required: self.flag(&["required"])?.unwrap_or(false),
            mode: self.number("mode", SSH_MODE, 8)?,
            uid: self.number("uid", 0, 10)?,
            gid: self.number("gid", 0, 10)?,
        })
    }

    /// Refuses keys that no mount has.
    fn all_known(&self) -> Result<(), String> {
        let unknown = self.0.keys().find(|key| !KEYS.contains(&key.as_str()));
        match unknown {
            None => Ok(()),
            Some(key) => Err(match suggestion(key, &KEYS) {
                Some(near) => format!("unexpected key '{key}': did you mean {near}?"),
                None => format!("unexpected key '{key}': known keys are {}", KEYS.join(", ")),
            }),
        }
    }

    fn nothing_left(&self) -> Result<(), String> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(key) => Err(format!("unexpected key '{key}' for this type of mount")),
        }
    }
}

/// Parses a size in bytes with a unit such as `64m`, powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let lower = text.to_lowercase();
    let digits = lower
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let shift = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("invalid value for size: {text}")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("invalid value for size: {text}"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("invalid value for size: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_parse_with_their_defaults() {
        let bind = Mount::parse("target=/x,from=a,source=/s,rw").unwrap();
        assert_eq!(
            bind.kind,
            MountKind::Bind {
                from: Some("a".into()),
                source: "/s".into(),
                writable: true
            }
        );
        let cache = Mount::parse("type=cache,dst=/c,sharing=locked,mode=0700,ro").unwrap();
        assert!(matches!(
            cache.kind,
            MountKind::Cache {
                sharing: CacheSharing::Locked,
                mode: 0o700,
                readonly: true,
                ..
            }
        ));
        let secret = Mount::parse("type=secret,target=/run/x/token").unwrap();
        assert!(
            matches!(secret.kind, MountKind::Secret { id, as_file: true, mode: 0o400, .. } if id == "token")
        );
        let env = Mount::parse("type=secret,id=t,env=T,required").unwrap();
        assert!(matches!(
            env.kind,
            MountKind::Secret {
                as_file: false,
                required: true,
                ..
            }
        ));
        let tmpfs = Mount::parse("type=tmpfs,target=/t,size=64m").unwrap();
        assert_eq!(
            tmpfs.kind,
            MountKind::Tmpfs {
                size_bytes: Some(64 << 20)
            }
        );
        assert_eq!(Mount::parse("\"target=/a,b\"").unwrap().target, "/a,b");
        assert_eq!(
            mount_from("type=bind,from=x,target=/y").as_deref(),
            Some("x")
        );
    }

    #[test]
    fn misspelt_mounts_say_what_was_meant() {
        for (wrong, meant) in [
            ("typ=tmpfs", "did you mean type?"),
            ("type=tmp,target=/x", "did you mean tmpfs?"),
            ("type=cache,targt=/x", "did you mean target?"),
            ("type=secret,identity=x", "known keys are type, from"),
        ] {
            let message = Mount::parse(wrong).unwrap_err();
            assert!(message.contains(meant), "{wrong}: {message}");
        }
    }

    #[test]
    fn wrong_mounts_say_why() {
        for wrong in [
            "type=foo,target=/x",
            "type=bind",
            "target=/",
            "target=/x,nonsense",
            "target=/x,size=3",
            "type=cache,target=/x,sharing=no",
            "type=cache,target=/x,source=/y",
            "type=secret",
            "type=secret,id=a,src=b",
            "type=secret,id=a,from=b",
            "type=tmpfs,target=/x,size=1q",
            "target=/x,ro=perhaps",
            "target=/x,target=/y",
            "\"target=/x",
        ] {
            assert!(Mount::parse(wrong).is_err(), "{wrong}");
        }
    }
}
