//! Steps as people write them, with everything that packages do: the image is the one that Buildah
//! makes.

use std::collections::BTreeSet;
use std::path::Path;

use stagewright_testkit::{
    Buildah, GitServer, Image, Memory, Project, SshAgent, SshServer, Stagewright,
    config_differences, rootfs_differences,
};

/// What the steps need, made once for all builders.
const TOOLS: &str = "\
FROM node:12-stretch
RUN apt-get update && apt-get install -y --no-install-recommends \\
    attr gcc git libc6-dev libcap2-bin openssh-client python3-pip && rm -rf /var/lib/apt/lists/*
";

/// The steps; each checks what it can see itself.
const STEPS: &str = r#"FROM tools
ARG URL
# Packages with scripts that make users, set ids and give files capabilities.
RUN apt-get update && apt-get install -y --no-install-recommends cron iputils-ping sudo && rm -rf /var/lib/apt/lists/* \
    && getent group crontab && getcap /bin/ping | grep cap_net_raw && test -u /usr/bin/sudo
# Users, and programs that change theirs.
RUN addgroup --system --gid 990 app && adduser --system --uid 990 --ingroup app --home /srv/app --shell /bin/sh app \
    && adduser --disabled-password --gecos '' --uid 1500 person && adduser person app \
    && su person -c 'id > ~/me && umask > ~/umask' && cp /usr/bin/id /usr/local/bin/as-root && chmod 4755 /usr/local/bin/as-root \
    && test "$(su person -c '/usr/local/bin/as-root -u')" = 0 && grep -q 990 /home/person/me
USER person
RUN sudo -n true || echo refused > /home/person/sudo && id -un >> /home/person/sudo
USER root
# Owners.
RUN mkdir /many && cd /many && for i in $(seq 300); do echo $i > $i && chown $((i * 200)):$((60000 - i)) $i; done
# Many files, removed and renamed; folders renamed.
RUN mkdir -p /files/a && cd /files/a && for i in $(seq 10000); do echo $i > f$i; done
RUN cd /files/a && ls | head -n 5000 | xargs rm && mkdir ../b && ls | head -n 2500 | xargs mv -t ../b
RUN mv /files/b /files/c && mv /files/a /files/b && test $(ls /files/b /files/c | wc -l) = 5003
# Links.
RUN echo one > /one && ln /one /two && ln /one /files/three && ln -s one /four && mkdir /links && ln /usr/bin/env /links/env
RUN test $(stat -c %h /one) = 3 && test /one -ef /files/three && rm /one && ln /two /five
RUN test "$(cat /files/three)" = one && echo more >> /five && test "$(cat /five | wc -l)" = 2
# Holes, attributes and capabilities.
RUN truncate -s 16M /sparse && printf x | dd of=/sparse bs=1 seek=10000000 conv=notrunc
RUN echo x > /attributes && setfattr -n user.note -v hello /attributes && setfattr -n user.other -v 1 /attributes \
    && cp /usr/bin/id /usr/local/bin/capable && setcap cap_net_bind_service=+ep /usr/local/bin/capable
RUN getfattr --only-values -n user.note /attributes | grep hello && getcap /usr/local/bin/capable | grep net_bind \
    && setfattr -n user.note -v changed /attributes && setfattr -x user.other /attributes
# What was one thing becomes another.
RUN mkdir -p /d/e/f && echo 1 > /d/e/f/1 && echo f > /g && ln -s d /h && mkfifo /p
RUN rm -r /d && echo file > /d && rm /g && mkdir /g && echo 2 > /g/2 && rm /h && mkdir /h && touch /h/new \
    && rm /p && ln -s nowhere /p && rm -rf /many && mkdir /many && echo 1 > /many/1
# Programs of the usual languages.
COPY hello.c /src/
RUN gcc -O1 -o /usr/local/bin/hello /src/hello.c && hello > /src/said && grep -q hello /src/said
COPY greeting /src/greeting
RUN pip install --no-index --no-build-isolation --no-cache-dir --no-compile --break-system-packages /src/greeting \
    && python3 -B -c 'import greeting; print(greeting.TEXT)' | grep hello
COPY package.json package-lock.json /app/
RUN cd /app && npm ci && test -d node_modules && rm -rf /root/.npm/_logs
# A repository, with a key that the step does not see.
RUN --mount=type=ssh,required=true GIT_SSH_COMMAND="ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null" \
    git clone -q $URL /app/cloned && grep -q repository /app/cloned/hello && rm -rf /app/cloned/.git
"#;

/// What no two builds have in common, and why.
const NATURAL: [(&str, &str); 8] = [
    ("/var/log/", "times"),
    ("/run/sudo/ts/", "times"),
    (
        "/var/cache/ldconfig/aux-cache",
        "numbers of files, and times",
    ),
    ("/var/cache/apt/", "times of the lists"),
    ("/root/.npm/_cacache/", "times"),
    ("/root/.npm/_update-notifier-last-checked", "a time"),
    ("/tmp/node-compile-cache", "made with times in it"),
    (
        "/run/buildkit",
        "where Buildah leaves the place of the agent's socket",
    ),
];

pub(crate) fn mirror() -> String {
    match std::env::var("STAGEWRIGHT_TEST_MIRROR") {
        Ok(address) => address,
        Err(_) => panic!("the stand-in bases are not served: run `cargo xtask test`"),
    }
}

fn project() -> Project {
    let lesson = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lesson");
    let read = |name: &str| fs_err::read(lesson.join(name)).unwrap();
    Project::new()
        .file("Dockerfile", STEPS)
        .file("hello.c", "#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }\n")
        .file("greeting/greeting.py", "TEXT = 'hello'\n")
        .file(
            "greeting/setup.py",
            "from setuptools import setup\nsetup(name='greeting', version='1.0', py_modules=['greeting'])\n",
        )
        .file("package.json", read("package.json"))
        .file("package-lock.json", read("package-lock.json"))
}

/// Returns what differs and should not.
pub(crate) fn different(ours: &Image, theirs: &Image) -> Vec<String> {
    let natural = |line: &String| NATURAL.iter().any(|(path, _)| line.starts_with(path));
    let mut ours_rootfs = ours.rootfs.clone();
    let mut theirs_rootfs = theirs.rootfs.clone();
    // The comparer shows so many lines only: what is natural is taken out before.
    let paths: BTreeSet<String> = ours_rootfs
        .entries
        .keys()
        .chain(theirs_rootfs.entries.keys())
        .filter(|path| natural(&format!("/{path}")))
        .cloned()
        .collect();
    for path in paths {
        ours_rootfs.entries.remove(&path);
        theirs_rootfs.entries.remove(&path);
    }
    let mut lines = config_differences(&ours.config, &theirs.config);
    lines.extend(rootfs_differences(&ours_rootfs, &theirs_rootfs));
    lines
}

#[test]
#[ignore = "needs root and the stand-in bases"]
fn network_privileged_real_steps_make_the_image_that_buildah_makes() {
    let memory = Memory::new();
    let stagewright = Stagewright::new_in(memory.path())
        .option(format!("--registry-mirror=docker.io={}", mirror()));
    let tools = memory.path().join("tools");
    let export = format!("type=oci,dest={},compression=uncompressed", tools.display());
    let base = Project::new().file("Dockerfile", TOOLS);
    let _ = stagewright.build(&base, &["-o", &export]).success();

    let (server, repository) = (SshServer::start(), GitServer::start());
    repository.commit("app.git", &[("hello", "from the repository\n")]);
    let agent = SshAgent::start(&server.key("key", &["-t", "ed25519", "-N", ""]));
    let url = format!(
        "--build-arg=URL=ssh://root@127.0.0.1:{}{}",
        server.port(),
        repository.folder("app.git").display()
    );
    let ssh = format!("--ssh=default={}", agent.socket().display());
    let context = format!("--build-context=tools=oci-layout://{}", tools.display());
    let project = project();

    let layout = memory.path().join("image");
    let theirs = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| {
            let buildah = Buildah::new_in(memory.path());
            buildah.add_base(&tools, "docker.io/library/tools:latest");
            buildah.build(&project, &[&url, &ssh])
        });
        let _ = stagewright
            .build_into(&project, &layout, &[&context, &url, &ssh])
            .success();
        theirs.join().unwrap()
    });
    let wrong = different(&Image::read(&layout), &theirs);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
