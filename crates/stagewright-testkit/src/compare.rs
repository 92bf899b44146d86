//! What differs between two images, in lines that a person reads.

use std::fmt::Debug;

use crate::{Image, ImageConfig, Rootfs};

/// Past this many lines a list of paths says nothing new.
const PATHS_SHOWN_MAX: usize = 40;

/// Returns what differs between two images, ours first: config, history, files.
///
/// History is compared by its length: builders word it differently, and disagree about which
/// entries have a layer (a WORKDIR that makes its folder is one).
#[must_use]
pub fn differences(ours: &Image, theirs: &Image) -> Vec<String> {
    let mut lines = config_differences(&ours.config, &theirs.config);
    lines.extend(rootfs_differences(&ours.rootfs, &theirs.rootfs));
    lines
}

/// Returns what differs between two configs.
#[must_use]
pub fn config_differences(ours: &ImageConfig, theirs: &ImageConfig) -> Vec<String> {
    let mut fields = Fields::default();
    fields.compare("Env", &ours.env, &theirs.env);
    fields.compare("Cmd", &ours.cmd, &theirs.cmd);
    fields.compare("Entrypoint", &ours.entrypoint, &theirs.entrypoint);
    fields.compare("User", &ours.user, &theirs.user);
    fields.compare(
        "WorkingDir",
        &directory(&ours.working_dir),
        &directory(&theirs.working_dir),
    );
    fields.compare("Labels", &ours.labels, &theirs.labels);
    fields.compare("ExposedPorts", &ours.exposed_ports, &theirs.exposed_ports);
    fields.compare("Volumes", &ours.volumes, &theirs.volumes);
    fields.compare("StopSignal", &ours.stop_signal, &theirs.stop_signal);
    fields.compare("OnBuild", &ours.on_build, &theirs.on_build);
    fields.compare("Shell", &ours.shell, &theirs.shell);
    fields.compare("platform", &ours.platform, &theirs.platform);
    fields.compare(
        "history entries",
        &ours.history.len(),
        &theirs.history.len(),
    );
    fields.lines
}

/// Returns what differs between two root file systems, a line a path.
#[must_use]
pub fn rootfs_differences(ours: &Rootfs, theirs: &Rootfs) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, entry) in &ours.entries {
        match theirs.entries.get(path) {
            None => lines.push(format!("/{path}: only ours: {entry}")),
            Some(other) if other != entry => {
                lines.push(format!("/{path}: ours {entry}, theirs {other}"));
            }
            Some(_) => {}
        }
    }
    for (path, entry) in &theirs.entries {
        if !ours.entries.contains_key(path) {
            lines.push(format!("/{path}: only theirs: {entry}"));
        }
    }
    if lines.len() > PATHS_SHOWN_MAX {
        let more = lines.len() - PATHS_SHOWN_MAX;
        lines.truncate(PATHS_SHOWN_MAX);
        lines.push(format!("and {more} more paths"));
    }
    lines
}

/// An image without a working directory starts in the root.
fn directory(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

#[derive(Default)]
struct Fields {
    lines: Vec<String>,
}

impl Fields {
    fn compare<T: PartialEq + Debug>(&mut self, name: &str, ours: &T, theirs: &T) {
        if ours != theirs {
            self.lines
                .push(format!("{name}: ours {ours:?}, theirs {theirs:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{ImageWriter, LayerTar};

    fn image(writer: ImageWriter) -> Image {
        let folder = tempfile::tempdir().unwrap();
        writer.write(folder.path(), "a");
        Image::read(folder.path())
    }

    #[test]
    fn the_same_content_in_other_layers_is_no_difference() {
        let one = image(
            ImageWriter::new().layer(LayerTar::new().folder("d", 0o755).file("d/a", 0o644, "a")),
        );
        let two = image(
            ImageWriter::new()
                .uncompressed()
                .layer(LayerTar::new().folder("d", 0o755).file("d/b", 0o644, "b"))
                .layer(LayerTar::new().file("d/a", 0o644, "a").whiteout("d/b")),
        );
        assert_eq!(rootfs_differences(&one.rootfs, &two.rootfs), [""; 0]);
        assert_eq!(
            differences(&one, &two),
            ["history entries: ours 1, theirs 2"]
        );
    }

    #[test]
    fn each_difference_has_its_line() {
        let one = image(
            ImageWriter::new()
                .layer(LayerTar::new().file("a", 0o644, "a").file("b", 0o644, "b"))
                .env("A", "1"),
        );
        let two = image(
            ImageWriter::new()
                .layer(LayerTar::new().file("a", 0o600, "a").file("c", 0o644, "c"))
                .config("User", json!("node")),
        );
        assert_eq!(
            differences(&one, &two),
            [
                "Env: ours [\"A=1\"], theirs []",
                "User: ours \"\", theirs \"node\"",
                "/a: ours file 1 bytes ca978112ca1b 644 0:0, theirs file 1 bytes ca978112ca1b 600 0:0",
                "/b: only ours: file 1 bytes 3e23e8160039 644 0:0",
                "/c: only theirs: file 1 bytes 2e7d2c03a950 644 0:0",
            ]
        );
    }
}
