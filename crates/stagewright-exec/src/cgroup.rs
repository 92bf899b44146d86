//! Cgroups of steps: found on the host, made with their limits, removed.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fs_err as fs;

use crate::error::ExecError;
use crate::message::CgroupPlace;
use crate::step::{Limits, Step};

/// What the names of steps' cgroups begin with.
const PREFIX: &str = "stagewright-";
/// How often, a millisecond apart, a cgroup is asked to go that processes are still ending in.
const TRIES: usize = 200;
/// The period of a quota, unless given.
const PERIOD_US: u64 = 100_000;
/// The controllers that a step with a parent of its own is put under, where they are.
const CONTROLLERS: [&str; 5] = ["memory", "cpu", "cpuacct", "cpuset", "pids"];

/// The cgroups of one step. They are removed with this value, if they are still there.
#[derive(Debug, Default)]
pub(crate) struct StepCgroups {
    made: Vec<CgroupPlace>,
    /// Parents that were missing, in the order in which they were made.
    parents: Vec<PathBuf>,
}

impl StepCgroups {
    /// Makes those that a step asks for; none when it asks for no limit.
    pub(crate) fn of(step: &Step) -> Result<Self, ExecError> {
        if step.limits == Limits::default() && step.cgroup_parent.is_none() {
            return Ok(Self::default());
        }
        let read = |file: &str| fs::read_to_string(file).map_err(ExecError::Cgroups);
        let (mounts, own) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
        Self::make(&hierarchies(&mounts, &own), step)
    }

    fn make(hierarchies: &[Hierarchy], step: &Step) -> Result<Self, ExecError> {
        let mut made = Self::default();
        let parent = step.cgroup_parent.as_deref().map(below_root).transpose()?;
        let wanted = settings(&step.limits)?;
        for (controller, _) in &wanted {
            if hierarchies
                .iter()
                .all(|hierarchy| !hierarchy.has(controller))
            {
                return Err(ExecError::Unsupported(format!(
                    "{}: there is no cgroup controller `{controller}` on this host: leave the limit out, or mount it",
                    what_is_limited(controller)
                )));
            }
        }
        let name = new_name();
        let mut refused = None;
        for hierarchy in hierarchies {
            let mut wanted: Vec<_> = wanted
                .iter()
                .filter(|(controller, _)| hierarchy.has(controller))
                .collect();
            // In the first that has it.
            wanted.retain(|(controller, _)| {
                hierarchies.iter().find(|other| other.has(controller)) == Some(hierarchy)
            });
            let for_parent = parent.is_some()
                && (hierarchy.unified || CONTROLLERS.iter().any(|name| hierarchy.has(name)));
            if wanted.is_empty() && !for_parent {
                continue;
            }
            let controllers: Vec<&str> = wanted.iter().map(|(controller, _)| *controller).collect();
            let directory = match made.directory(hierarchy, parent.as_deref(), &controllers, &name)
            {
                // A parent that this process may use in some hierarchies only.
                Err(error) if wanted.is_empty() => {
                    refused = refused.or(Some(error));
                    continue;
                }
                other => other?,
            };
            let kills = controllers.contains(&"memory").then(|| {
                if hierarchy.unified {
                    "memory.events"
                } else {
                    "memory.oom_control"
                }
                .to_owned()
            });
            made.made.push(CgroupPlace {
                directory: directory.clone(),
                limits: !wanted.is_empty(),
                kills,
            });
            if !hierarchy.unified && hierarchy.has("cpuset") {
                inherit_cpuset(&directory).map_err(|error| cannot(&directory, &error))?;
            }
            for (_, limit) in wanted {
                limit.set(hierarchy.unified, &directory)?;
            }
        }
        match refused {
            Some(error) if made.made.is_empty() => Err(error),
            _ => Ok(made),
        }
    }

    /// Returns where they are.
    pub(crate) fn places(&self) -> &[CgroupPlace] {
        &self.made
    }

    /// Makes the directory of one of them.
    fn directory(
        &mut self,
        hierarchy: &Hierarchy,
        parent: Option<&Path>,
        controllers: &[&str],
        name: &str,
    ) -> Result<PathBuf, ExecError> {
        if let Some(parent) = parent {
            let place = self.make_parents(hierarchy, parent, controllers)?;
            clean(&place);
            let directory = place.join(name);
            fs::create_dir(&directory).map_err(|error| cannot(&directory, &error))?;
            return Ok(directory);
        }
        // In the unified hierarchy, a cgroup with processes gives its children no controllers: they
        // are made beside it then.
        let mut failure = None;
        let places = hierarchy.own.ancestors();
        for place in places.take_while(|place| place.starts_with(&hierarchy.mounted)) {
            clean(place);
            let directory = place.join(name);
            let made = hierarchy
                .offer(place, controllers)
                .and_then(|()| fs::create_dir(&directory));
            match made {
                Ok(()) => return Ok(directory),
                Err(error) => failure = failure.or(Some(cannot(place, &error))),
            }
            if !hierarchy.unified {
                break;
            }
        }
        let nowhere = || cannot(&hierarchy.own, &io::Error::from(io::ErrorKind::NotFound));
        Err(failure.unwrap_or_else(nowhere))
    }

    fn make_parents(
        &mut self,
        hierarchy: &Hierarchy,
        parent: &Path,
        controllers: &[&str],
    ) -> Result<PathBuf, ExecError> {
        let mut place = hierarchy.mounted.clone();
        for part in parent.components() {
            // It may be offered already, and this process not be the one who may.
            let offered = hierarchy.offer(&place, controllers);
            place.push(part);
            if place.is_dir() {
                continue;
            }
            offered.map_err(|error| cannot(&place, &error))?;
            fs::create_dir(&place).map_err(|error| cannot(&place, &error))?;
            self.parents.push(place.clone());
            if !hierarchy.unified && hierarchy.has("cpuset") {
                inherit_cpuset(&place).map_err(|error| cannot(&place, &error))?;
            }
        }
        hierarchy
            .offer(&place, controllers)
            .map_err(|error| cannot(&place, &error))?;
        Ok(place)
    }
}

impl Drop for StepCgroups {
    fn drop(&mut self) {
        for place in &self.made {
            for _ in 0..TRIES {
                match fs::remove_dir(&place.directory) {
                    // What was killed is about to end.
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    _ => break,
                }
            }
        }
        // Who else is in a parent keeps it.
        for directory in self.parents.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// A mounted cgroup file system.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    /// The controllers of one of the first version.
    controllers: Vec<String>,
    /// Whether it is that of the second version.
    unified: bool,
    mounted: PathBuf,
    /// The directory of the cgroup that this process is in.
    own: PathBuf,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        if self.unified {
            let offered = fs::read_to_string(self.mounted.join("cgroup.controllers"));
            return offered
                .is_ok_and(|text| text.split_whitespace().any(|name| name == controller));
        }
        self.controllers.iter().any(|name| name == controller)
    }

    /// Lets the children of a cgroup have controllers.
    fn offer(&self, place: &Path, controllers: &[&str]) -> io::Result<()> {
        if !self.unified {
            return Ok(());
        }
        let file = place.join("cgroup.subtree_control");
        let offered = fs::read_to_string(&file)?;
        for controller in controllers {
            if !offered.split_whitespace().any(|name| name == *controller) {
                fs::write(&file, format!("+{controller}"))?;
            }
        }
        Ok(())
    }
}

/// Finds the cgroup file systems in `/proc/self/mountinfo`, and where this process is in each
/// according to `/proc/self/cgroup`.
fn hierarchies(mounts: &str, own: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let Some((place, kind)) = line.split_once(" - ") else {
            continue;
        };
        let (place, kind): (Vec<&str>, Vec<&str>) =
            (place.split(' ').collect(), kind.split(' ').collect());
        let (&[_, _, _, root, mounted, ..], &[kind, _, options]) =
            (place.as_slice(), kind.as_slice())
        else {
            continue;
        };
        let unified = kind == "cgroup2";
        if !unified && kind != "cgroup" {
            continue;
        }
        let options: Vec<&str> = options.split(',').collect();
        let path = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, names, path) = (fields.next()?, fields.next()?, fields.next()?);
            let same = match unified {
                true => number == "0" && names.is_empty(),
                false => !names.is_empty() && names.split(',').all(|name| options.contains(&name)),
            };
            same.then_some((names, path))
        });
        let Some((names, path)) = path else { continue };
        // In a container, a part of the hierarchy may be mounted.
        let inside = path.strip_prefix(root).unwrap_or(path);
        let mounted = PathBuf::from(mounted);
        let own = mounted.join(inside.trim_start_matches('/'));
        if found
            .iter()
            .any(|other| other.unified == unified && other.own == own)
        {
            continue;
        }
        found.push(Hierarchy {
            controllers: names.split(',').map(str::to_owned).collect(),
            unified,
            mounted,
            own,
        });
    }
    found
}

/// One limit: the file of either version, and what is written there.
struct Limit {
    /// The files of the first version, in the order in which they are written.
    first: (&'static str, String),
    second: (&'static str, String),
    /// Not every kernel counts swap.
    may_be_missing: bool,
}

impl Limit {
    fn new(first: (&'static str, String), second: (&'static str, String)) -> Self {
        Self {
            first,
            second,
            may_be_missing: false,
        }
    }

    fn set(&self, unified: bool, directory: &Path) -> Result<(), ExecError> {
        let (file, value) = if unified { &self.second } else { &self.first };
        if file.is_empty() {
            return Ok(());
        }
        match fs::write(directory.join(file), value) {
            Err(_) if self.may_be_missing => Ok(()),
            Err(source) => Err(ExecError::Setup {
                doing: format!("setting the limit {value} in"),
                subject: directory.join(file).display().to_string(),
                source,
            }),
            Ok(()) => Ok(()),
        }
    }
}

/// Returns what is to be written, with the controllers.
fn settings(limits: &Limits) -> Result<Vec<(&'static str, Limit)>, ExecError> {
    let invalid = |text: &str| Err(ExecError::InvalidStep(text.to_owned()));
    let mut found = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        let text = bytes.to_string();
        let limit = Limit::new(
            ("memory.limit_in_bytes", text.clone()),
            ("memory.max", text),
        );
        found.push(("memory", limit));
        let both = match limits.memory_swap_bytes {
            Some(-1) => None,
            Some(both) => match u64::try_from(both).ok().filter(|both| *both >= bytes) {
                Some(both) => Some(both),
                None => {
                    return invalid(
                        "memory and swap together (--memory-swap) must be at least the memory (--memory), or -1",
                    );
                }
            },
            None => Some(bytes.saturating_mul(2)),
        };
        let (first, second) = match both {
            None => ("-1".to_owned(), "max".to_owned()),
            Some(both) => (both.to_string(), (both - bytes).to_string()),
        };
        let mut limit = Limit::new(
            ("memory.memsw.limit_in_bytes", first),
            ("memory.swap.max", second),
        );
        limit.may_be_missing = matches!(limits.memory_swap_bytes, None | Some(-1));
        found.push(("memory", limit));
    } else if limits.memory_swap_bytes.is_some() {
        return invalid("--memory-swap limits memory and swap together: give --memory too");
    }
    if let Some(shares) = limits.cpu_shares {
        if !(2..=262_144).contains(&shares) {
            return invalid("the processor shares (--cpu-shares) must be between 2 and 262144");
        }
        let weight = 1 + (shares - 2) * 9_999 / 262_142;
        found.push((
            "cpu",
            Limit::new(
                ("cpu.shares", shares.to_string()),
                ("cpu.weight", weight.to_string()),
            ),
        ));
    }
    if limits.cpu_period_us.is_some() || limits.cpu_quota_us.is_some() {
        let period = limits.cpu_period_us.unwrap_or(PERIOD_US);
        let quota = limits
            .cpu_quota_us
            .map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        let both = format!("{quota} {period}");
        found.push((
            "cpu",
            Limit::new(("cpu.cfs_period_us", period.to_string()), ("cpu.max", both)),
        ));
        if let Some(quota) = limits.cpu_quota_us {
            found.push((
                "cpu",
                Limit::new(("cpu.cfs_quota_us", quota.to_string()), ("", String::new())),
            ));
        }
    }
    for (file, list) in [
        ("cpuset.cpus", &limits.cpuset_cpus),
        ("cpuset.mems", &limits.cpuset_mems),
    ] {
        if let Some(list) = list {
            found.push((
                "cpuset",
                Limit::new((file, list.clone()), (file, list.clone())),
            ));
        }
    }
    if let Some(most) = limits.pids {
        let text = most.to_string();
        found.push((
            "pids",
            Limit::new(("pids.max", text.clone()), ("pids.max", text)),
        ));
    }
    Ok(found)
}

fn what_is_limited(controller: &str) -> &'static str {
    match controller {
        "memory" => "memory cannot be limited (--memory)",
        "cpu" => "processor time cannot be limited (--cpu-shares, --cpu-quota, --cpu-period)",
        "cpuset" => "processors cannot be chosen (--cpuset-cpus, --cpuset-mems)",
        _ => "processes cannot be limited",
    }
}

/// Returns a parent as a path below the top of a hierarchy.
fn below_root(parent: &Path) -> Result<PathBuf, ExecError> {
    let mut path = PathBuf::new();
    for part in parent.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => path.push(name),
            _ => {
                let message = format!(
                    "the parent cgroup {} must not go up with `..`",
                    parent.display()
                );
                return Err(ExecError::InvalidStep(message));
            }
        }
    }
    Ok(path)
}

/// A new cgroup of the first version has no processors until they are named.
fn inherit_cpuset(directory: &Path) -> io::Result<()> {
    let Some(parent) = directory.parent() else {
        return Ok(());
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        fs::write(directory.join(file), fs::read(parent.join(file))?)?;
    }
    Ok(())
}

fn cannot(place: &Path, error: &io::Error) -> ExecError {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "as a plain user, have a cgroup delegated (`systemd-run --user --scope -p Delegate=yes stagewright …`) or name one that is yours (--cgroup-parent)"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "in a container, cgroups can be made when /sys/fs/cgroup is writable, as with --privileged or --security-opt unmask=/sys/fs/cgroup"
        }
        _ => "leave the limits out, or name another parent (--cgroup-parent)",
    };
    ExecError::Unsupported(format!(
        "no cgroup can be made in {} for the limits of a step: {}; {advice}",
        place.display(),
        io_text(error)
    ))
}

/// The error without the path that fs-err adds.
fn io_text(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.source());
    inner.map_or_else(|| error.to_string(), ToString::to_string)
}

/// Names a step's cgroup by the process that made it, so that the dead ones' are known.
fn new_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    format!("{PREFIX}{pid}-{}-{count}", started(pid).unwrap_or(0))
}

/// Removes the cgroups of processes that are gone.
fn clean(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let mut numbers = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .into_iter()
            .flat_map(|rest| rest.split('-'));
        let (Some(Ok(pid)), Some(Ok(time))) = (
            numbers.next().map(str::parse::<u32>),
            numbers.next().map(str::parse::<u64>),
        ) else {
            continue;
        };
        if started(pid) != Some(time) {
            // One whose step is ending is left to the next.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Returns when a process began, by the kernel's clock; nothing when there is none.
fn started(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    text.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::RootFs;

    const HYBRID: &str = "\
25 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/memory rw,nosuid shared:7 - cgroup cgroup rw,memory
28 25 0:25 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
29 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    fn step(parent: Option<&str>, limits: Limits) -> Step {
        Step {
            cgroup_parent: parent.map(PathBuf::from),
            limits,
            ..Step::new(RootFs::Directory("/".into()), Vec::new())
        }
    }

    #[test]
    fn hierarchies_are_found_with_the_place_of_this_process() {
        let own = "4:memory:/a/b\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/user.slice\n";
        let found = hierarchies(HYBRID, own);
        let places: Vec<_> = found
            .iter()
            .map(|found| {
                (
                    found.controllers.join(","),
                    found.unified,
                    found.own.display().to_string(),
                )
            })
            .collect();
        assert_eq!(
            places,
            [
                (
                    "cpu,cpuacct".to_owned(),
                    false,
                    "/sys/fs/cgroup/cpu,cpuacct/".to_owned()
                ),
                (
                    "memory".to_owned(),
                    false,
                    "/sys/fs/cgroup/memory/a/b".to_owned()
                ),
                (
                    "name=systemd".to_owned(),
                    false,
                    "/sys/fs/cgroup/systemd/x".to_owned()
                ),
                (
                    String::new(),
                    true,
                    "/sys/fs/cgroup/unified/user.slice".to_owned()
                ),
            ]
        );
        let container = "30 1 0:27 /docker/7 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let found = hierarchies(container, "4:memory:/docker/7/deep\n");
        assert_eq!(found[0].own, Path::new("/sys/fs/cgroup/memory/deep"));
        assert_eq!(hierarchies("garbage\n1 2 - cgroup\n", "x\n::\n"), []);
    }

    /// The second version, as files: what is written is there to be read.
    fn unified(folder: &Path, own: &str) -> Hierarchy {
        let own = folder.join(own);
        fs::create_dir_all(&own).unwrap();
        for place in own
            .ancestors()
            .take_while(|place| place.starts_with(folder))
        {
            fs::write(place.join("cgroup.controllers"), "cpuset cpu memory pids\n").unwrap();
            fs::write(
                place.join("cgroup.subtree_control"),
                "memory cpu cpuset pids\n",
            )
            .unwrap();
        }
        Hierarchy {
            controllers: Vec::new(),
            unified: true,
            mounted: folder.to_owned(),
            own,
        }
    }

    #[test]
    fn limits_are_written_as_the_second_version_takes_them() {
        let folder = tempfile::tempdir().unwrap();
        let hierarchy = unified(folder.path(), "user.slice/own");
        let limits = Limits {
            memory_bytes: Some(1 << 20),
            memory_swap_bytes: Some(3 << 20),
            cpu_quota_us: Some(50_000),
            cpu_shares: Some(1024),
            cpuset_cpus: Some("0".to_owned()),
            pids: Some(9),
            ..Limits::default()
        };
        let made = StepCgroups::make(&[hierarchy], &step(None, limits)).unwrap();
        let [place] = made.places() else {
            panic!("{made:?}")
        };
        assert_eq!(place.kills.as_deref(), Some("memory.events"));
        assert_eq!(
            place.directory.parent(),
            Some(folder.path().join("user.slice/own").as_path())
        );
        for (file, value) in [
            ("memory.max", "1048576"),
            ("memory.swap.max", "2097152"),
            ("cpu.max", "50000 100000"),
            ("cpu.weight", "39"),
            ("cpuset.cpus", "0"),
            ("pids.max", "9"),
        ] {
            assert_eq!(
                fs::read_to_string(place.directory.join(file)).unwrap(),
                value,
                "{file}"
            );
        }
    }

    #[test]
    fn a_cgroup_that_offers_nothing_has_its_steps_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let hierarchy = unified(folder.path(), "user.slice/own");
        fs::remove_file(folder.path().join("user.slice/own/cgroup.subtree_control")).unwrap();
        let limits = Limits {
            pids: Some(9),
            ..Limits::default()
        };
        let made = StepCgroups::make(&[hierarchy], &step(None, limits)).unwrap();
        let place = &made.places()[0].directory;
        assert_eq!(
            place.parent(),
            Some(folder.path().join("user.slice").as_path())
        );
    }

    #[test]
    fn what_cannot_be_limited_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let hierarchy = unified(folder.path(), "own");
        fs::write(folder.path().join("cgroup.controllers"), "pids\n").unwrap();
        let check = |parent: Option<&str>, limits: Limits, text: &str| {
            let error = StepCgroups::make(std::slice::from_ref(&hierarchy), &step(parent, limits))
                .unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        };
        let none = Limits::default;
        check(
            None,
            Limits {
                memory_bytes: Some(1),
                ..none()
            },
            "controller `memory`",
        );
        check(
            None,
            Limits {
                memory_swap_bytes: Some(1),
                ..none()
            },
            "give --memory too",
        );
        let swap = Limits {
            memory_bytes: Some(2),
            memory_swap_bytes: Some(1),
            ..none()
        };
        check(None, swap, "at least the memory");
        check(
            None,
            Limits {
                cpu_shares: Some(1),
                ..none()
            },
            "between 2 and 262144",
        );
        check(
            Some("../x"),
            Limits {
                pids: Some(1),
                ..none()
            },
            "must not go up",
        );
    }

    #[test]
    fn cgroups_of_dead_processes_are_removed_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let alive = new_name();
        let dead = format!("{PREFIX}{}-1-0", std::process::id());
        for name in [alive.as_str(), dead.as_str(), "stagewright-x", "other"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        clean(folder.path());
        let left = |name: &str| folder.path().join(name).exists();
        assert!(left(&alive) && left("stagewright-x") && left("other") && !left(&dead));
    }
}
