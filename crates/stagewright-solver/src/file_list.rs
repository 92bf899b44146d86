//! What is at paths: the part of a key that names the files of a copy.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Paths, and what is at each as text, in the order of the paths' bytes.
///
/// All of it lies in one piece of memory: a copy may select a hundred thousand files, and their list is made, compared with
/// the last one and stored at each miss. Stored it is a map.
#[derive(Clone, Default)]
pub struct FileList {
    text: String,
    files: Vec<Place>,
}

/// Where a path and what is at it lie in the text: from `path` to `value`, and from there to `end`.
#[derive(Debug, Clone, Copy)]
struct Place {
    path: usize,
    value: usize,
    end: usize,
}

impl FileList {
    /// Returns an empty list with room for so many files.
    pub(crate) fn with_capacity(files: usize) -> Self {
        /// A digest, a mode, an owner, and a path of usual length.
        const FILE_BYTES: usize = 160;
        Self {
            text: String::with_capacity(files * FILE_BYTES),
            files: Vec::with_capacity(files),
        }
    }

    /// Adds a file: `path` and `value` append to the text.
    pub(crate) fn push(&mut self, path: impl FnOnce(&mut String), value: impl FnOnce(&mut String)) {
        let begin = self.text.len();
        path(&mut self.text);
        let middle = self.text.len();
        value(&mut self.text);
        self.files.push(Place {
            path: begin,
            value: middle,
            end: self.text.len(),
        });
    }

    /// Adds all files of another list behind those of this one.
    pub(crate) fn append(&mut self, other: Self) {
        if self.files.is_empty() {
            *self = other;
            return;
        }
        let begin = self.text.len();
        self.text.push_str(&other.text);
        let moved = other.files.iter().map(|place| Place {
            path: begin + place.path,
            value: begin + place.value,
            end: begin + place.end,
        });
        self.files.extend(moved);
    }

    /// Puts the files in order. Of those that have the same path, all but the first get behind it what `apart` says of them, by
    /// when they were added.
    pub(crate) fn sort(&mut self, apart: &dyn Fn(usize) -> String) {
        if self.iter().is_sorted_by(|(one, _), (other, _)| one < other) {
            return;
        }
        let order = self.order();
        let same = |pair: &[usize]| self.path(pair[0]) == self.path(pair[1]);
        let again: Vec<bool> = order.windows(2).map(same).collect();
        self.arrange(&order);
        if !again.contains(&true) {
            return;
        }
        for (at, _) in again.iter().enumerate().filter(|(_, again)| **again) {
            let place = self.files[at + 1];
            let path = self.text.len();
            self.text.extend_from_within(place.path..place.value);
            self.text.push_str(&apart(order[at + 1]));
            let value = self.text.len();
            self.text.extend_from_within(place.value..place.end);
            let end = self.text.len();
            self.files[at + 1] = Place { path, value, end };
        }
        self.arrange(&self.order());
    }

    /// Returns the files by their paths, of equal ones the first first.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.files.len()).collect();
        order.sort_by(|one, other| self.path(*one).cmp(self.path(*other)));
        order
    }

    fn arrange(&mut self, order: &[usize]) {
        self.files = order.iter().map(|at| self.files[*at]).collect();
    }

    fn path(&self, at: usize) -> &str {
        let place = self.files[at];
        &self.text[place.path..place.value]
    }

    /// Returns how many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the paths, each with what is there, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.files.iter().map(|place| {
            (
                &self.text[place.path..place.value],
                &self.text[place.value..place.end],
            )
        })
    }
}

impl PartialEq for FileList {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for FileList {}

impl fmt::Debug for FileList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<P: AsRef<str>, V: AsRef<str>> FromIterator<(P, V)> for FileList {
    /// Lists files whose paths differ, in any order.
    fn from_iter<I: IntoIterator<Item = (P, V)>>(files: I) -> Self {
        let mut list = Self::default();
        for (path, value) in files {
            list.push(
                |text| text.push_str(path.as_ref()),
                |text| text.push_str(value.as_ref()),
            );
        }
        list.sort(&|_| String::new());
        list
    }
}

impl Serialize for FileList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for FileList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReadFiles)
    }
}

/// Reads a map of texts into a list.
struct ReadFiles;

impl<'de> Visitor<'de> for ReadFiles {
    type Value = FileList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of paths")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FileList, A::Error> {
        let mut list = FileList::default();
        loop {
            let path = list.text.len();
            if map.next_key_seed(ReadText(&mut list.text))?.is_none() {
                break;
            }
            let value = list.text.len();
            map.next_value_seed(ReadText(&mut list.text))?;
            let end = list.text.len();
            list.files.push(Place { path, value, end });
        }
        // It was written in order.
        list.sort(&|_| String::new());
        Ok(list)
    }
}

/// Appends a text to another.
struct ReadText<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for ReadText<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for ReadText<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_stored_as_a_map_and_read_back() {
        let cases: [&[(&str, &str)]; 4] = [
            &[],
            &[("a", "1")],
            &[("b", "2"), ("a/b", "1 \"x\""), ("a-b", "")],
            &[("\u{fffd}\n", "ä"), ("", "0")],
        ];
        for case in cases {
            let list: FileList = case.iter().copied().collect();
            let map: BTreeMap<&str, &str> = case.iter().copied().collect();
            assert!(
                list.iter()
                    .eq(map.iter().map(|(path, value)| (*path, *value)))
            );
            let stored = serde_json::to_string(&list).unwrap();
            assert_eq!(stored, serde_json::to_string(&map).unwrap());
            assert_eq!(serde_json::from_str::<FileList>(&stored).unwrap(), list);
        }
        serde_json::from_str::<FileList>("{\"a\": 1}").unwrap_err();
        serde_json::from_str::<FileList>("[]").unwrap_err();
    }

    #[test]
    fn what_comes_twice_is_told_apart() {
        let mut list = FileList::default();
        for (path, value) in [("b", "1"), ("a", "2"), ("b", "3"), ("a!", "4"), ("b", "5")] {
            list.push(|text| text.push_str(path), |text| text.push_str(value));
        }
        list.sort(&|at| format!(" ({at})"));
        let expected = [
            ("a", "2"),
            ("a!", "4"),
            ("b", "1"),
            ("b (2)", "3"),
            ("b (4)", "5"),
        ];
        assert!(list.iter().eq(expected), "{list:?}");
    }

    #[test]
    fn lists_put_together_are_one() {
        let mut list: FileList = [("b", "1"), ("c", "2")].into_iter().collect();
        list.append([("a", "3")].into_iter().collect());
        list.sort(&|_| String::new());
        assert_eq!(
            list,
            [("a", "3"), ("b", "1"), ("c", "2")].into_iter().collect()
        );
        assert_eq!((list.len(), list.is_empty()), (3, false));
    }
}
