//! `--annotation`, and the output options of that name.

use std::str::FromStr;

use stagewright::{Annotation, AnnotationLevel};

/// `[LEVEL[PLATFORM],…:]KEY=VALUE`, which may be an annotation of several levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnnotationArgument(pub(crate) Vec<Annotation>);

impl FromStr for AnnotationArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (left, value) = text
            .split_once('=')
            .ok_or("write KEY=VALUE, or LEVEL:KEY=VALUE")?;
        // A key may hold a colon: only what is all levels before one is taken for levels.
        let (levels, key) = match left.split_once(':') {
            Some((levels, key)) => (levels.split(',').map(level).collect(), key),
            None => (Ok(vec![(AnnotationLevel::Manifest, None)]), left),
        };
        let levels: Vec<_> = levels?;
        if key.is_empty() {
            return Err("the annotation has no key".to_owned());
        }
        let annotations = levels.into_iter().map(|(level, platform)| Annotation {
            level,
            platform,
            key: key.to_owned(),
            value: value.to_owned(),
        });
        Ok(Self(annotations.collect()))
    }
}

/// Parses an output option such as `annotation-index[linux/amd64].KEY`; nothing for another one.
pub(super) fn option(key: &str, value: &str) -> Option<Result<Annotation, String>> {
    let rest = key.strip_prefix("annotation")?;
    let bracket = rest.find(']').unwrap_or(0);
    let dot = bracket + rest[bracket..].find('.')?;
    let (of, name) = (&rest[..dot], &rest[dot + 1..]);
    let parsed = match of.strip_prefix('-') {
        Some(of) => level(of),
        None => level(&format!("manifest{of}")),
    };
    Some(parsed.map(|(level, platform)| Annotation {
        level,
        platform,
        key: name.to_owned(),
        value: value.to_owned(),
    }))
}

/// Parses `LEVEL` or `LEVEL[PLATFORM]`.
fn level(text: &str) -> Result<(AnnotationLevel, Option<String>), String> {
    let (name, platform) = match text.split_once('[') {
        None => (text, None),
        Some((name, rest)) => {
            let platform = rest.strip_suffix(']').ok_or("a `[` is not closed")?;
            (name, Some(platform.to_owned()))
        }
    };
    let level = match name {
        "manifest" => AnnotationLevel::Manifest,
        "manifest-descriptor" => AnnotationLevel::ManifestDescriptor,
        "index" => AnnotationLevel::Index,
        "index-descriptor" => AnnotationLevel::IndexDescriptor,
        _ => {
            return Err(format!(
                "{name:?} is none of manifest, manifest-descriptor, index, index-descriptor"
            ));
        }
    };
    Ok((level, platform))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(level: AnnotationLevel, platform: Option<&str>, key: &str) -> Annotation {
        Annotation {
            level,
            platform: platform.map(str::to_owned),
            key: key.to_owned(),
            value: "v".to_owned(),
        }
    }

    #[test]
    fn annotations_are_of_levels_and_platforms() {
        use AnnotationLevel::{Index, IndexDescriptor, Manifest, ManifestDescriptor};
        let parse = |text: &str| text.parse::<AnnotationArgument>().map(|parsed| parsed.0);
        assert_eq!(parse("a.b=v"), Ok(vec![one(Manifest, None, "a.b")]));
        assert_eq!(
            parse("index,manifest-descriptor[linux/arm64]:k=v"),
            Ok(vec![
                one(Index, None, "k"),
                one(ManifestDescriptor, Some("linux/arm64"), "k")
            ])
        );
        for wrong in ["a", "=v", "indexes:k=v", "index[:k=v"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            option("annotation.a.b", "v"),
            Some(Ok(one(Manifest, None, "a.b")))
        );
        assert_eq!(
            option("annotation[linux/amd64].a", "v"),
            Some(Ok(one(Manifest, Some("linux/amd64"), "a")))
        );
        assert_eq!(
            option("annotation-index-descriptor.a", "v"),
            Some(Ok(one(IndexDescriptor, None, "a")))
        );
        assert_eq!(option("compression", "v"), None);
    }
}
