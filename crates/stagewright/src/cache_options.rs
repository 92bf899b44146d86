//! Caches as they are written in one line: `type=registry,ref=…,mode=max`.

use std::path::PathBuf;
use std::str::FromStr;

use crate::cache_transfer::{CacheFrom, CacheMode, CachePlace, CacheTo};
use crate::csv::csv_fields;
use crate::error::{Error, ErrorKind};
use crate::export::Compression;
use crate::image::parse_name;

/// Where caches of BuildKit go that need the service of a vendor.
const SERVICES: [&str; 3] = ["gha", "s3", "azblob"];

impl CacheFrom {
    /// Reads what `--cache-from` takes: `type=registry,ref=REF`, `type=local,src=FOLDER`, or
    /// references alone.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for an option that is not known, [`ErrorKind::Unsupported`] for a type
    /// of BuildKit's that is not supported.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Error> {
        let fields = csv_fields(text).map_err(|message| fail(&message))?;
        if fields.iter().all(|field| !field.contains('=')) {
            return fields.iter().map(|name| registry(name)).collect();
        }
        Self::of_fields(Fields::read(&fields)?).map(|from| vec![from])
    }

    fn of_fields(mut fields: Fields) -> Result<Self, Error> {
        let from = match fields.kind()?.as_str() {
            "registry" => Self::Registry {
                reference: fields.required("registry", "ref")?,
                insecure: fields.insecure()?,
            },
            "local" => {
                let path = PathBuf::from(fields.required("local", "src")?);
                let (tag, digest) = (fields.take("tag"), fields.take("digest"));
                if tag.is_some() && digest.is_some() {
                    return Err(fail("a cache has a tag or a digest, not both"));
                }
                Self::Local {
                    path,
                    name: digest.or(tag),
                }
            }
            "inline" => {
                return Err(fail(
                    "an inline cache is read from its image: write type=registry,ref=REF",
                ));
            }
            other => return Err(unknown(other, "registry and local")),
        };
        fields.end()?;
        if let Self::Registry { reference, .. } = &from {
            parse_reference(reference)?;
        }
        Ok(from)
    }
}

impl FromStr for CacheTo {
    type Err = Error;

    /// Reads what `--cache-to` takes: `type=inline`, `type=registry,ref=REF[,mode=max]`,
    /// `type=local,dest=FOLDER[,mode=max]`, or a reference alone.
    fn from_str(text: &str) -> Result<Self, Error> {
        let fields = csv_fields(text).map_err(|message| fail(&message))?;
        if let [name] = &fields[..]
            && !name.contains('=')
        {
            parse_name(name)?;
            return Ok(Self::min(CachePlace::Registry {
                reference: name.clone(),
                insecure: false,
            }));
        }
        let mut fields = Fields::read(&fields)?;
        let place = match fields.kind()?.as_str() {
            "inline" => CachePlace::Inline,
            "registry" => {
                let reference = fields.required("registry", "ref")?;
                parse_name(&reference)?;
                CachePlace::Registry {
                    reference,
                    insecure: fields.insecure()?,
                }
            }
            "local" => CachePlace::Local {
                path: PathBuf::from(fields.required("local", "dest")?),
                tag: fields.take("tag"),
            },
            other => return Err(unknown(other, "inline, registry and local")),
        };
        let mut to = Self::min(place);
        if to.place != CachePlace::Inline {
            to.read_form(&mut fields)?;
        }
        to.ignore_error = fields.boolean("ignore-error")?.unwrap_or(false);
        fields.end()?;
        Ok(to)
    }
}

impl CacheTo {
    fn min(place: CachePlace) -> Self {
        Self {
            place,
            mode: CacheMode::Min,
            compression: Compression::Gzip,
            compression_level: None,
            ignore_error: false,
        }
    }

    /// Reads what makes no difference to an inline cache, whose form is that of its image.
    fn read_form(&mut self, fields: &mut Fields) -> Result<(), Error> {
        self.mode = match fields.take("mode").as_deref() {
            None | Some("min") => CacheMode::Min,
            Some("max") => CacheMode::Max,
            Some(other) => return Err(fail(&format!("mode is min or max, not {other:?}"))),
        };
        self.compression = match fields.take("compression").as_deref() {
            None | Some("gzip") => Compression::Gzip,
            Some("zstd") => Compression::Zstd,
            Some("uncompressed") => Compression::Uncompressed,
            Some("estargz") => Compression::Estargz,
            Some(other) => {
                let message =
                    format!("compression is uncompressed, gzip, zstd or estargz, not {other:?}");
                return Err(fail(&message));
            }
        };
        if let Some(level) = fields.take("compression-level") {
            let wrong = |_| fail(&format!("compression-level is a number, not {level:?}"));
            self.compression_level = Some(level.parse().map_err(wrong)?);
        }
        // All layers of a cache are made by builds: they are compressed as it is said in any case.
        fields.boolean("force-compression")?;
        for key in ["oci-mediatypes", "image-manifest"] {
            if fields.boolean(key)? == Some(false) {
                let message = format!(
                    "{key}=false is not supported: a cache is always an OCI image manifest"
                );
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
        Ok(())
    }
}

/// The fields that are not read yet.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn read(fields: &[String]) -> Result<Self, Error> {
        let mut read: Vec<(String, String)> = Vec::new();
        for field in fields {
            let Some((key, value)) = field.split_once('=') else {
                return Err(fail(&format!("{field:?} has no `=`; write type=TYPE,…")));
            };
            let key = key.trim().to_ascii_lowercase();
            if read.iter().any(|(known, _)| *known == key) {
                return Err(fail(&format!("{key} is given twice")));
            }
            read.push((key, value.trim().to_owned()));
        }
        Ok(Self(read))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(place).1)
    }

    fn kind(&mut self) -> Result<String, Error> {
        self.take("type")
            .ok_or_else(|| fail("the cache has no type="))
    }

    fn required(&mut self, kind: &str, key: &str) -> Result<String, Error> {
        self.take(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| fail(&format!("type={kind} needs {key}=")))
    }

    fn boolean(&mut self, key: &str) -> Result<Option<bool>, Error> {
        match self.take(key).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(fail(&format!("{key} is true or false, not {other:?}"))),
        }
    }

    fn insecure(&mut self) -> Result<bool, Error> {
        let given = [
            self.boolean("registry.insecure")?,
            self.boolean("insecure")?,
        ];
        Ok(given.contains(&Some(true)))
    }

    /// Refuses what nobody has read.
    fn end(self) -> Result<(), Error> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(fail(&format!(
                "the option `{key}` is none of this type of cache"
            ))),
        }
    }
}

fn registry(name: &str) -> Result<CacheFrom, Error> {
    parse_reference(name)?;
    Ok(CacheFrom::Registry {
        reference: name.to_owned(),
        insecure: false,
    })
}

fn parse_reference(text: &str) -> Result<(), Error> {
    text.parse::<stagewright_oci::Reference>()
        .map(drop)
        .map_err(|error| fail(&error.to_string()))
}

fn unknown(kind: &str, known: &str) -> Error {
    if SERVICES.contains(&kind) {
        let message =
            format!("a cache of type={kind} is not supported: use type=registry or type=local");
        return Error::new(ErrorKind::Unsupported, message);
    }
    fail(&format!(
        "there is no cache of type {kind:?}; the types are {known}"
    ))
}

fn fail(message: &str) -> Error {
    Error::new(ErrorKind::Request, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(reference: &str, insecure: bool) -> CachePlace {
        CachePlace::Registry {
            reference: reference.to_owned(),
            insecure,
        }
    }

    #[test]
    fn what_is_exported_is_read_as_buildx_reads_it() {
        let local = |tag: Option<&str>| CachePlace::Local {
            path: "d".into(),
            tag: tag.map(str::to_owned),
        };
        for (text, expected) in [
            ("type=inline", CacheTo::min(CachePlace::Inline)),
            ("h/app:c", CacheTo::min(place("h/app:c", false))),
            (
                "type=registry,ref=h/app:c,mode=max,image-manifest=true,oci-mediatypes=true",
                CacheTo {
                    mode: CacheMode::Max,
                    ..CacheTo::min(place("h/app:c", false))
                },
            ),
            (
                "type=registry,ref=h/app,registry.insecure=true,ignore-error=true",
                CacheTo {
                    ignore_error: true,
                    ..CacheTo::min(place("h/app", true))
                },
            ),
            ("type=local,dest=d,mode=min", CacheTo::min(local(None))),
            (
                "type=local,dest=d,tag=t,compression=zstd,compression-level=9,force-compression=true",
                CacheTo {
                    compression: Compression::Zstd,
                    compression_level: Some(9),
                    ..CacheTo::min(local(Some("t")))
                },
            ),
        ] {
            assert_eq!(text.parse::<CacheTo>().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_imported_is_read_as_buildx_reads_it() {
        let registry = |reference: &str| CacheFrom::Registry {
            reference: reference.to_owned(),
            insecure: false,
        };
        let local = |name: Option<&str>| CacheFrom::Local {
            path: "d".into(),
            name: name.map(str::to_owned),
        };
        for (text, expected) in [
            ("app:c", vec![registry("app:c")]),
            ("app:c,h/b", vec![registry("app:c"), registry("h/b")]),
            ("type=registry,ref=app:c", vec![registry("app:c")]),
            ("type=local,src=d", vec![local(None)]),
            ("type=local,src=d,tag=t", vec![local(Some("t"))]),
            ("type=local,src=d,digest=x", vec![local(Some("x"))]),
        ] {
            assert_eq!(CacheFrom::parse_all(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_can_not_be_done_is_said() {
        for (text, expected) in [
            (
                "type=gha",
                "a cache of type=gha is not supported: use type=registry or type=local",
            ),
            ("type=s3,bucket=b", "a cache of type=s3 is not supported"),
            (
                "type=azblob,name=b",
                "a cache of type=azblob is not supported",
            ),
            (
                "type=ftp",
                "there is no cache of type \"ftp\"; the types are inline, registry and local",
            ),
            ("mode=max", "the cache has no type="),
            ("type=registry", "type=registry needs ref="),
            ("type=registry,ref=UPPER", "UPPER"),
            ("type=local,src=d", "type=local needs dest="),
            (
                "type=local,dest=d,mode=all",
                "mode is min or max, not \"all\"",
            ),
            (
                "type=local,dest=d,frob=1",
                "the option `frob` is none of this type of cache",
            ),
            (
                "type=inline,mode=max",
                "the option `mode` is none of this type of cache",
            ),
            ("type=local,dest=d,dest=e", "dest is given twice"),
            (
                "type=local,dest=d,compression=bzip2",
                "compression is uncompressed, gzip, zstd or estargz",
            ),
            (
                "type=local,dest=d,image-manifest=false",
                "image-manifest=false is not supported",
            ),
            (
                "type=registry,ref=a,ignore-error=x",
                "ignore-error is true or false",
            ),
        ] {
            let message = text.parse::<CacheTo>().unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        for (text, expected) in [
            ("type=gha", "a cache of type=gha is not supported"),
            ("type=inline", "an inline cache is read from its image"),
            (
                "type=local,src=d,tag=t,digest=d",
                "a tag or a digest, not both",
            ),
            ("a b", "a b"),
        ] {
            let message = CacheFrom::parse_all(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
