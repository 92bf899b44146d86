//! How long does each part of a build take by itself: reading a Dockerfile, a key, a walk of the context, the tar of a
//! layer, compressing it, its index? (Finding a result in the store has a bench of its own, `lookup` of `stagewright-store`.)
//!
//! `cargo bench -p stagewright-benches --bench parts`

#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::io::Write as _;
use std::num::NonZeroUsize;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use stagewright_context::{Context, Patterns, StatCache};
use stagewright_digest::Encoder;
use stagewright_dockerfile::Dockerfile;
use stagewright_layer::{Codec, Compressor, Entry, EntryPath, LayerIndex, LayerWriter, Metadata};
use tempfile::TempDir;

fn main() {
    divan::main();
}

/// A Dockerfile of so many lines, two of them a RUN instruction.
#[divan::bench(args = [50, 500, 5_000, 50_000, 500_000])]
fn parse(bencher: Bencher<'_, '_>, lines: usize) {
    let mut text = String::from("FROM alpine AS build\n");
    for number in 0..lines / 2 {
        text.push_str(&format!(
            "RUN --mount=type=cache,target=/root/.cache \\\n    make part{number} && echo \"$HOME\"\n"
        ));
    }
    bencher
        .counter(ItemsCount::new(lines))
        .bench(|| Dockerfile::parse(divan::black_box(text.as_bytes())).unwrap());
}

/// The key of a step with so many variables.
#[divan::bench(args = [10, 100])]
fn key(bencher: Bencher<'_, '_>, variables: usize) {
    let names: Vec<String> = (0..variables)
        .map(|number| format!("NAME_{number}"))
        .collect();
    bencher.bench(|| {
        let mut encoder = Encoder::new("bench", 1);
        encoder.text("command", "npm ci");
        encoder.map("env", names.iter().map(|name| (name.as_str(), "value")));
        encoder.finish()
    });
}

fn tree(files: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..files {
        let inner = folder.path().join(format!("d{}", number / 100));
        fs_err::create_dir_all(&inner).unwrap();
        fs_err::write(inner.join(format!("f{number}")), format!("file {number}\n")).unwrap();
    }
    folder
}

/// A walk of a context whose files are all known: what a warm build does.
#[divan::bench(args = [100, 10_000])]
fn walk(bencher: Bencher<'_, '_>, files: usize) {
    let folder = tree(files);
    let context = Context::open(folder.path(), Patterns::default()).unwrap();
    let mut cache = StatCache::default();
    let walked = |cache: &mut StatCache| {
        let mut walk = context.walk(std::path::Path::new("")).unwrap();
        context.digest(&mut walk.entries, cache).unwrap();
        walk.entries.len()
    };
    walked(&mut cache);
    bencher
        .counter(ItemsCount::new(files))
        .bench_local(|| walked(&mut cache));
}

fn layer(files: usize) -> (Vec<u8>, LayerIndex) {
    let mut writer = LayerWriter::new(Vec::new());
    for number in 0..files {
        let folder = EntryPath::parse(format!("d{:04}", number / 100).as_bytes()).unwrap();
        if number % 100 == 0 {
            writer
                .append(&Entry::directory(
                    folder.clone(),
                    Metadata::with_mode(0o755),
                ))
                .unwrap();
        }
        let path = folder.child(format!("f{number:06}").as_bytes()).unwrap();
        let text = format!("file {number} ").repeat(40);
        writer
            .append_file(
                &path,
                &Metadata::with_mode(0o644),
                text.len() as u64,
                &mut text.as_bytes(),
            )
            .unwrap();
    }
    let layer = writer.finish().unwrap();
    (layer.writer, layer.index)
}

/// The tar of so many files of half a kibibyte, with both hashes and the index.
#[divan::bench(args = [100, 10_000])]
fn tar(bencher: Bencher<'_, '_>, files: usize) {
    bencher
        .counter(ItemsCount::new(files))
        .bench(|| layer(files));
}

/// Reading the index of a layer of so many files.
#[divan::bench(args = [100, 10_000])]
fn index(bencher: Bencher<'_, '_>, files: usize) {
    let bytes = layer(files).1.encode();
    bencher
        .counter(ItemsCount::new(files))
        .bench(|| LayerIndex::decode(divan::black_box(&bytes)).unwrap());
}

/// Sixteen mebibytes of text on all cores.
#[divan::bench(args = [Codec::Gzip { level: 6 }, Codec::Zstd { level: 3 }])]
fn compress(bencher: Bencher<'_, '_>, codec: Codec) {
    let mut text = Vec::new();
    let mut number = 1u64;
    while text.len() < 16 << 20 {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        writeln!(text, "line {} of some text", number >> 40).unwrap();
    }
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    bencher.counter(BytesCount::of_slice(&text)).bench(|| {
        let mut compressor = Compressor::new(std::io::sink(), codec, threads).unwrap();
        compressor.write_all(&text).unwrap();
        compressor.finish().unwrap()
    });
}
