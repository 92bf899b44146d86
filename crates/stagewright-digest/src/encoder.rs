//! The canonical encoding of key material.

/// Encodes labelled parts into one BLAKE3 name.
///
/// The encoding, from which every key and snapshot name follows (a change is a format break):
///
/// ```text
/// encoding = header part*
/// header   = framed(domain) u32le(version)
/// part     = kind u8, framed(label), payload
/// framed   = u64le(length) bytes
/// payload  = kind 1: framed(bytes)              bytes, and text as its UTF-8
///            kind 2: u64le                      a number
///            kind 3: u8 0 | 1                   a flag
///            kind 4: u64le(count) framed*       a list, in the order given
///            kind 5: u64le(count) (framed framed)*   a map, sorted by key
///            kind 6: nothing                    a part that is absent
/// ```
///
/// Every length comes before its bytes and every part carries its kind and label, so that two
/// different sequences of calls never encode to the same bytes.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// Absent while all that was added fits into the buffer.
    hasher: Option<Box<blake3::Hasher>>,
    /// What was added and not hashed yet: many small pieces are hashed faster as one.
    buffer: Vec<u8>,
}

/// The buffer is hashed when it has grown to this.
const BUFFER_BYTES: usize = 16 * 1024;

impl Encoder {
    /// Starts an encoding. `domain` keeps names of different things apart, `version` is the schema
    /// version of that domain.
    pub fn new(domain: &str, version: u32) -> Self {
        let mut encoder = Self {
            hasher: None,
            buffer: Vec::with_capacity(256),
        };
        encoder.framed(domain.as_bytes());
        encoder.add(&version.to_le_bytes());
        encoder
    }

    /// Adds bytes.
    pub fn bytes(&mut self, label: &str, value: &[u8]) -> &mut Self {
        self.part(1, label);
        self.framed(value);
        self
    }

    /// Adds text.
    pub fn text(&mut self, label: &str, value: &str) -> &mut Self {
        self.bytes(label, value.as_bytes())
    }

    /// Adds a number.
    pub fn number(&mut self, label: &str, value: u64) -> &mut Self {
        self.part(2, label);
        self.add(&value.to_le_bytes());
        self
    }

    /// Adds a flag.
    pub fn flag(&mut self, label: &str, value: bool) -> &mut Self {
        self.part(3, label);
        self.add(&[u8::from(value)]);
        self
    }

    /// Adds a list, whose order matters.
    pub fn list<T: AsRef<[u8]>>(
        &mut self,
        label: &str,
        values: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        let values: Vec<T> = values.into_iter().collect();
        self.part(4, label);
        self.add(&(values.len() as u64).to_le_bytes());
        for value in &values {
            self.framed(value.as_ref());
        }
        self
    }

    /// Adds a map, whose order does not matter. Of equal keys the last value counts.
    pub fn map<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        label: &str,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Self {
        let entries: Vec<(K, V)> = entries.into_iter().collect();
        if !entries.is_sorted_by(|(a, _), (b, _)| a.as_ref() < b.as_ref()) {
            let entries = entries.iter();
            return self.unsorted(
                label,
                entries.map(|(a, b)| (a.as_ref(), b.as_ref())).collect(),
            );
        }
        self.part(5, label);
        self.add(&(entries.len() as u64).to_le_bytes());
        for (key, value) in &entries {
            self.framed(key.as_ref());
            self.framed(value.as_ref());
        }
        self
    }

    /// Adds a map out of order: of one type, since what sorts is large.
    fn unsorted(&mut self, label: &str, mut entries: Vec<(&[u8], &[u8])>) -> &mut Self {
        // The last of equal keys comes first, and stays.
        entries.reverse();
        entries.sort_by_key(|(key, _)| *key);
        entries.dedup_by_key(|(key, _)| *key);
        self.map(label, entries)
    }

    /// Adds text that may be absent; absent differs from empty.
    pub fn optional_text(&mut self, label: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(label, value),
            None => {
                self.part(6, label);
                self
            }
        }
    }

    /// Returns the 32 bytes that name everything that was added.
    pub fn finish(&self) -> [u8; 32] {
        match &self.hasher {
            None => blake3::hash(&self.buffer).into(),
            Some(hasher) => hasher.clone().update(&self.buffer).finalize().into(),
        }
    }

    fn part(&mut self, kind: u8, label: &str) {
        self.add(&[kind]);
        self.framed(label.as_bytes());
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            let hasher = self.hasher.get_or_insert_default();
            hasher.update(&self.buffer).update(bytes);
            self.buffer.clear();
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    fn framed(&mut self, bytes: &[u8]) {
        self.add(&(bytes.len() as u64).to_le_bytes());
        self.add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(add: &dyn Fn(&mut Encoder) -> &mut Encoder) -> [u8; 32] {
        let mut encoder = Encoder::new("test", 1);
        add(&mut encoder);
        encoder.finish()
    }

    /// Each line is a sequence of calls; all must encode differently.
    #[test]
    fn different_parts_give_different_names() {
        let cases: &[&dyn Fn(&mut Encoder) -> &mut Encoder] = &[
            &|e| e,
            &|e| e.text("a", ""),
            &|e| e.text("a", "b"),
            &|e| e.text("ab", ""),
            &|e| e.text("", "ab"),
            &|e| e.text("a", "b").text("c", "d"),
            &|e| e.text("c", "d").text("a", "b"),
            &|e| e.text("a", "bc").text("", "d"),
            &|e| e.optional_text("a", None),
            &|e| e.number("a", 0),
            &|e| e.number("a", 1),
            &|e| e.flag("a", false),
            &|e| e.flag("a", true),
            &|e| e.list("a", ["b", "c"]),
            &|e| e.list("a", ["c", "b"]),
            &|e| e.list("a", ["bc"]),
            &|e| e.list("a", ["bc", ""]),
            &|e| e.list::<&str>("a", []),
            &|e| e.map("a", [("b", "c")]),
            &|e| e.map("a", [("bc", "")]),
            &|e| e.map("a", [("b", "c"), ("d", "")]),
            &|e| e.map::<&str, &str>("a", []),
        ];
        let names: Vec<_> = cases.iter().map(|case| name(case)).collect();
        for (i, one) in names.iter().enumerate() {
            for (j, other) in names.iter().enumerate().skip(i + 1) {
                assert_ne!(one, other, "cases {i} and {j}");
            }
        }
    }

    #[test]
    fn maps_ignore_order_and_keep_the_last_value() {
        let one = name(&|e| e.map("m", [("a", "1"), ("b", "2")]));
        let other = name(&|e| e.map("m", [("b", "0"), ("b", "2"), ("a", "1")]));
        assert_eq!(one, other);
    }

    #[test]
    fn domain_and_version_separate_names() {
        let names = [
            Encoder::new("a", 1),
            Encoder::new("a", 2),
            Encoder::new("b", 1),
        ]
        .map(|encoder| encoder.finish());
        assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2]);
    }

    /// A change here makes every existing cache miss: it is a format break.
    #[test]
    fn encoding_is_pinned() {
        let mut encoder = Encoder::new("pin", 7);
        encoder
            .text("text", "npm ci")
            .bytes("bytes", &[0, 255])
            .number("number", 42)
            .flag("flag", true)
            .list("list", ["a", "b"])
            .map("map", [("k", "v")])
            .optional_text("absent", None);
        let pinned = "be62d003865dcd2eb58d6cc85f2f9776567afa9818334f08df032ddd48648ab2";
        assert_eq!(
            blake3::Hash::from(encoder.finish()).to_hex().as_str(),
            pinned
        );
    }
}
