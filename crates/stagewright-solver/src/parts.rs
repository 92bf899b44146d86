//! The labelled parts of an action: what its key is made of, kept so that a miss can be explained.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stagewright_digest::{ActionKey, Encoder};

use crate::file_list::FileList;

/// The schema version of keys. Raise it whenever an input is added or its meaning changes: every
/// cached result is then forgotten.
pub(crate) const KEY_VERSION: u32 = 2;

/// Everything that an action's key depends on, by label.
///
/// The key is computed from these parts and from nothing else, so what is stored for an
/// explanation is complete by construction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    parts: BTreeMap<String, Part>,
}

/// One labelled part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// A value.
    Text(String),
    /// Values whose order matters.
    List(Vec<String>),
    /// Named values: environment variables.
    Map(BTreeMap<String, String>),
    /// Paths and what is there.
    Files(FileList),
}

impl Parts {
    /// Adds a value.
    pub fn text(&mut self, label: &str, value: impl Into<String>) -> &mut Self {
        self.insert(label, Part::Text(value.into()))
    }

    /// Adds a list.
    pub fn list(&mut self, label: &str, values: Vec<String>) -> &mut Self {
        self.insert(label, Part::List(values))
    }

    /// Adds named values.
    pub fn map(&mut self, label: &str, values: BTreeMap<String, String>) -> &mut Self {
        self.insert(label, Part::Map(values))
    }

    /// Adds files.
    pub fn files(&mut self, label: &str, files: FileList) -> &mut Self {
        self.insert(label, Part::Files(files))
    }

    fn insert(&mut self, label: &str, part: Part) -> &mut Self {
        let replaced = self.parts.insert(label.to_owned(), part);
        debug_assert!(replaced.is_none(), "the part {label:?} is given twice");
        self
    }

    /// Returns the parts, sorted by label.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Part)> {
        self.parts
            .iter()
            .map(|(label, part)| (label.as_str(), part))
    }

    /// Returns one part.
    pub fn get(&self, label: &str) -> Option<&Part> {
        self.parts.get(label)
    }

    /// Computes the key that these parts make.
    pub fn key(&self) -> ActionKey {
        let mut encoder = Encoder::new("action", KEY_VERSION);
        for (label, part) in &self.parts {
            match part {
                Part::Text(value) => encoder.text(label, value),
                Part::List(values) => encoder.list(label, values),
                Part::Map(values) => encoder.map(label, values),
                Part::Files(files) => encoder.flag("files", true).map(label, files.iter()),
            };
        }
        ActionKey::from_bytes(encoder.finish())
    }

    /// Encodes the parts for the store.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("because maps with text keys always serialise")
    }

    /// Decodes what [`Parts::encode`] wrote; nothing for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_round_trips() {
        let mut parts = Parts::default();
        parts
            .text("command", "npm ci")
            .list("argv", vec!["a".into(), "b".into()])
            .map("env", [("A".into(), "1".into())].into())
            .files("files", [("x", "blake3:0")].into_iter().collect());
        assert_eq!(Parts::decode(&parts.encode()), Some(parts));
        assert_eq!(Parts::decode(b"nonsense"), None);
    }

    #[test]
    fn a_map_of_files_is_not_a_map_of_values() {
        let mut files = Parts::default();
        files.files("x", FileList::default());
        let mut map = Parts::default();
        map.map("x", BTreeMap::new());
        assert_ne!(files.key(), map.key());
    }
}
