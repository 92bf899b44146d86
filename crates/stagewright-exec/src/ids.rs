//! The ids that a user may use: the own ones, those of `/etc/subuid` and `/etc/subgid`, and for root
//! of a container those of the container.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;

/// Where programs of the host are looked for: never along a caller's `PATH`.
const PROGRAM_FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"];

/// Finds a program of the host's.
pub(crate) fn program_in_folders(name: &str) -> Option<PathBuf> {
    let folders = PROGRAM_FOLDERS.iter();
    folders
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

/// A user and a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Ids {
    pub(crate) fn of_this_process() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }
}

/// A range of ids: the first, and how many.
type Range = (u32, u32);

/// Which ids a new user namespace gets besides the own ones.
#[derive(Debug)]
pub(crate) enum MoreIds {
    /// Those that two setuid programs map for a plain user.
    Subordinate(SubordinateIds),
    /// Those that this process's own user namespace has, under the same numbers.
    Kept(KeptIds),
}

impl MoreIds {
    /// Finds those that this process may map; fails with what is missing.
    pub(crate) fn of_this_process() -> Result<Self, String> {
        if Ids::of_this_process().uid == 0 {
            KeptIds::of_this_process().map(Self::Kept)
        } else {
            SubordinateIds::of_this_user().map(Self::Subordinate)
        }
    }

    /// Maps the ids of a process's new user namespace.
    pub(crate) fn map(&self, own: Ids, pid: u32) -> io::Result<()> {
        match self {
            Self::Subordinate(ids) => ids.map(own, pid),
            Self::Kept(ids) => ids.map(pid),
        }
    }
}

/// The ids that are known in the user namespace of this process.
#[derive(Debug)]
pub(crate) struct KeptIds {
    uids: Vec<Range>,
    gids: Vec<Range>,
}

impl KeptIds {
    fn of_this_process() -> Result<Self, String> {
        let known = |file: &str| {
            let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
            Ok::<_, String>(known_ranges(&text))
        };
        let (uids, gids) = (known("/proc/self/uid_map")?, known("/proc/self/gid_map")?);
        let count = |ranges: &[Range]| {
            ranges
                .iter()
                .map(|(_, count)| u64::from(*count))
                .sum::<u64>()
        };
        let fewest = count(&uids).min(count(&gids));
        if fewest < 2 {
            return Err(
                "the user namespace that this process is in has one id only: make it with more (`podman run` does where /etc/subuid has a range)"
                    .to_owned(),
            );
        }
        Ok(Self { uids, gids })
    }

    /// Root of a container may do so by itself, with CAP_SETUID, CAP_SETGID and CAP_SETFCAP.
    fn map(&self, pid: u32) -> io::Result<()> {
        for (file, ranges) in [("uid_map", &self.uids), ("gid_map", &self.gids)] {
            let line = |(first, count): &Range| format!("{first} {first} {count}\n");
            let text: String = ranges.iter().map(line).collect();
            fs::write(format!("/proc/{pid}/{file}"), text)?;
        }
        Ok(())
    }
}

/// Returns the ranges of a map, as they are numbered inside.
fn known_ranges(map: &str) -> Vec<Range> {
    let range = |line: &str| {
        let mut fields = line.split_whitespace();
        Some((fields.next()?.parse().ok()?, fields.nth(1)?.parse().ok()?))
    };
    map.lines().filter_map(range).collect()
}

/// Whether this process is root of the host: root, with the right to mount, in the first user
/// namespace, where overlayfs may use attributes that only root has.
pub(crate) fn is_root_of_the_host() -> bool {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let map = known_ranges(&read("/proc/self/uid_map"));
    Ids::of_this_process().uid == 0
        && effective_capabilities(&read("/proc/self/status")) & CAP_SYS_ADMIN != 0
        && map == [(0, u32::MAX)]
}

/// Whether this process is root and may change its root directory.
pub(crate) fn may_change_root() -> bool {
    const CAP_SYS_CHROOT: u64 = 1 << 18;
    Ids::of_this_process().uid == 0 && own_capabilities() & CAP_SYS_CHROOT != 0
}

/// Whether root of this process's user namespace may be root of another one.
pub(crate) fn may_map_root() -> bool {
    const CAP_SETFCAP: u64 = 1 << 31;
    own_capabilities() & CAP_SETFCAP != 0
}

/// Whether this process is root and may give files to anybody and work on everybody's.
#[must_use]
pub fn may_own_files() -> bool {
    // chown, dac_override, fowner, fsetid.
    const OWNING: u64 = 0b11011;
    // A plain user is told from that at once.
    Ids::of_this_process().uid == 0
        && own_capabilities() & OWNING == OWNING
        && KeptIds::of_this_process().is_ok()
}

fn own_capabilities() -> u64 {
    effective_capabilities(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// Reads the capabilities in force out of `/proc/self/status`.
fn effective_capabilities(status: &str) -> u64 {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix("CapEff:"));
    value.map_or(0, |value| {
        u64::from_str_radix(value.trim(), 16).unwrap_or(0)
    })
}

/// The ranges that a user may use besides the own ids, and the programs that map them.
#[derive(Debug)]
pub(crate) struct SubordinateIds {
    uids: Vec<Range>,
    gids: Vec<Range>,
    newuidmap: PathBuf,
    newgidmap: PathBuf,
}

impl SubordinateIds {
    /// Finds those of the user of this process; fails with what is missing.
    fn of_this_user() -> Result<Self, String> {
        let uid = Ids::of_this_process().uid;
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = name_of(&passwd, uid);
        let ranges = |file: &str| {
            let found = ranges(
                &fs::read_to_string(file).unwrap_or_default(),
                name.as_deref(),
                uid,
            );
            if found.is_empty() {
                let who = name.clone().unwrap_or_else(|| uid.to_string());
                return Err(format!(
                    "{file} has no range for {who}: add one (`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who}`)"
                ));
            }
            Ok(found)
        };
        let program = |name: &str| {
            let missing =
                || format!("{name} is not installed: install the package uidmap (shadow-utils)");
            program_in_folders(name).ok_or_else(missing)
        };
        Ok(Self {
            uids: ranges("/etc/subuid")?,
            gids: ranges("/etc/subgid")?,
            newuidmap: program("newuidmap")?,
            newgidmap: program("newgidmap")?,
        })
    }

    /// Root is the own id, the ranges follow.
    fn map(&self, own: Ids, pid: u32) -> io::Result<()> {
        for (program, own, ranges) in [
            (&self.newuidmap, own.uid, &self.uids),
            (&self.newgidmap, own.gid, &self.gids),
        ] {
            let mut command = Command::new(program);
            command
                .arg(pid.to_string())
                .args(["0", &own.to_string(), "1"]);
            let mut inside = 1u32;
            for (first, count) in ranges {
                command.args([inside.to_string(), first.to_string(), count.to_string()]);
                inside = inside.saturating_add(*count);
            }
            let output = command.env_clear().stdin(Stdio::null()).output()?;
            // Its status may have been taken by a host that reaps every child: the map tells.
            let map = fs::read_to_string(format!(
                "/proc/{pid}/{}_map",
                if program == &self.newuidmap {
                    "uid"
                } else {
                    "gid"
                }
            ))?;
            if map.trim().is_empty() {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(io::Error::other(format!(
                    "{} failed: {said}",
                    program.display()
                )));
            }
        }
        Ok(())
    }
}

/// Returns the name of a user.
fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Returns the ranges of a user out of the text of `/etc/subuid`.
fn ranges(text: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let uid = uid.to_string();
    let of_line = |line: &str| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (Some(who) == name || who == uid).then_some(range)
    };
    let found = text.lines().filter_map(of_line);
    found.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1001:1001::/home/ann:/bin/sh\n";
        assert_eq!(name_of(passwd, 1001).as_deref(), Some("ann"));
        assert_eq!(name_of(passwd, 7), None);
        let text = "bob:100000:65536\nann:165536:65536\n1001:300000:10\nann:1:0\nann:x:y\n# ann\n";
        assert_eq!(
            ranges(text, Some("ann"), 1001),
            [(165_536, 65_536), (300_000, 10)]
        );
        assert_eq!(ranges(text, None, 1001), [(300_000, 10)]);
        assert_eq!(ranges(text, None, 7), []);
    }

    #[test]
    fn maps_and_capabilities_are_read_as_the_kernel_writes_them() {
        let whole = "         0          0 4294967295\n";
        assert_eq!(known_ranges(whole), [(0, u32::MAX)]);
        let container = "         0       1001          1\n         1     100000      65536\n";
        assert_eq!(known_ranges(container), [(0, 1), (1, 65_536)]);
        assert_eq!(known_ranges("x y z\n\n"), []);
        let status = "Name:\tx\nCapPrm:\t0000000000000001\nCapEff:\t00000000a80425fb\n";
        assert_eq!(effective_capabilities(status), 0xa804_25fb);
        assert_eq!(effective_capabilities(""), 0);
    }
}
