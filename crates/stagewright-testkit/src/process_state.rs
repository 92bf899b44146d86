//! What a library may not change of the process that it is in.

/// Returns what the kernel tells of this process and the calling thread and a library could have changed: their status,
/// limits, session, namespaces and environment. Compare two of them.
///
/// # Panics
///
/// When `/proc` is not mounted.
#[must_use]
pub fn process_state() -> Vec<String> {
    let read = |file: &str| fs_err::read_to_string(format!("/proc/self/{file}")).unwrap();
    let told = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "NoNewPrivs",
        "Seccomp",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "Cpus_allowed",
    ];
    let chosen = |status: &str| -> Vec<String> {
        let lines = status.lines().filter(|line| {
            let name = line.split(':').next().unwrap_or_default();
            told.contains(&name)
        });
        lines.map(str::to_owned).collect()
    };
    let mut state = chosen(&read("status"));
    // The first thread blocks signals for a moment when it starts another one, as a test's.
    state.retain(|line| !line.starts_with("SigBlk:"));
    let thread = fs_err::read_to_string("/proc/thread-self/status").unwrap();
    state.extend(chosen(&thread).iter().map(|line| format!("thread: {line}")));
    let files = ["limits", "cgroup", "oom_score_adj"];
    state.extend(files.map(|file| format!("{file}: {}", read(file))));
    // Group, session, terminal.
    let stat = read("stat");
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    state.extend(
        fields
            .skip(2)
            .take(3)
            .map(|field| format!("session: {field}")),
    );
    let mut links = vec!["cwd".to_owned(), "root".to_owned(), "exe".to_owned()];
    let namespaces = fs_err::read_dir("/proc/self/ns").unwrap();
    links.extend(namespaces.map(|entry| {
        let name = entry.unwrap().file_name();
        format!("ns/{}", name.to_str().unwrap())
    }));
    links.sort();
    for link in links {
        let target = fs_err::read_link(format!("/proc/self/{link}")).unwrap();
        state.push(format!("{link}: {}", target.display()));
    }
    let mut environment: Vec<_> = std::env::vars_os().collect();
    environment.sort();
    state.push(format!("environment: {environment:?}"));
    state
}
