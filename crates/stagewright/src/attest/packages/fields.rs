//! Lists of fields as Debian's control files and mails have them: `Name: value`, with lines that go on
//! behind a blank.

/// The fields of one paragraph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields<'t>(Vec<(&'t str, String)>);

impl<'t> Fields<'t> {
    /// Reads the lines of one paragraph.
    pub(super) fn of_lines(lines: impl Iterator<Item = &'t str>) -> Self {
        let mut fields: Vec<(&str, String)> = Vec::new();
        for line in lines {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name, value.trim().to_owned()));
            }
        }
        Self(fields)
    }

    /// Reads the paragraphs of a text.
    pub(super) fn paragraphs(text: &'t str) -> Vec<Self> {
        let mut paragraphs = Vec::new();
        let mut lines = text.lines().peekable();
        while lines.peek().is_some() {
            let paragraph = lines.by_ref().take_while(|line| !line.trim().is_empty());
            let fields = Self::of_lines(paragraph);
            if !fields.0.is_empty() {
                paragraphs.push(fields);
            }
        }
        paragraphs
    }

    /// Returns a field's value, or an empty text.
    pub(super) fn get(&self, name: &str) -> &str {
        let same = |(found, _): &&(&str, String)| found.eq_ignore_ascii_case(name);
        self.0.iter().find(same).map_or("", |(_, value)| value)
    }

    /// Returns the first line of a field's value.
    pub(super) fn line(&self, name: &str) -> String {
        let value = self.get(name).lines().next().unwrap_or_default();
        value.to_owned()
    }
}
