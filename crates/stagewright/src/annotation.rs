//! Annotations as they are written in one line.

use crate::error::{Error, ErrorKind};
use crate::export::{Annotation, AnnotationLevel};

impl Annotation {
    /// Parses `[LEVEL[PLATFORM],…:]KEY=VALUE`, which may be an annotation of several levels.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when there is no key, or a level is not known.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Error> {
        let (left, value) = text
            .split_once('=')
            .ok_or_else(|| fail("write KEY=VALUE, or LEVEL:KEY=VALUE"))?;
        // A key may hold a colon: only what is all levels before one is taken for levels.
        let (levels, key) = match left.split_once(':') {
            Some((levels, key)) => (levels.split(',').map(level).collect(), key),
            None => (Ok(vec![(AnnotationLevel::Manifest, None)]), left),
        };
        let levels: Vec<_> = levels?;
        if key.is_empty() {
            return Err(fail("the annotation has no key"));
        }
        let annotations = levels.into_iter().map(|(level, platform)| Self {
            level,
            platform,
            key: key.to_owned(),
            value: value.to_owned(),
        });
        Ok(annotations.collect())
    }
}

/// Parses `LEVEL` or `LEVEL[PLATFORM]`.
fn level(text: &str) -> Result<(AnnotationLevel, Option<String>), Error> {
    let (name, platform) = match text.split_once('[') {
        None => (text, None),
        Some((name, rest)) => {
            let platform = rest
                .strip_suffix(']')
                .ok_or_else(|| fail("a `[` is not closed"))?;
            (name, Some(platform.to_owned()))
        }
    };
    let level = match name {
        "manifest" => AnnotationLevel::Manifest,
        "manifest-descriptor" => AnnotationLevel::ManifestDescriptor,
        "index" => AnnotationLevel::Index,
        "index-descriptor" => AnnotationLevel::IndexDescriptor,
        _ => {
            return Err(fail(&format!(
                "{name:?} is none of manifest, manifest-descriptor, index, index-descriptor"
            )));
        }
    };
    Ok((level, platform))
}

fn fail(message: &str) -> Error {
    Error::new(ErrorKind::Request, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_of_levels_and_platforms() {
        use AnnotationLevel::{Index, Manifest, ManifestDescriptor};
        let one = |level, platform: Option<&str>, key: &str| Annotation {
            level,
            platform: platform.map(str::to_owned),
            key: key.to_owned(),
            value: "v".to_owned(),
        };
        for (text, expected) in [
            ("a.b=v", vec![one(Manifest, None, "a.b")]),
            (
                "index,manifest-descriptor[linux/arm64]:k=v",
                vec![
                    one(Index, None, "k"),
                    one(ManifestDescriptor, Some("linux/arm64"), "k"),
                ],
            ),
        ] {
            assert_eq!(Annotation::parse_all(text).ok(), Some(expected), "{text}");
        }
        for wrong in ["a", "=v", "indexes:k=v", "index[:k=v"] {
            let error = Annotation::parse_all(wrong).expect_err(wrong);
            assert_eq!(error.kind, ErrorKind::Request);
        }
    }
}
