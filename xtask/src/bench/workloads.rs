//! What is built: one folder a workload, made from nothing, the same on every machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;

/// The name of the base with a compiler in it.
pub(super) const COMPILER: &str = "bench/compiler:1";
/// The Dockerfile of the longest chain of steps of `w2`: one of its stages, and all of its copies.
pub(super) const CHAIN: &str = "chain.Dockerfile";
/// The Dockerfile of the base of `w5`.
pub(super) const BASE: &str = "base.Dockerfile";
/// The folders and files of the two large contexts.
const FOLDERS: usize = 200;
const FILES_PER_FOLDER: usize = 100;
/// What the texts are made of.
const WORDS: [&str; 24] = [
    "build", "layer", "key", "stage", "copy", "run", "image", "file", "tree", "cache", "hash",
    "tar", "store", "user", "path", "mount", "step", "plan", "graph", "root", "link", "size",
    "time", "owner",
];

/// A folder to build, and what is changed in it.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    /// What it stands for.
    pub(super) what: &'static str,
    pub(super) folder: PathBuf,
    /// The file that is touched, and changed by some bytes.
    changed: &'static str,
    /// A file and the line in it that is changed without a change of what the step makes.
    pub(super) comment: Option<(&'static str, &'static str)>,
}

impl Workload {
    /// Gives the file a new modification time and leaves its bytes.
    pub(super) fn touch(&self) -> Result<()> {
        let file = fs_err::OpenOptions::new()
            .append(true)
            .open(self.folder.join(self.changed))?;
        file.into_file()
            .set_modified(std::time::SystemTime::now())?;
        Ok(())
    }

    /// Changes some bytes of the file, not its size.
    pub(super) fn change(&self, turn: usize) -> Result<()> {
        let path = self.folder.join(self.changed);
        let mut bytes = fs_err::read(&path)?;
        let end = bytes.len();
        bytes[end - 7..end - 1].copy_from_slice(format!("{turn:06}").as_bytes());
        fs_err::write(&path, bytes)?;
        Ok(())
    }

    /// Changes a comment, where the workload has one.
    pub(super) fn change_comment(&self, turn: usize) -> Result<()> {
        let Some((file, line)) = self.comment else {
            return Ok(());
        };
        let path = self.folder.join(file);
        let text: Vec<String> = fs_err::read_to_string(&path)?
            .lines()
            .map(|found| match found.split_once(line) {
                Some((before, _)) => format!("{before}{line}{turn:06}"),
                None => found.to_owned(),
            })
            .collect();
        fs_err::write(&path, text.join("\n") + "\n")?;
        Ok(())
    }
}

/// Makes every workload below a folder; `registry` is `HOST:PORT`.
pub(super) fn make(folder: &Path, registry: &str) -> Result<Vec<Workload>> {
    if folder.exists() {
        fs_err::remove_dir_all(folder)?;
    }
    let node = format!("{registry}/library/node:12-stretch");
    let alpine = format!("{registry}/library/alpine:3.10");
    Ok(vec![
        node_application(folder.join("w1"), &node, &alpine)?,
        stages(folder.join("w2"), &alpine)?,
        steps(folder.join("w4"), &alpine)?,
        copies(folder.join("w5"), &alpine)?,
        context(folder.join("w3"), &alpine)?,
        ignored(folder.join("w6"), &alpine)?,
        program(folder.join("w7"), &format!("{registry}/{COMPILER}"))?,
        image(folder.join("w9"), &alpine)?,
    ])
}

/// Makes the Dockerfile of the base with a compiler in it.
pub(super) fn compiler(folder: &Path, registry: &str) -> Result<PathBuf> {
    let text = format!(
        "FROM {registry}/library/node:12-stretch\nRUN apt-get update && \\\n    \
         apt-get install --yes --no-install-recommends gcc libc6-dev make\n"
    );
    put(folder, "compiler/Dockerfile", text)?;
    Ok(folder.join("compiler"))
}

/// Makes a Dockerfile with a step in each base.
pub(super) fn seed(folder: &Path, registry: &str) -> Result<PathBuf> {
    let text = format!(
        "FROM {registry}/library/node:12-stretch AS node\nRUN true > /seed\n\
         FROM {registry}/{COMPILER} AS compiler\nRUN true > /seed\n\
         FROM {registry}/library/alpine:3.10\nRUN true > /seed\nCOPY --from=node /seed /seed2\n\
         COPY --from=compiler /seed /seed3\n"
    );
    put(folder, "seed/Dockerfile", text)?;
    Ok(folder.join("seed"))
}

fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    fs_err::write(path, bytes)?;
    Ok(())
}

fn node_application(folder: PathBuf, node: &str, alpine: &str) -> Result<Workload> {
    const PACKAGES: usize = 60;
    let mut dependencies = serde_json::Map::new();
    let mut locked = serde_json::Map::new();
    for number in 0..PACKAGES {
        let (name, file) = (
            format!("part{number}"),
            format!("file:vendor/part{number}.tgz"),
        );
        put(
            &folder,
            &format!("vendor/part{number}.tgz"),
            package(&name)?,
        )?;
        locked.insert(
            format!("node_modules/{name}"),
            serde_json::json!({ "version": "1.0.0", "resolved": file }),
        );
        dependencies.insert(name, file.into());
    }
    let manifest = serde_json::json!({
        "name": "application", "version": "1.0.0", "private": true, "dependencies": dependencies,
    });
    locked.insert(String::new(), manifest.clone());
    let lock = serde_json::json!({
        "name": "application", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
        "packages": locked,
    });
    put(
        &folder,
        "package.json",
        serde_json::to_vec_pretty(&manifest)?,
    )?;
    put(
        &folder,
        "package-lock.json",
        serde_json::to_vec_pretty(&lock)?,
    )?;
    put(
        &folder,
        "src/index.js",
        "require('part0');\nconsole.log('up'); // 000000\n",
    )?;
    put(
        &folder,
        "Dockerfile",
        format!(
            "FROM {node}\nWORKDIR /build\nCOPY package-lock.json package.json ./\nCOPY vendor vendor\n\
             RUN npm ci --offline --no-audit\nCOPY . .\n\nFROM {alpine}\n\
             RUN addgroup -S node && adduser -S node -G node\nUSER node\nRUN mkdir /home/node/code\n\
             WORKDIR /home/node/code\nCOPY --from=0 --chown=node:node /build .\nCMD [\"node\", \"src/index.js\"]\n"
        ),
    )?;
    Ok(Workload {
        name: "w1",
        what: "Node application of two stages, npm ci without a network",
        folder,
        changed: "src/index.js",
        comment: None,
    })
}

/// Returns an npm package of ten files.
fn package(name: &str) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut add = |path: String, text: String| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        archive.append_data(&mut header, format!("package/{path}"), text.as_bytes())
    };
    add(
        "package.json".to_owned(),
        format!("{{\"name\":\"{name}\",\"version\":\"1.0.0\",\"main\":\"lib0.js\"}}\n"),
    )?;
    for number in 0..9 {
        let mut random = Random::new(number);
        let mut text = format!("exports.number = {number};\n");
        for _ in 0..40 {
            let _ = writeln!(text, "// {}", random.words(9));
        }
        add(format!("lib{number}.js"), text)?;
    }
    Ok(archive.into_inner()?.finish()?)
}

fn stages(folder: PathBuf, alpine: &str) -> Result<Workload> {
    put(&folder, "Dockerfile", stages_text(18, alpine))?;
    put(&folder, CHAIN, stages_text(1, alpine))?;
    put(&folder, "seed.txt", "seed 000000\n")?;
    Ok(Workload {
        name: "w2",
        what: "20 stages, 18 of them sleep for half a second at once",
        folder,
        changed: "seed.txt",
        comment: None,
    })
}

/// Returns the Dockerfile of `w2` with so many of the stages, which the last stage copies from in turn.
fn stages_text(stages: usize, alpine: &str) -> String {
    const COPIES: usize = 18;
    let mut text = format!("FROM {alpine} AS base\nCOPY seed.txt /seed\n");
    for n in 1..=stages {
        let _ = writeln!(
            text,
            "FROM base AS s{n}\nRUN sleep 0.5; cp /seed /out{n}; echo {n} >> /out{n}"
        );
    }
    let _ = writeln!(text, "FROM {alpine}");
    for n in 1..=COPIES {
        let stage = n.min(stages);
        let _ = writeln!(text, "COPY --from=s{stage} /out{stage} /out{n}");
    }
    text
}

fn context(folder: PathBuf, alpine: &str) -> Result<Workload> {
    let mut random = Random::new(3);
    small_files(&folder, FOLDERS, &mut random)?;
    for number in 0..4 {
        put(
            &folder,
            &format!("big/blob{number}.bin"),
            random.bytes(50 << 20),
        )?;
    }
    put(&folder, "note.txt", "note 000000\n")?;
    put(
        &folder,
        "Dockerfile",
        format!("FROM {alpine}\nWORKDIR /app\nCOPY . .\nRUN true\n"),
    )?;
    Ok(Workload {
        name: "w3",
        what: "context of 20,000 small files and 200 MiB, copied whole",
        folder,
        changed: "note.txt",
        comment: None,
    })
}

fn small_files(folder: &Path, folders: usize, random: &mut Random) -> Result<()> {
    for place in 0..folders {
        for number in 0..FILES_PER_FOLDER {
            let words = 20 + random.below(280);
            let text = random.words(words) + "\n";
            put(folder, &format!("tree/d{place:04}/f{number:03}.txt"), text)?;
        }
    }
    Ok(())
}

fn steps(folder: PathBuf, alpine: &str) -> Result<Workload> {
    let mut text = format!("FROM {alpine}\n");
    for n in 1..=40 {
        let remark = if n == 2 { " # turn 000000" } else { "" };
        let _ = writeln!(text, "RUN echo {n} > /f{n}{remark}");
        if n == 20 {
            text.push_str("COPY mid.txt /mid.txt\n");
        }
    }
    put(&folder, "Dockerfile", text)?;
    put(&folder, "mid.txt", "mid 000000\n")?;
    Ok(Workload {
        name: "w4",
        what: "40 tiny RUN steps with a COPY in the middle",
        folder,
        changed: "mid.txt",
        comment: Some(("Dockerfile", "# turn ")),
    })
}

fn copies(folder: PathBuf, alpine: &str) -> Result<Workload> {
    let script = format!(
        "set -e\n# turn 000000\nmkdir -p /tree; i=0\nwhile [ $i -lt {FOLDERS} ]; do mkdir /tree/d$i; j=0; \
         while [ $j -lt {FILES_PER_FOLDER} ]; do echo \"file $i $j some text to be copied over\" > /tree/d$i/f$j; \
         j=$((j+1)); done; i=$((i+1)); done\necho > /tree/turn 000000\n"
    );
    put(&folder, "gen.sh", script)?;
    put(&folder, BASE, format!("FROM {alpine}\n"))?;
    put(
        &folder,
        "Dockerfile",
        format!(
            "FROM {alpine} AS gen\nCOPY gen.sh /gen.sh\nRUN sh /gen.sh\nFROM {alpine}\nCOPY --from=gen /tree /tree\n"
        ),
    )?;
    Ok(Workload {
        name: "w5",
        what: "20,000 files made in one stage and copied into another",
        folder,
        changed: "gen.sh",
        comment: Some(("gen.sh", "# turn ")),
    })
}

fn ignored(folder: PathBuf, alpine: &str) -> Result<Workload> {
    let mut random = Random::new(6);
    small_files(&folder, FOLDERS * 5, &mut random)?;
    put(&folder, ".dockerignore", "tree\n!tree/d000[0-9]\n")?;
    put(&folder, "note.txt", "note 000000\n")?;
    put(
        &folder,
        "Dockerfile",
        format!("FROM {alpine}\nCOPY . /app\n"),
    )?;
    Ok(Workload {
        name: "w6",
        what: "context of 100,000 files, of which .dockerignore leaves 1,000",
        folder,
        changed: "note.txt",
        comment: None,
    })
}

fn program(folder: PathBuf, compiler: &str) -> Result<Workload> {
    const SOURCES: usize = 80;
    let mut calls = String::new();
    for number in 0..SOURCES {
        let mut text =
            String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
        for function in 0..60 {
            let _ = writeln!(
                text,
                "int f{number}_{function}(int n) {{ char b[64]; snprintf(b, sizeof b, \"%d\", n * {function}); \
                 int s = 0; for (size_t i = 0; i < strlen(b); i++) s += b[i] ^ {number}; return s % 97; }}"
            );
        }
        put(&folder, &format!("src/part{number}.c"), text)?;
        let _ = writeln!(calls, "  s += f{number}_7(s);");
    }
    let declarations: String = (0..SOURCES)
        .map(|n| format!("int f{n}_7(int);\n"))
        .collect();
    put(
        &folder,
        "src/main.c",
        format!(
            "#include <stdio.h>\n{declarations}int main(void) {{\n  int s = 1;\n{calls}  printf(\"%d\\n\", s);\n  return 0;\n}}\n// turn 000000\n"
        ),
    )?;
    put(
        &folder,
        "Makefile",
        "OBJECTS := $(patsubst src/%.c,/cache/%.o,$(wildcard src/*.c))\n/out/program: $(OBJECTS)\n\t\
         mkdir -p /out\n\tcc -static -o $@ $^\n/cache/%.o: src/%.c\n\tcc -O2 -c -o $@ $<\n",
    )?;
    put(
        &folder,
        "Dockerfile",
        format!(
            "FROM {compiler} AS build\nWORKDIR /work\nCOPY . .\nRUN --mount=type=cache,target=/cache make -j2\n\
             FROM scratch\nCOPY --from=build /out/program /program\nENTRYPOINT [\"/program\"]\n"
        ),
    )?;
    Ok(Workload {
        name: "w7",
        what: "C program of 81 files compiled with a cache mount, copied into scratch",
        folder,
        changed: "src/main.c",
        comment: None,
    })
}

fn image(folder: PathBuf, alpine: &str) -> Result<Workload> {
    let mut random = Random::new(9);
    for number in 0..40 {
        // Half of it compresses well and half does not, as in images with programs in them.
        let mut bytes = random.bytes(5 << 20);
        while bytes.len() < 10 << 20 {
            bytes.extend_from_slice(random.words(200).as_bytes());
        }
        put(&folder, &format!("data/part{number:02}.bin"), bytes)?;
    }
    put(&folder, "data/note.txt", "note 000000\n")?;
    put(
        &folder,
        "Dockerfile",
        format!("FROM {alpine}\nCOPY data /data\n"),
    )?;
    Ok(Workload {
        name: "w9",
        what: "image of 400 MiB, exported and pushed",
        folder,
        changed: "data/note.txt",
        comment: None,
    })
}

/// Numbers that look random and are the same each time (xorshift64*).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound as u64))
            .expect("because a remainder is below its divisor")
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    fn words(&mut self, count: usize) -> String {
        // Out of a few words, as texts repeat theirs.
        let mut text = String::with_capacity(count * 8);
        for number in 0..count {
            if number > 0 {
                text.push(' ');
            }
            let at = self.below(WORDS.len());
            text.push_str(WORDS[at]);
            text.push_str(WORDS[(at * 7 + self.below(4)) % WORDS.len()]);
        }
        text
    }
}
