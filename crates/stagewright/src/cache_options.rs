//! Caches as they are written in one line: `type=registry,ref=…,mode=max`.

mod services;

use std::path::PathBuf;
use std::str::FromStr;

use self::services::service;
use crate::cache_transfer::{CacheFrom, CacheMode, CacheOrigin, CachePlace, CacheTo};
use crate::csv::csv_fields;
use crate::error::{Error, ErrorKind};
use crate::export::Compression;
use crate::image::parse_name;

/// The types that caches have in any direction.
const TYPES: &str = "registry, local, s3, azblob and gha";

impl CacheFrom {
    /// Reads what `--cache-from` takes: `type=registry,ref=REF[,mounts=true]`, `type=local,src=FOLDER`, `type=s3`,
    /// `type=azblob` and `type=gha` with the options that BuildKit gives them, or references alone.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for a type or an option that is not known.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Error> {
        let fields = csv_fields(text).map_err(|message| fail(&message))?;
        if fields.iter().all(|field| !field.contains('=')) {
            return fields.iter().map(|name| registry(name)).collect();
        }
        Self::of_fields(Fields::read(&fields)?).map(|from| vec![from])
    }

    fn of_fields(mut fields: Fields) -> Result<Self, Error> {
        let origin = match fields.kind()?.as_str() {
            "registry" => CacheOrigin::Registry {
                reference: fields.required("registry", "ref")?,
                insecure: fields.insecure()?,
            },
            "local" => {
                let path = PathBuf::from(fields.required("local", "src")?);
                let (tag, digest) = (fields.take("tag"), fields.take("digest"));
                if tag.is_some() && digest.is_some() {
                    return Err(fail("a cache has a tag or a digest, not both"));
                }
                CacheOrigin::Local {
                    path,
                    name: digest.or(tag),
                }
            }
            "inline" => {
                return Err(fail(
                    "an inline cache is read from its image: write type=registry,ref=REF",
                ));
            }
            other => match service(other, &mut fields)? {
                Some(place) => CacheOrigin::Service(Box::new(place)),
                None => return Err(unknown(other, TYPES)),
            },
        };
        let mounts = fields.boolean("mounts")?.unwrap_or(false);
        fields.end()?;
        if let CacheOrigin::Registry { reference, .. } = &origin {
            parse_reference(reference)?;
        }
        Ok(Self { origin, mounts })
    }
}

impl FromStr for CacheTo {
    type Err = Error;

    /// Reads what `--cache-to` takes: `type=inline`, `type=registry,ref=REF[,mode=max][,mounts=true]`,
    /// `type=local,dest=FOLDER[,mode=max][,mounts=true]`, `type=s3`, `type=azblob` and `type=gha` with the options that
    /// BuildKit gives them, or a reference alone.
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
            other => match service(other, &mut fields)? {
                Some(place) => CachePlace::Service(Box::new(place)),
                None => return Err(unknown(other, &format!("inline, {TYPES}"))),
            },
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
            mounts: false,
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
        self.mounts = fields.boolean("mounts")?.unwrap_or(false);
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
    Ok(CacheFrom {
        origin: CacheOrigin::Registry {
            reference: name.to_owned(),
            insecure: false,
        },
        mounts: false,
    })
}

fn parse_reference(text: &str) -> Result<(), Error> {
    text.parse::<stagewright_oci::Reference>()
        .map(drop)
        .map_err(|error| fail(&error.to_string()))
}

fn unknown(kind: &str, known: &str) -> Error {
    fail(&format!(
        "there is no cache of type {kind:?}; the types are {known}"
    ))
}

fn fail(message: &str) -> Error {
    Error::new(ErrorKind::Request, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stagewright_fetch::{ActionsPlace, AzurePlace, Hidden, S3Place, ServicePlace};

    use super::*;

    fn place(reference: &str, insecure: bool) -> CachePlace {
        CachePlace::Registry {
            reference: reference.to_owned(),
            insecure,
        }
    }

    fn imported(origin: CacheOrigin) -> CacheFrom {
        CacheFrom {
            origin,
            mounts: false,
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
                "type=local,dest=d,mounts=true",
                CacheTo {
                    mounts: true,
                    ..CacheTo::min(local(None))
                },
            ),
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
    fn services_are_read_as_buildx_reads_them() {
        let text = |text: &str| Some(text.to_owned());
        let s3 = S3Place {
            bucket: text("b"),
            region: text("r"),
            endpoint_url: text("http://h:1"),
            use_path_style: true,
            prefix: "p/".to_owned(),
            blobs_prefix: text("x/"),
            manifests_prefix: text("y/"),
            names: vec!["one".to_owned(), "two".to_owned()],
            access_key_id: text("id"),
            secret_access_key: Some(Hidden("hush1=".to_owned())),
            session_token: Some(Hidden("hush2".to_owned())),
            touch_refresh: Some(Duration::from_secs(7200)),
            upload_parallelism: Some(2),
            retry_max_attempts: Some(3),
        };
        let azure = AzurePlace {
            account_url: Some(Hidden("https://h/?sig=hush".to_owned())),
            account_name: text("me"),
            container: text("c"),
            prefix: text("p"),
            blobs_prefix: text("x"),
            manifests_prefix: text("y"),
            names: vec!["one".to_owned()],
            secret_access_key: Some(Hidden("hush".to_owned())),
        };
        let actions = ActionsPlace {
            scope: text("main"),
            url: text("http://one"),
            url_v2: text("http://two"),
            token: Some(Hidden("hush".to_owned())),
            version: Some(1),
            timeout: Some(Duration::from_secs(5400)),
        };
        for (options, expected) in [
            (
                "type=s3,bucket=b,region=r,endpoint_url=http://h:1,use_path_style=true,prefix=p/,blobs_prefix=x/,manifests_prefix=y/,name=one;two,access_key_id=id,secret_access_key=hush1=,session_token=hush2,touch_refresh=2h,upload_parallelism=2,retry_max_attempts=3",
                ServicePlace::S3(s3),
            ),
            ("type=s3", ServicePlace::S3(S3Place::default())),
            (
                "type=azblob,account_url=https://h/?sig=hush,account_name=me,container=c,prefix=p,blobs_prefix=x,manifests_prefix=y,name=one,secret_access_key=hush",
                ServicePlace::Azure(azure),
            ),
            (
                "type=gha,scope=main,url=http://one,url_v2=http://two,token=hush,version=1,timeout=1h30m",
                ServicePlace::Actions(actions),
            ),
        ] {
            let from = CacheFrom::parse_all(options).unwrap();
            assert_eq!(
                from,
                [imported(CacheOrigin::Service(Box::new(expected.clone())))],
                "{options}"
            );
            let to = CacheTo {
                mode: CacheMode::Max,
                ..CacheTo::min(CachePlace::Service(Box::new(expected)))
            };
            let options = format!("{options},mode=max");
            assert_eq!(options.parse::<CacheTo>().unwrap(), to, "{options}");
            assert!(!format!("{to:?}").contains("hush"), "{to:?}");
        }
    }

    #[test]
    fn what_is_imported_is_read_as_buildx_reads_it() {
        let registry = |reference: &str| {
            imported(CacheOrigin::Registry {
                reference: reference.to_owned(),
                insecure: false,
            })
        };
        let local = |name: Option<&str>| {
            imported(CacheOrigin::Local {
                path: "d".into(),
                name: name.map(str::to_owned),
            })
        };
        let with_mounts = CacheFrom {
            mounts: true,
            ..local(None)
        };
        for (text, expected) in [
            ("app:c", vec![registry("app:c")]),
            ("app:c,h/b", vec![registry("app:c"), registry("h/b")]),
            ("type=registry,ref=app:c", vec![registry("app:c")]),
            ("type=local,src=d", vec![local(None)]),
            ("type=local,src=d,mounts=true", vec![with_mounts]),
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
                "type=ftp",
                "there is no cache of type \"ftp\"; the types are inline, registry, local, s3, azblob and gha",
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
            (
                "type=inline,mounts=true",
                "the option `mounts` is none of this type of cache",
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
                "type=s3,retry_mode=adaptive",
                "the option `retry_mode` is none of this type of cache",
            ),
            (
                "type=s3,upload_parallelism=0",
                "upload_parallelism is a number from 1 on, not \"0\"",
            ),
            (
                "type=gha,timeout=1d",
                "timeout is a time such as 24h or 1h30m, not \"1d\"",
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
            (
                "type=ftp",
                "there is no cache of type \"ftp\"; the types are registry, local, s3, azblob and gha",
            ),
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
