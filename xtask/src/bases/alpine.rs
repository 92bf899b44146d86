//! `alpine:3.10`'s stand-in: a BusyBox userland with an `apk` that installs node out of a bundle.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tar::{EntryType, Header};

use super::layout::BaseImage;
use super::make::EPOCH;
use crate::host;

/// The programs that Debian's BusyBox lacks, by their paths.
pub(super) const SCRIPTS: [(&str, &str); 3] = [
    ("sbin/apk", include_str!("../../stand-ins/apk")),
    (
        "usr/sbin/addgroup",
        include_str!("../../stand-ins/addgroup"),
    ),
    ("usr/sbin/adduser", include_str!("../../stand-ins/adduser")),
];

const FOLDERS: [(&str, u32); 20] = [
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("lib", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sbin", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/lib", 0o755),
    ("usr/sbin", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/lib/apk-bundle", 0o755),
    ("var/tmp", 0o1777),
];

const FILES: [(&str, u32, &str); 6] = [
    (
        "etc/os-release",
        0o644,
        "NAME=\"Stand-in for Alpine Linux\"\nID=stagewright-stand-in\nVERSION_ID=3.10\nPRETTY_NAME=\"Stand-in for the image alpine:3.10: BusyBox of Debian, made by stagewright's cargo xtask\"\n",
    ),
    (
        "etc/issue",
        0o644,
        "Stand-in for alpine:3.10, made by stagewright's cargo xtask\n",
    ),
    (
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/sh\nbin:x:1:1:bin:/bin:/sbin/nologin\ndaemon:x:2:2:daemon:/sbin:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
    ),
    (
        "etc/group",
        0o644,
        "root:x:0:root\nbin:x:1:root,bin,daemon\ndaemon:x:2:root,bin,daemon\nnogroup:x:65533:\nnobody:x:65534:\n",
    ),
    (
        "etc/shadow",
        0o640,
        "root:!::0:::::\nbin:!::0:::::\ndaemon:!::0:::::\nnobody:!::0:::::\n",
    ),
    ("etc/shells", 0o644, "/bin/sh\n/bin/ash\n"),
];

/// Makes the root's tar in a folder that holds the bundle.
pub(super) fn make(folder: &Path) -> Result<BaseImage> {
    let busybox = host::find_program("busybox").context("there is no busybox")?;
    let tar = folder.join("alpine.tar");
    let mut root = Root {
        tar: tar::Builder::new(fs_err::File::create(&tar)?),
    };
    for (path, mode) in FOLDERS {
        root.entry(EntryType::Directory, mode, path, &[])?;
    }
    for (path, mode, text) in FILES {
        root.entry(EntryType::Regular, mode, path, text.as_bytes())?;
    }
    root.entry(
        EntryType::Regular,
        0o755,
        "bin/busybox",
        &fs_err::read(&busybox)?,
    )?;
    for (path, text) in SCRIPTS {
        root.entry(EntryType::Regular, 0o755, path, text.as_bytes())?;
    }
    for applet in applets(&host::output(Command::new(&busybox).arg("--list-full"))?) {
        root.link(&applet, "/bin/busybox")?;
    }
    for name in ["nodejs.tar.gz", "nodejs.version"] {
        let content = fs_err::read(folder.join("bundle").join(name))?;
        let path = format!("var/lib/apk-bundle/{name}");
        root.entry(EntryType::Regular, 0o644, &path, &content)?;
    }
    root.tar.into_inner()?;
    Ok(BaseImage {
        tar,
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        cmd: vec!["/bin/sh".to_owned()],
    })
}

/// Returns the paths of the applets that become links: all but what the scripts bring and what
/// would claim to be another distribution's package program.
fn applets(listed: &str) -> BTreeSet<String> {
    let taken = |path: &str| {
        SCRIPTS.iter().any(|(script, _)| *script == path)
            || ["busybox", "dpkg", "dpkg-deb", "rpm"]
                .iter()
                .any(|name| path.ends_with(name))
    };
    let path = |line: &str| match line {
        "linuxrc" => None,
        path if taken(path) => None,
        path => Some(path.to_owned()),
    };
    listed.lines().filter_map(path).collect()
}

struct Root {
    tar: tar::Builder<fs_err::File>,
}

impl Root {
    fn entry(&mut self, kind: EntryType, mode: u32, path: &str, content: &[u8]) -> Result<()> {
        let mut header = header(kind, mode);
        header.set_size(content.len() as u64);
        self.tar.append_data(&mut header, path, content)?;
        Ok(())
    }

    fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.tar
            .append_link(&mut header(EntryType::Symlink, 0o777), path, target)?;
        Ok(())
    }
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(EPOCH);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applets_do_not_hide_the_scripts() {
        let listed = "bin/busybox\nbin/sh\nlinuxrc\nusr/bin/dpkg\nusr/sbin/adduser\nusr/bin/[\n";
        let found: Vec<String> = applets(listed).into_iter().collect();
        assert_eq!(found, ["bin/sh", "usr/bin/["]);
    }
}
