//! Images that are larger than the memory that may be used for them.

use std::process::Command;

use stagewright_testkit::{
    DockerRegistry, Image, ImageWriter, LayerTar, Memory, Output, Project, Stagewright, output,
};

/// What the kernel lets a process have, in KiB: heap, stacks and other private memory that can be
/// written to.
const MEMORY_KIB_MAX: usize = 155_000;
/// No layer fits into it.
const LAYER_BYTES: usize = 160 << 20;

/// A KiB of each does not fit into what there is for them.
const ENTRIES: usize = 120_000;
const ENTRIES_KIB_MAX: usize = 100_000;

/// Runs a command under the limit.
fn limited(command: &Command) -> Output {
    limited_to(MEMORY_KIB_MAX, command)
}

fn limited_to(memory_kib_max: usize, command: &Command) -> Output {
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("ulimit -d {memory_kib_max} && exec \"$@\""))
        .arg("sh")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    output(&mut shell)
}

/// Bytes that no compression makes smaller.
fn noise() -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut bytes = Vec::with_capacity(LAYER_BYTES);
    while bytes.len() < LAYER_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// The limit is one: who holds that much does not get it.
#[test]
fn the_limit_ends_what_exceeds_it() {
    let mut hold = Command::new("sh");
    hold.args([
        "-c",
        "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}",
    ]);
    assert!(!limited(&hold).status.success());
}

/// From a layout into a registry, from there into the store and into an archive, and out again in other
/// forms; no command holds a layer.
#[test]
#[ignore = "needs docker-registry"]
fn privileged_layers_are_larger_than_memory() {
    let stagewright = Stagewright::new();
    let registry = DockerRegistry::open();
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).display().to_string();
    {
        let layer = LayerTar::new().file("large", 0o644, noise());
        let writer = ImageWriter::new().uncompressed().layer(layer);
        writer.write(&out.path().join("layout"), "1");
    }
    let verb = |words: &[&str]| {
        let mut command = stagewright.command(words[0]);
        command
            .args(&words[1..])
            .arg("--store")
            .arg(stagewright.store());
        let _ = limited(&command).success();
    };
    let name = format!("{}/large:1", registry.address());
    let remote = format!("docker://{name}");
    verb(&["copy", &format!("oci:{}", path("layout")), &remote]);
    verb(&["pull", &name]);
    verb(&["save", "-o", &path("saved.tar"), &name]);
    verb(&["rmi", &name]);
    verb(&["cache", "prune", "--all"]);
    verb(&["load", "-i", &path("saved.tar")]);
    let from = Project::new().file(
        "Dockerfile",
        format!("FROM {name}\nCOPY --from={name} / /x/\n"),
    );
    let archive = format!(
        "type=oci,dest={},compression=zstd,force-compression=true",
        path("zstd.tar")
    );
    let files = format!("type=local,dest={}", path("files"));
    let pushed = format!(
        "type=registry,name={name}-2,compression=gzip,compression-level=1,force-compression=true"
    );
    let outputs = ["-o", &archive, "-o", &files, "-o", &pushed];
    let _ = limited(&stagewright.build_command(&from, &outputs)).success();
    let image = Image::read(&out.path().join("zstd.tar"));
    assert!(image.rootfs.get("/x/large").is_some());
    let squashed = ["--squash-all", "-t", "squashed"];
    let _ = limited(&stagewright.build_command(&from, &squashed)).success();
}

/// A layer of others is indexed and unpacked without its entries being held as such.
#[test]
#[ignore = "needs root: the store lies in memory"]
fn privileged_a_layer_has_more_entries_than_fit_into_memory() {
    let memory = Memory::new();
    let stagewright = Stagewright::new_in(memory.path());
    let layout = memory.path().join("layout");
    {
        // Not in order, as any tar may be.
        let names = (0..ENTRIES).rev();
        let layer = names.fold(LayerTar::new(), |layer, number| {
            let name = format!("folder-{}/entry-{number}", number % 200);
            layer.file(&name, 0o644, "")
        });
        ImageWriter::new()
            .uncompressed()
            .layer(layer)
            .write(&layout, "1");
    }
    let from = format!("oci:{}", layout.display());
    let mut copy = stagewright.command("copy");
    copy.args([&from, "entries:1", "--store"])
        .arg(stagewright.store());
    let _ = limited_to(ENTRIES_KIB_MAX, &copy).success();
    let layers = fs_err::read_dir(stagewright.store().join("layers")).unwrap();
    let files = layers.map(|layer| layer.unwrap().path().join("fs"));
    let folders: Vec<_> = files
        .flat_map(|files| fs_err::read_dir(files).unwrap())
        .collect();
    assert_eq!(folders.len(), 200);
    let count = |folder: std::path::PathBuf| fs_err::read_dir(folder).unwrap().count();
    let entries = folders
        .into_iter()
        .map(|folder| count(folder.unwrap().path()));
    assert_eq!(entries.sum::<usize>(), ENTRIES);
}
