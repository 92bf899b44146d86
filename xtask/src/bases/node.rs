//! `node:12-stretch`'s stand-in: the userland of this machine's distribution, with node and npm
//! in `/usr/local` when this machine has them, else as the distribution packages them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::layout::BaseImage;
use super::make::EPOCH;
use crate::host;

/// Runs inside the root that mmdebstrap makes.
pub(super) const HOOK: &str = include_str!("../../stand-ins/node-hook.sh");
/// Libraries that every root made here has; a node that needs more comes from the packages.
const LIBRARIES: [&str; 9] = [
    "linux-vdso",
    "libatomic.",
    "libc.",
    "libdl.",
    "libgcc_s.",
    "libm.",
    "libpthread.",
    "libstdc++.",
    "ld-linux",
];
/// Where machines keep their certificates.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Makes the root's tar in a folder, and beside it the bundle for the other stand-in.
pub(super) fn make(folder: &Path) -> Result<BaseImage> {
    let bundle = folder.join("bundle");
    fs_err::create_dir_all(&bundle)?;
    let hook = folder.join("node-hook.sh");
    fs_err::write(&hook, HOOK)?;
    let tar = folder.join("node.tar");
    let prefix = host_prefix();
    let mut packages = vec!["ca-certificates", "libatomic1", "libstdc++6"];
    if prefix.is_none() {
        packages.extend(["nodejs", "npm"]);
    }
    let source = distribution()?;
    let certificates = if Path::new(CERTIFICATES).exists() {
        CERTIFICATES
    } else {
        ""
    };
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--quiet", "--variant=minbase"])
        .arg(format!("--components={}", source.components))
        .arg(format!("--include={}", packages.join(",")))
        // A snapshot of the packages may be older than its own promise to be renewed.
        .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
        .arg(format!("--customize-hook=sh {} \"$1\"", hook.display()))
        .arg(&source.codename)
        .arg(&tar)
        .arg(&source.address)
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        .env("NODE_PREFIX", prefix.unwrap_or_default())
        .env("LESSON", host::lesson())
        .env("BUNDLE", &bundle)
        .env("CA_FILE", certificates)
        .stdin(Stdio::null());
    host::run(&mut command).context(
        "making the stand-in for node:12-stretch; it needs the distribution's packages and npm's",
    )?;
    let version = fs_err::read_to_string(bundle.join("nodejs.version"))?;
    Ok(BaseImage {
        tar,
        env: vec![
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            format!("NODE_VERSION={}", version.trim()),
            // The cache is filled; nothing need be asked of a network that may not be there.
            "NPM_CONFIG_PREFER_OFFLINE=true".to_owned(),
            "NPM_CONFIG_AUDIT=false".to_owned(),
            "NPM_CONFIG_FUND=false".to_owned(),
            "NPM_CONFIG_UPDATE_NOTIFIER=false".to_owned(),
        ],
        cmd: vec!["node".to_owned()],
    })
}

/// Says which node the stand-in takes and what it is built on.
pub(super) fn describe_host() -> Result<String> {
    let source = distribution()?;
    let node = match host_prefix() {
        Some(prefix) => host::output(Command::new(prefix.join("bin/node")).arg("--version"))?,
        None => "of the packages".to_owned(),
    };
    Ok(format!("{} {} {node}", source.codename, source.components))
}

/// Returns where this machine's node and npm lie, when they can be copied as they are.
fn host_prefix() -> Option<PathBuf> {
    let node = fs_err::canonicalize(host::find_program("node")?).ok()?;
    let prefix = node.parent()?.parent()?;
    let has_npm = prefix.join("lib/node_modules/npm/bin/npm-cli.js").is_file();
    let libraries = host::output(Command::new("ldd").arg(&node)).ok()?;
    let known = |line: &str| {
        let file = line.split_whitespace().next().unwrap_or_default();
        let name = file.rsplit('/').next().unwrap_or_default();
        LIBRARIES.iter().any(|library| name.starts_with(library))
    };
    let usual = node.ends_with("bin/node") && libraries.lines().all(known);
    (has_npm && usual).then(|| prefix.to_path_buf())
}

/// Where this machine's packages come from.
struct Distribution {
    address: String,
    codename: String,
    components: String,
}

/// Asks apt for the main archive of this machine's own release.
fn distribution() -> Result<Distribution> {
    let list = || {
        host::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ]))
    };
    let listed = list()?;
    let os_release = fs_err::read_to_string("/etc/os-release")?;
    let codename = os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release names no VERSION_CODENAME: is this Debian or Ubuntu?")?
        .trim_matches('"');
    main_archive(&listed, codename)
}

fn main_archive(listed: &str, codename: &str) -> Result<Distribution> {
    let mut found: Option<Distribution> = None;
    for line in listed.lines() {
        let [address, release, component] = line.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        // Ubuntu keeps npm in its component universe.
        if release != codename || !["main", "universe"].contains(&component) {
            continue;
        }
        let archive = found.get_or_insert_with(|| Distribution {
            address: address.to_owned(),
            codename: codename.to_owned(),
            components: component.to_owned(),
        });
        if archive.address == address && !archive.components.split(',').any(|c| c == component) {
            archive.components = format!("{},{component}", archive.components);
        }
    }
    match found {
        Some(archive) => Ok(archive),
        None => bail!("apt knows no archive of {codename}; does /etc/apt name one?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_that_of_the_release_itself() {
        let listed = "http://a/security stable-security main\n\
                      http://other/repo stable thirdparty\n\
                      http://a/debian stable main\n\
                      http://a/debian stable universe\n\
                      http://b/debian stable main\n";
        let archive = main_archive(listed, "stable").expect("because it is listed");
        assert_eq!(archive.address, "http://a/debian");
        assert_eq!(archive.components, "main,universe");
        assert!(main_archive(listed, "other").is_err());
    }
}
