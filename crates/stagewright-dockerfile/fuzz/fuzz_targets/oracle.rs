//! Dockerfiles of what `dockerfile-parser` reads as BuildKit does: both parsers take them, and
//! understand the same. What it is known to misread is listed in `tests/oracle.rs` and not made here:
//! heredocs, empty values, several names in an ARG, other escape characters, names cut in two.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stagewright_dockerfile::Dockerfile;

const WORDS: &[&str] = &[
    "a", "b.c", "/x/y", "x-1", "$V", "${V}", "make", "&&", "|", "echo", ";", "80", "{}", "a:b",
    "\"q", "r\"", "'s t'", "*.go", "-p", "A=1", "@x", "[x", "y]", "%", "é",
];
const NAMES: &[&str] = &["A", "B_2", "name", "x1"];
const VALUES: &[&str] = &["1", "two", "/p/q", "\"a b\"", "'c d'", "a:b", "$A"];
const JSON: &[&str] = &[r#""a""#, r#""b c""#, r#""/bin/x""#, r#""$V""#, r#""-c""#];
const GAPS: &[&str] = &[" ", "  ", " \\\n    ", " \\\n# a comment\n  "];

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first)
    }

    fn pick<'t>(&mut self, table: &[&'t str]) -> &'t str {
        table[self.next() % table.len()]
    }

    /// One to four of a table.
    fn some(&mut self, table: &[&str], between: &str) -> String {
        let count = 1 + self.next() % 4;
        let words: Vec<&str> = (0..count).map(|_| self.pick(table)).collect();
        words.join(between)
    }

    fn command(&mut self) -> String {
        if self.next() % 2 == 0 {
            return format!("[{}]", self.some(JSON, ", "));
        }
        let mut text = self.pick(&["make", "echo", "a", "/x/y"]).to_owned();
        for _ in 0..self.next() % 5 {
            text += self.pick(GAPS);
            text += self.pick(WORDS);
        }
        text
    }

    fn line(&mut self) -> String {
        let (name, value) = (self.pick(NAMES), self.pick(VALUES));
        match self.next() % 11 {
            0 => format!("RUN {}", self.command()),
            1 => format!("CMD {}", self.command()),
            2 => format!("ENTRYPOINT {}", self.command()),
            3 => format!("ENV {name}={value}"),
            4 => format!("ARG {name}"),
            5 => format!("ARG {name}={value}"),
            6 => format!("LABEL {name}={value}"),
            7 => format!("COPY {} /d/", self.some(&["a", "b.c", "x-1", "*.go"], " ")),
            8 => format!("EXPOSE {}", self.pick(&["80", "53/udp"])),
            9 => format!("WORKDIR {}", self.pick(&["/x", "y/z"])),
            _ => format!("FROM {} AS {}", self.pick(&["a", "b:1", "$V"]), self.pick(&["s", "t-1"])),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Bytes(bytes);
    let mut text = "FROM alpine\n".to_owned();
    while !bytes.0.is_empty() {
        if bytes.next() % 8 == 0 {
            text += "# a comment\n\n";
        }
        text += &bytes.line();
        text.push('\n');
    }
    let held = match dockerfile_parser::Dockerfile::parse(&text) {
        Ok(held) => held,
        Err(error) => panic!("the other parser refuses\n{text}\n{error}"),
    };
    if let Err(error) = Dockerfile::try_from(&held) {
        panic!("{error}\n{text}");
    }
});
