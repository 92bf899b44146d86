//! What the services' own tools read from the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use fs_err as fs;

/// The variables that say which service is meant, and who asks.
const NAMES: [&str; 20] = [
    "ACTIONS_CACHE_SERVICE_V2",
    "ACTIONS_CACHE_URL",
    "ACTIONS_RESULTS_URL",
    "ACTIONS_RUNTIME_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_BUCKET",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME",
    "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL",
    "BUILDKIT_AZURE_STORAGE_CONTAINER",
    "BUILDKIT_AZURE_STORAGE_PREFIX",
    "HOME",
];

/// Variables of whoever asks, as far as services are concerned. Their values are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ServiceEnvironment(BTreeMap<&'static str, String>);

impl fmt::Debug for ServiceEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl ServiceEnvironment {
    /// Takes what it needs. `variable` returns environment variables.
    pub fn of(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = NAMES.iter().filter_map(|name| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some((*name, value))
        });
        Self(set.collect())
    }

    #[cfg(test)]
    pub(super) fn with(variables: &[(&str, &str)]) -> Self {
        Self::of(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Reads the section of the profile in Amazon's file of credentials. Nothing if there is no such file.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(super) fn aws_profile(&self) -> std::io::Result<Option<BTreeMap<String, String>>> {
        let file = match (self.get("AWS_SHARED_CREDENTIALS_FILE"), self.get("HOME")) {
            (Some(file), _) => PathBuf::from(file),
            (None, Some(home)) => PathBuf::from(home).join(".aws/credentials"),
            (None, None) => return Ok(None),
        };
        match fs::read_to_string(file) {
            Ok(text) => Ok(section(&text, self.get("AWS_PROFILE").unwrap_or("default"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns the settings between `[name]` and the next section.
fn section(text: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| {
        let inner = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'));
        inner.is_some_and(|inner| inner.trim() == name)
    })?;
    let settings = lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim().to_owned()));
    Some(settings.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_the_section_of_its_name() {
        let text = "# keys\n[default]\naws_access_key_id = A\n; no\naws_secret_access_key=b=\n\n[ ci ]\nAWS_ACCESS_KEY_ID=C\n";
        let keys = |name| {
            let section: Vec<_> = section(text, name)?.into_iter().collect();
            Some(section)
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected = vec![
            pair("aws_access_key_id", "A"),
            pair("aws_secret_access_key", "b="),
        ];
        assert_eq!(keys("default"), Some(expected));
        assert_eq!(keys("ci"), Some(vec![pair("aws_access_key_id", "C")]));
        assert_eq!(keys("other"), None);
    }

    #[test]
    fn values_are_not_shown() {
        let environment = ServiceEnvironment::of(&|name| Some(format!("value of {name}")));
        let shown = format!("{environment:?}");
        assert!(
            shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("value"),
            "{shown}"
        );
    }
}
