//! Networks of steps.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use stagewright_testkit::{Project, Stagewright, output, program};

use crate::account::Account;

/// An address of this host that is reached as another host's would be.
struct Neighbour(&'static str);

impl Neighbour {
    fn new() -> Self {
        let neighbour = Self("198.51.100.7");
        neighbour.change("add");
        neighbour
    }

    fn change(&self, verb: &str) {
        let mut change = Command::new(program("busybox", "busybox-static"));
        let address = format!("{}/32", self.0);
        change.args(["ip", "addr", verb, &address, "dev", "lo"]);
        assert!(change.status().unwrap().success());
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.change("del");
    }
}

const ROUTES: &str = "\
FROM busybox
RUN cat /proc/net/dev /etc/resolv.conf > /seen && ip route >> /seen && ip addr show lo | grep -q 127.0.0.1
";

fn seen(stagewright: &Stagewright, network: &str) -> String {
    let out = tempfile::tempdir().unwrap();
    let dest = format!("type=local,dest={}", out.path().display());
    let network = format!("--network={network}");
    let project = Project::new().file("Dockerfile", ROUTES);
    let _ = stagewright
        .build(&project, &["--no-cache", &network, "-o", &dest])
        .success();
    fs_err::read_to_string(out.path().join("seen")).unwrap()
}

#[test]
#[ignore = "needs root"]
fn privileged_the_usual_network_is_the_hosts_and_none_has_loopback_alone() {
    let stagewright = Stagewright::with_busybox();
    let host = fs_err::read_to_string("/proc/net/dev")
        .unwrap()
        .lines()
        .count();
    for network in ["default", "host"] {
        let seen = seen(&stagewright, network);
        assert_eq!(
            seen.lines()
                .filter(|line| line.contains(':') && line.contains(" 0 "))
                .count(),
            host - 2,
            "{seen}"
        );
    }
    let seen = seen(&stagewright, "none");
    let devices = seen.lines().filter(|line| line.contains(": ")).count();
    assert_eq!(devices, 1, "{seen}");
    assert!(!seen.contains("default via"), "{seen}");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_hosts_network_needs_to_be_allowed_to_a_step() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file("Dockerfile", "FROM busybox\nRUN --network=host true\n");
    let refused = stagewright.build(&project, &[]).output.failure(1);
    assert!(refused.to_string().contains("network.host"), "{refused}");
    let _ = stagewright
        .build(&project, &["--allow=network.host"])
        .success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_network_of_the_steps_own_leads_out_and_not_to_the_hosts_loopback() {
    let stagewright = Stagewright::with_busybox();
    let neighbour = Neighbour::new();
    let listener = TcpListener::bind((neighbour.0, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let hidden = TcpListener::bind("127.0.0.1:0").unwrap();
    let hidden_port = hidden.local_addr().unwrap().port();
    let networks = [("pasta", "169.254.0.1"), ("slirp4netns", "10.0.2.3")];
    let answer = std::thread::spawn(move || {
        for _ in networks {
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(b"hello\n").unwrap();
        }
    });
    for (network, server) in networks {
        let seen = seen(&stagewright, network);
        assert!(
            seen.contains(&format!("nameserver {server}\n")),
            "{network}: {seen}"
        );
        assert!(seen.contains("default via"), "{network}: {seen}");
        let project = Project::new().file(
            "Dockerfile",
            format!(
                "FROM busybox\nRUN mkfifo /f && (nc {} {port} < /f > /said & exec 3> /f; wait $!) && grep -q hello /said && ! nc -w 1 127.0.0.1 {hidden_port} < /dev/null\nRUN --network=none ! ip route | grep -q default\n",
                neighbour.0
            ),
        );
        let network = format!("--network={network}");
        let _ = stagewright
            .build(&project, &["--no-cache", &network])
            .success();
    }
    answer.join().unwrap();
    assert_eq!(
        connectors(),
        [""; 0],
        "a program that connected a step still runs"
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_steps_ask_the_name_servers_that_are_given() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox AS own\nRUN mkdir -p /etc && echo own > /etc/resolv.conf; true\nRUN cp /etc/resolv.conf /seen\n",
    );
    let see = |arguments: &[&str]| {
        let out = tempfile::tempdir().unwrap();
        let dest = format!("type=local,dest={}", out.path().display());
        let all = [arguments, &["--no-cache", "-o", &dest]].concat();
        let _ = stagewright.build(&project, &all).success();
        let read = |name: &str| fs_err::read_to_string(out.path().join(name)).unwrap_or_default();
        (read("seen"), read("etc/resolv.conf"))
    };
    let (seen, kept) = see(&["--dns=192.0.2.1,192.0.2.2", "--dns-search=a.example"]);
    assert!(
        seen.starts_with("nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch a.example\n"),
        "{seen}"
    );
    assert_eq!(kept, "", "it is in a layer");
    for network in ["pasta", "slirp4netns"] {
        let network = format!("--network={network}");
        let (seen, _) = see(&[&network, "--dns=192.0.2.1", "--dns-option=ndots:2"]);
        assert!(
            seen.starts_with("nameserver 192.0.2.1\noptions ndots:2\n"),
            "{seen}"
        );
    }
    // What a step writes there is the image's, then.
    let own = ("own\n".to_owned(), "own\n".to_owned());
    assert_eq!(see(&["--dns=none"]), own);
    for (arguments, expected) in [
        (&["--dns=192.0.2.1", "--network=none"][..], "have a network"),
        (&["--dns=here"], "no address of a name server"),
        (&["--dns=none", "--dns-search=a"], "as it is"),
    ] {
        let refused = stagewright.build(&project, arguments).output.failure(1);
        assert!(refused.to_string().contains(expected), "{refused}");
    }
}

/// Returns the programs that connect networks and whose step is gone: they are no children of what
/// runs a step.
fn connectors() -> Vec<String> {
    let found = output(Command::new("ps").args(["-eo", "pid=,ppid=,args="])).success();
    let processes: Vec<Vec<&str>> = found
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let is_step = |pid: &str| {
        let mut named = processes.iter().filter(|process| process[0] == pid);
        named.any(|process| {
            process
                .get(2)
                .is_some_and(|program| program.starts_with("/proc/"))
        })
    };
    let ours = |process: &&Vec<&str>| {
        process
            .get(2)
            .is_some_and(|program| program.ends_with("/slirp4netns"))
            || process.contains(&"169.254.0.1")
    };
    let left = processes
        .iter()
        .filter(ours)
        .filter(|process| !is_step(process[1]));
    left.map(|process| process.join(" ")).collect()
}

#[test]
#[ignore = "needs root"]
fn privileged_what_connects_a_step_ends_with_a_killed_build() {
    let stagewright = Stagewright::with_busybox();
    let dockerfile = "FROM busybox\nRUN echo started && sleep 1000\n";
    let project = Project::new().file("Dockerfile", dockerfile);
    for network in ["--network=pasta", "--network=slirp4netns"] {
        let mut build = stagewright.build_command(&project, &["--progress=plain", network]);
        let mut running = build.stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(running.stderr.take().unwrap());
        assert!(said.lines().any(|line| line.unwrap().ends_with(" started")));
        running.kill().unwrap();
        running.wait().unwrap();
        // Looking takes time of its own.
        let gone = (0..100).any(|_| connectors().is_empty());
        assert!(gone, "{:?}", connectors());
    }
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_users_steps_have_a_network_of_their_own() {
    let account = Account::new();
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN ip route | grep -q '^default via'\n",
    );
    for network in ["pasta", "slirp4netns"] {
        let build = account.command("build", &project);
        let words: Vec<_> = std::iter::once(build.get_program())
            .chain(build.get_args())
            .map(std::ffi::OsStr::to_owned)
            .collect();
        // Users may make such devices nearly everywhere; where not, it is shown to them as it is there.
        let mut shown = Command::new("unshare");
        let node = account.path("tun");
        shown
            .args(["--mount", "sh", "-c"])
            .arg(format!(
                "set -e; rm -f {0}; mknod -m 666 {0} c 10 200; mount --bind {0} /dev/net/tun; exec \"$@\"",
                node.display()
            ))
            .arg("sh")
            .args(words)
            .args(["--no-cache", &format!("--network={network}")])
            .arg(format!("--build-context=busybox=oci-layout://{}", account.path("busybox").display()))
            .arg(project.path());
        let _ = output(&mut shown).success();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_program_that_is_missing_is_named() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file("Dockerfile", "FROM busybox\nRUN true\n");
    for (network, package) in [("pasta", "passt"), ("slirp4netns", "slirp4netns")] {
        let build = stagewright.build_command(&project, &[&format!("--network={network}")]);
        let words = std::iter::once(build.get_program()).chain(build.get_args());
        let mut hidden = Command::new("unshare");
        hidden
            .args([
                "--mount",
                "sh",
                "-c",
                "mount -t tmpfs x /usr/bin 2> /dev/null; exec \"$@\"",
                "sh",
            ])
            .args(words);
        let failed = output(&mut hidden).failure(1);
        assert!(
            failed
                .to_string()
                .contains(&format!("install the package {package}")),
            "{failed}"
        );
    }
}
