//! What does COPY cost next to what has to be done at least: `tar cf` of the same tree and a BLAKE3 pass for a cold copy, a
//! walk that looks at every file for a warm one, `cp` of a tar of the same bytes for a copy from a stage?
//!
//! `cargo bench -p stagewright-benches --bench copying [FOLDER]`: the folder names the disk; take a quiet one. Ratios of
//! medians; what is compared takes turns. Everything that is written is made durable, by all alike.

#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use stagewright::{BuildRequest, Builder, BuilderOptions};
use stagewright_context::{Context, Patterns};
use stagewright_digest::ContentHasher;

const ROUNDS: usize = 7;

fn main() {
    let place = std::env::args()
        .nth(1)
        .filter(|argument| !argument.starts_with('-'));
    let folder = match place {
        Some(place) => tempfile::tempdir_in(place).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let context = folder.path().join("context");
    make(&context);
    let tar = folder.path().join("tree.tar");
    let store = folder.path().join("store");
    let (mut cold, mut floor, mut warm, mut walk, mut from, mut copied) = (
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
    );
    let one = "FROM scratch\nCOPY . /\n";
    let two = "FROM scratch\nCOPY --from=a:1 /tree /copy\n";
    for _ in 0..ROUNDS {
        let remove = || {
            if store.exists() {
                fs_err::remove_dir_all(&store).unwrap();
            }
        };
        remove();
        sync(folder.path());
        cold.push(timed(|| build(&store, &context, one)));
        warm.push(timed(|| build(&store, &context, one)));
        walk.push(timed(|| stat_all(&context)));
        sync(folder.path());
        floor.push(timed(|| {
            run(Command::new("tar")
                .arg("-C")
                .arg(&context)
                .arg("-cf")
                .arg(&tar)
                .arg("."));
            sync(&tar);
            hash_all(&context);
        }));
        remove();
        build(&store, &context, "FROM scratch\nCOPY tree /tree\n");
        let blob = folder.path().join("blob.tar");
        run(Command::new("tar")
            .arg("-C")
            .arg(&context)
            .arg("-cf")
            .arg(&blob)
            .arg("tree"));
        sync(folder.path());
        from.push(timed(|| build(&store, &context, two)));
        copied.push(timed(|| {
            let copy = folder.path().join("copy.tar");
            run(Command::new("cp").arg(&blob).arg(&copy));
            sync(&copy);
        }));
    }
    println!("20,000 files and 200 MiB, {} ", folder.path().display());
    ratio("COPY cold", &mut cold, "tar cf + BLAKE3", &mut floor, 1.5);
    ratio("COPY warm", &mut warm, "stat walk", &mut walk, 2.0);
    ratio("COPY --from", &mut from, "cp of a tar", &mut copied, 1.2);
}

fn ratio(name: &str, ours: &mut [f64], other: &str, theirs: &mut [f64], target: f64) {
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "{name:12} {ours:8.1} ms, {other:16} {theirs:8.1} ms: {:.2}, wanted {target}",
        ours / theirs
    );
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn timed(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64() * 1e3
}

fn build(store: &Path, context: &Path, dockerfile: &str) {
    let builder = Builder::open(BuilderOptions::at(store)).unwrap();
    let mut request = BuildRequest::directory(context);
    request.dockerfile = stagewright::DockerfileSource::Text(dockerfile.to_owned());
    // What is copied from is an image, so that nothing else than the copy is measured.
    request.tags = vec!["a:1".to_owned()];
    builder.build(request).wait().unwrap();
}

/// Looks at every file, with as many threads as the builder uses, and reads none.
fn stat_all(context: &Path) {
    let context = Context::open(context, Patterns::default()).unwrap();
    let walk = context.walk(Path::new("")).unwrap();
    assert!(walk.entries.len() > 20_000);
}

fn hash_all(folder: &Path) {
    let mut hasher = ContentHasher::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                hasher.update(&fs_err::read(&path).unwrap());
            }
        }
    }
    divan::black_box(hasher.finish());
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success());
}

fn sync(path: &Path) {
    run(Command::new("sync").arg("-f").arg(path));
}

fn make(context: &Path) {
    for folder in 0..200 {
        let inner = context.join(format!("tree/d{folder}"));
        fs_err::create_dir_all(&inner).unwrap();
        for file in 0..100 {
            let text = format!("file {folder} {file} ").repeat(20 + (folder * 7 + file) % 60);
            fs_err::write(inner.join(format!("f{file}")), text).unwrap();
        }
    }
    for number in 0..4_u64 {
        let bytes: Vec<u8> = (0..50_u64 << 17)
            .flat_map(|n| (n * 0x9E37_79B9 + number).to_le_bytes())
            .collect();
        fs_err::write(context.join(format!("blob{number}")), bytes).unwrap();
    }
}
