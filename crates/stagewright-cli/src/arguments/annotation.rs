//! `--annotation`, and the output options of that name.

use std::str::FromStr;

use stagewright::Annotation;

/// `[LEVEL[PLATFORM],…:]KEY=VALUE`, which may be an annotation of several levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnnotationArgument(pub(crate) Vec<Annotation>);

impl FromStr for AnnotationArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = Annotation::parse_all(text);
        parsed.map(Self).map_err(|error| error.to_string())
    }
}

/// Parses an output option such as `annotation-index[linux/amd64].KEY`; nothing for another one.
pub(super) fn option(key: &str, value: &str) -> Option<Result<Annotation, String>> {
    let rest = key.strip_prefix("annotation")?;
    let bracket = rest.find(']').unwrap_or(0);
    let dot = bracket + rest[bracket..].find('.')?;
    let (of, name) = (&rest[..dot], &rest[dot + 1..]);
    let level = match of.strip_prefix('-') {
        Some(of) => of.to_owned(),
        None => format!("manifest{of}"),
    };
    let text = format!("{level}:{name}={value}");
    let parsed = Annotation::parse_all(&text).map_err(|error| error.to_string());
    Some(parsed.and_then(|parsed| {
        parsed
            .into_iter()
            .next()
            .ok_or_else(|| "there is no level".to_owned())
    }))
}

#[cfg(test)]
mod tests {
    use stagewright::AnnotationLevel;

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
        assert!(parse("indexes:k=v").is_err());
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
