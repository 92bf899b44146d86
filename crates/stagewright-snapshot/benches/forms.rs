//! What does it cost to make, change and read the forms of a layer of 20,000 small files, next to
//! GNU tar on the same files?
//!
//! `cargo bench -p stagewright-snapshot`, as root for the steps that make owners.

#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use stagewright_layer::{Codec, EntryPath, LayerIndex, Metadata, read_index};
use stagewright_snapshot::{
    Content, DirectAgent, Forms, Marks, MergedTree, OverlayXattrs, Snapshots, TreeAgent as _,
    TreeLayer, Unpacking,
};
use stagewright_store::{Store, StoreOptions};

const FILES: usize = 20_000;
const ROUNDS: usize = 5;

/// Runs something in turn with its competitors; prints the median and the least of each.
fn main() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    make_files(&source);
    let threads = std::thread::available_parallelism().unwrap();
    println!(
        "{FILES} files, 72 MB, {threads} threads, {}",
        folder.path().display()
    );
    let mut times: Vec<(&str, Vec<f64>)> = Vec::new();
    for round in 0..ROUNDS {
        let place = folder.path().join(format!("round-{round}"));
        fs_err::create_dir(&place).unwrap();
        for (at, (name, milliseconds)) in measure(&place, &source, threads).into_iter().enumerate()
        {
            if times.len() == at {
                times.push((name, Vec::new()));
            }
            times[at].1.push(milliseconds);
        }
        fs_err::remove_dir_all(&place).unwrap();
    }
    for (name, mut all) in times {
        all.sort_by(f64::total_cmp);
        println!(
            "{name:44} median {:7.1} ms, least {:7.1} ms",
            all[all.len() / 2],
            all[0]
        );
    }
}

fn make_files(source: &Path) {
    for number in 0..FILES {
        let directory = source.join(format!("folder-{}", number / 40));
        fs_err::create_dir_all(&directory).unwrap();
        let length = 1_000 + (number * 7_919) % 5_200;
        let content: Vec<u8> = (0..length).map(|at| (at * number % 251) as u8).collect();
        fs_err::write(directory.join(format!("file-{number}")), content).unwrap();
    }
}

fn measure(place: &Path, source: &Path, threads: NonZeroUsize) -> Vec<(&'static str, f64)> {
    let mut times = Vec::new();
    let agent = DirectAgent::new(OverlayXattrs::Trusted, threads.get());
    let scanned = time(&mut times, "scan (read and hash)", || {
        agent.scan(source, Marks::Overlayfs).unwrap()
    });
    let tar = place.join("gnu.tar");
    let gnu = |arguments: &[&str], at: &Path| {
        let mut command = Command::new("tar");
        command.args(arguments).arg(&tar).arg("-C").arg(at);
        if arguments[0] == "-cf" {
            command.arg(".");
        }
        assert!(command.status().unwrap().success());
    };
    time(&mut times, "tar -cf", || gnu(&["-cf"], source));
    let out = place.join("gnu");
    fs_err::create_dir(&out).unwrap();
    time(&mut times, "tar -xf", || gnu(&["-xf"], &out));
    let store = Store::open(StoreOptions {
        path: place.join("store"),
    })
    .unwrap();
    let snapshots = Snapshots::new(store, Arc::new(agent), threads);
    let tree_layer = TreeLayer {
        index: Arc::new(scanned.clone()),
        packed: None,
        unpacked: Some(source.to_owned()),
        keeper: None,
        namespace: None,
    };
    let written = time(&mut times, "pack (both hashes, index)", || {
        agent
            .pack(
                &tree_layer,
                &mut fs_err::File::create(place.join("packed.tar")).unwrap(),
            )
            .unwrap()
    });
    let packed = TreeLayer {
        index: Arc::new(written.index),
        packed: Some(place.join("packed.tar")),
        unpacked: None,
        keeper: None,
        namespace: None,
    };
    time(&mut times, "unpack (checked)", || {
        agent
            .unpack(&Unpacking::Layer(&packed), &place.join("unpacked"))
            .unwrap()
    });
    let bytes = fs_err::read(place.join("packed.tar")).unwrap();
    time(&mut times, "read a tar (both hashes)", || {
        read_index(&bytes[..]).unwrap()
    });
    for (name, forms) in [
        ("COPY, packed and durable", Forms::PACKED),
        ("COPY, unpacked and durable", Forms::UNPACKED),
    ] {
        time(&mut times, name, || {
            copy(&snapshots, &scanned, source, forms)
        });
    }
    let stored = scanned.encode();
    time(&mut times, "encode an index", || scanned.encode());
    time(&mut times, "decode an index", || {
        LayerIndex::decode(&stored).unwrap()
    });
    time(&mut times, "name a layer", || scanned.content_digest());
    let tree = MergedTree::new([tree_layer.clone(), packed]);
    time(&mut times, "walk two layers merged", || {
        tree.walk(&EntryPath::root()).count()
    });
    time(&mut times, "look 20,000 paths up in two layers", || {
        scanned
            .entries()
            .filter(|entry| tree.lookup(&entry.path).is_some())
            .count()
    });
    for (name, codec) in [("gzip -6", Codec::GZIP), ("zstd -3", Codec::ZSTD)] {
        let mut compressor =
            stagewright_layer::Compressor::new(Vec::new(), codec, threads).unwrap();
        let size = time(&mut times, name, || {
            std::io::Write::write_all(&mut compressor, &bytes).unwrap();
            compressor.finish().unwrap().len()
        });
        assert!(size < bytes.len());
    }
    times
}

fn copy(snapshots: &Snapshots, scanned: &LayerIndex, source: &Path, forms: Forms) {
    let mut builder = snapshots.builder(MergedTree::default(), forms);
    for entry in scanned.entries().filter(|entry| !entry.path.is_root()) {
        if entry.kind.is_directory() {
            builder.directory(entry.path.clone(), Metadata::with_mode(0o755));
        } else {
            let content = Content::file(entry.path.below(source));
            // Other owners keep the two copies apart in the store.
            let metadata = Metadata {
                gid: u32::from(forms.packed),
                ..entry.metadata.clone()
            };
            builder.file(entry.path.clone(), metadata, content);
        }
    }
    builder.finish().unwrap().unwrap();
}

fn time<T>(times: &mut Vec<(&'static str, f64)>, name: &'static str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    times.push((name, start.elapsed().as_secs_f64() * 1000.0));
    result
}
