//! A small base image, made of this machine's static BusyBox without any other tool.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::process::{output, program};
use crate::{ImageWriter, LayerTar};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww:x:33:33:www:/var/www:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\nstaff:x:50:www\nwww:x:33:\nnobody:x:65534:\n";

/// Writes a BusyBox image as an OCI layout into a folder that is made, under the tag `latest`.
///
/// The applets are hard links to one file, as in the image that people know by that name.
///
/// # Panics
///
/// When this machine has no static BusyBox (Debian's package is `busybox-static`).
pub fn busybox(folder: &Path) {
    let file = program("busybox", "busybox-static");
    let applets = output(Command::new(&file).arg("--list")).success();
    let mut layer = LayerTar::new();
    for path in [
        "bin", "dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "usr/sbin", "var",
    ] {
        layer = layer.folder(path, 0o755);
    }
    layer = layer
        // Buildah makes this one in each RUN; here it is already.
        .folder("run", 0o755)
        .folder("root", 0o700)
        .folder("tmp", 0o1777)
        .owner(33, 33)
        .folder("var/www", 0o755)
        .owner(0, 0)
        .file("etc/passwd", 0o644, PASSWD)
        .file("etc/group", 0o644, GROUP)
        .file("bin/busybox", 0o755, fs_err::read(&file).unwrap());
    for applet in applets.stdout.lines().filter(|name| *name != "busybox") {
        layer = layer.hard_link(&format!("bin/{applet}"), "bin/busybox");
    }
    ImageWriter::new()
        .layer(layer)
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .config("Cmd", json!(["sh"]))
        .write(folder, "latest");
}
