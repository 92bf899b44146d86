//! Caches in services: `type=s3`, `type=azblob` and `type=gha` with the options that BuildKit gives them.

use std::time::Duration;

use stagewright_fetch::{ActionsPlace, AzurePlace, Hidden, S3Place, ServicePlace};

use super::{Fields, fail};
use crate::duration::parse_duration;
use crate::error::Error;

/// Reads the options of a service, if the type is one.
pub(super) fn service(kind: &str, fields: &mut Fields) -> Result<Option<ServicePlace>, Error> {
    Ok(Some(match kind {
        "s3" => ServicePlace::S3(s3(fields)?),
        "azblob" => ServicePlace::Azure(azure(fields)),
        "gha" => ServicePlace::Actions(actions(fields)?),
        _ => return Ok(None),
    }))
}

fn s3(fields: &mut Fields) -> Result<S3Place, Error> {
    Ok(S3Place {
        bucket: fields.take("bucket"),
        region: fields.take("region"),
        endpoint_url: fields.take("endpoint_url"),
        use_path_style: fields.boolean("use_path_style")?.unwrap_or(false),
        prefix: fields.take("prefix").unwrap_or_default(),
        blobs_prefix: fields.take("blobs_prefix"),
        manifests_prefix: fields.take("manifests_prefix"),
        names: names(fields),
        access_key_id: fields.take("access_key_id"),
        secret_access_key: hidden(fields, "secret_access_key"),
        session_token: hidden(fields, "session_token"),
        touch_refresh: duration(fields, "touch_refresh")?,
        upload_parallelism: number(fields, "upload_parallelism")?,
        retry_max_attempts: number(fields, "retry_max_attempts")?,
    })
}

fn azure(fields: &mut Fields) -> AzurePlace {
    AzurePlace {
        account_url: hidden(fields, "account_url"),
        account_name: fields.take("account_name"),
        container: fields.take("container"),
        prefix: fields.take("prefix"),
        blobs_prefix: fields.take("blobs_prefix"),
        manifests_prefix: fields.take("manifests_prefix"),
        names: names(fields),
        secret_access_key: hidden(fields, "secret_access_key"),
    }
}

fn actions(fields: &mut Fields) -> Result<ActionsPlace, Error> {
    Ok(ActionsPlace {
        scope: fields.take("scope"),
        url: fields.take("url"),
        url_v2: fields.take("url_v2"),
        token: hidden(fields, "token"),
        version: number(fields, "version")?,
        timeout: duration(fields, "timeout")?,
    })
}

/// Names between semicolons, since commas are between options.
fn names(fields: &mut Fields) -> Vec<String> {
    let text = fields.take("name").unwrap_or_default();
    let names = text.split(';').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn hidden(fields: &mut Fields, key: &str) -> Option<Hidden> {
    fields.take(key).map(Hidden)
}

fn number<T: TryFrom<u32>>(fields: &mut Fields, key: &str) -> Result<Option<T>, Error> {
    let Some(text) = fields.take(key) else {
        return Ok(None);
    };
    let number = text.parse::<u32>().ok().filter(|number| *number > 0);
    match number.and_then(|number| T::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(fail(&format!("{key} is a number from 1 on, not {text:?}"))),
    }
}

/// Reads a time as Go writes it: `24h`, `1h30m`, `90s`.
fn duration(fields: &mut Fields, key: &str) -> Result<Option<Duration>, Error> {
    let Some(text) = fields.take(key) else {
        return Ok(None);
    };
    match go_duration(&text) {
        Some(duration) => Ok(Some(duration)),
        None => Err(fail(&format!(
            "{key} is a time such as 24h or 1h30m, not {text:?}"
        ))),
    }
}

/// Go knows no days.
fn go_duration(text: &str) -> Option<Duration> {
    parse_duration(text).filter(|_| !text.contains('d'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, expected) in [
            ("24h", Some(86_400)),
            ("1h30m", Some(5_400)),
            ("90s", Some(90)),
            ("0s", Some(0)),
            ("24", None),
            ("h", None),
            ("", None),
            ("1d", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(
                go_duration(text),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
    }
}
