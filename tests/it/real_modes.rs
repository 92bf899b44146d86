//! Steps as people write them, without root and in containers: the image is root's.

use stagewright_testkit::{Image, Memory, Output, Project, Stagewright};

use crate::account::Account;
use crate::fallbacks::no_namespaces;
use crate::nested::Podman;
use crate::real_steps::{different, mirror};
use crate::rootless::NOBODY_KNOWN;

/// Overlayfs parts a file of a lower layer from its other names when it is written to, and a copy of all files does not: no
/// step writes to a file with several names here. Packages with scripts that make groups and set ids, users, owners, links, capabilities and deletions; each step checks
/// what it can see itself.
const STEPS: &str = r#"FROM node:12-stretch
RUN apt-get update && apt-get install -y --no-install-recommends cron libcap2-bin && rm -rf /var/lib/apt/lists/* \
    && test "$(stat -c %G:%a /usr/bin/crontab)" = crontab:2755
RUN addgroup --system --gid 990 app && adduser --system --uid 990 --ingroup app --home /srv/app --shell /bin/sh app \
    && adduser --disabled-password --gecos '' --uid 1500 person && adduser person app \
    && su person -c 'id > ~/me' && cp /usr/bin/id /usr/local/bin/as-root && chmod 4755 /usr/local/bin/as-root \
    && test "$(su person -c '/usr/local/bin/as-root -u')" = 0 && grep -q 990 /home/person/me
RUN mkdir /many && cd /many && for i in $(seq 300); do echo $i > $i && chown $((i * 200)):$((60000 - i)) $i; done \
    && echo one > /one && ln /one /two && ln /one /many/three && test $(stat -c %h /one) = 3 && rm /one && ln /two /five \
    && cp /usr/bin/id /usr/local/bin/capable && setcap cap_net_bind_service=+ep /usr/local/bin/capable
RUN getcap /usr/local/bin/capable | grep net_bind && test /two -ef /many/three \
    && test "$(stat -c %u:%g /many/7)" = 1400:59993 && rm /many/7 /usr/bin/crontab && rm -r /usr/share/doc \
    && mkdir /usr/share/doc && rm -r /srv/app && echo file > /srv/app && mv /many/8 /many/9 && mv /home/person /home/moved
USER person
RUN id -un > /home/moved/name && ! touch /etc/mine
"#;

/// What can be done with one id: nothing is given to others.
const STEPS_OF_ONE_ID: &str = r#"FROM node:12-stretch
RUN apt-get update -o APT::Sandbox::User=root \
    && apt-get install -y --no-install-recommends -o APT::Sandbox::User=root libcap2-bin && rm -rf /var/lib/apt/lists/*
RUN echo one > /one && ln /one /two && mkdir /many && ln /one /many/three && rm /one && ln /two /five \
    && cp /usr/bin/id /usr/local/bin/capable && setcap cap_net_bind_service=+ep /usr/local/bin/capable
RUN getcap /usr/local/bin/capable | grep net_bind && test /two -ef /many/three \
    && rm -r /usr/share/doc && mkdir /usr/share/doc && rm -r /many && echo file > /many
"#;

/// A place where steps run otherwise than as root of a whole machine.
struct Place<'a> {
    mode: &'static str,
    dockerfile: &'static str,
    /// Builds the project into the layout `image` of the account's folder.
    build: &'a (dyn Fn(&Account, &Project, &str) -> Output + Sync),
    user: Option<&'static str>,
}

fn in_podman(account: &Account, project: &Project, mirror: &str, bare: bool) -> Output {
    let options = match bare {
        true => vec![
            no_namespaces(account.folder()),
            "--cap-add=mknod".to_owned(),
        ],
        false => Vec::new(),
    };
    let podman = Podman {
        options,
        ..Podman::new(account, project, true)
    };
    podman.import();
    podman.build_with("image", &[mirror])
}

#[test]
#[ignore = "needs root to become another user, and the stand-in bases"]
fn network_privileged_real_steps_make_roots_image_in_every_mode() {
    let option = format!("--registry-mirror=docker.io={}", mirror());
    let plain = |account: &Account, project: &Project, option: &str| {
        account.build_with(project, "image", &[option])
    };
    let places = [
        Place {
            mode: "rootless",
            dockerfile: STEPS,
            build: &plain,
            user: None,
        },
        Place {
            mode: "rootless with one id",
            dockerfile: STEPS_OF_ONE_ID,
            build: &plain,
            user: Some(NOBODY_KNOWN),
        },
        Place {
            mode: "nested",
            dockerfile: STEPS,
            build: &|account, project, option| in_podman(account, project, option, false),
            user: None,
        },
        Place {
            mode: "chroot",
            dockerfile: STEPS,
            build: &|account, project, option| in_podman(account, project, option, true),
            user: None,
        },
    ];
    let memory = Memory::new();
    let root = Stagewright::new_in(memory.path()).option(option.clone());
    let project = |dockerfile: &str| Project::new().file("Dockerfile", dockerfile);
    let roots = |name: &str, dockerfile: &str| {
        let layout = memory.path().join(name);
        let _ = root
            .build_into(&project(dockerfile), &layout, &[])
            .success();
        Image::read(&layout)
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let builds: Vec<_> = places
            .iter()
            .map(|place| {
                let (option, memory) = (&option, &memory);
                scope.spawn(move || {
                    let account = match place.user {
                        Some(user) => Account::of_in(user.to_owned(), memory.path()),
                        None => Account::new_in(memory.path()),
                    };
                    let told = (place.build)(&account, &project(place.dockerfile), option);
                    if !told.status.success() {
                        return Err(format!("{}: {told}", place.mode));
                    }
                    Ok(Image::read(&account.path("image")))
                })
            })
            .collect();
        let theirs = [STEPS, STEPS_OF_ONE_ID].map(|steps| {
            let name = if steps == STEPS { "all" } else { "one-id" };
            (steps, roots(name, steps))
        });
        let compared = builds.into_iter().zip(&places);
        let lines = compared.flat_map(|(build, place)| {
            let ours = match build.join().unwrap() {
                Ok(ours) => ours,
                Err(told) => return vec![told],
            };
            let same = theirs.iter().find(|(steps, _)| *steps == place.dockerfile);
            let lines = different(&ours, &same.unwrap().1);
            let in_mode = |line| format!("{}: {line}", place.mode);
            lines.into_iter().map(in_mode).collect()
        });
        lines.collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
