//! The image is the one that Buildah makes of the same files.

use stagewright_testkit::{Buildah, Image, Project, Stagewright, differences};

/// A Dockerfile and its files, built by both.
struct Case {
    name: &'static str,
    dockerfile: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "two stages",
        dockerfile: "FROM busybox AS build\nWORKDIR /build\nCOPY a.txt dir/ ./\nRUN cat a.txt > made && mkdir -p x/y && ln -s ../made x/y/link\nFROM busybox\nCOPY --from=0 --chown=www:staff /build .\nCMD [\"cat\", \"/made\"]\n",
    },
    Case {
        name: "config",
        dockerfile: "FROM busybox\nENV A=1 B=\"two words\" C=$PATH\nLABEL one=1 two=\"2 2\"\nEXPOSE 80 53/udp\nVOLUME /data\nSTOPSIGNAL SIGINT\nWORKDIR /w\nWORKDIR sub\nCOPY a.txt .\nUSER www:staff\nENTRYPOINT [\"/bin/echo\"]\nCMD [\"a\", \"b\"]\n",
    },
    Case {
        name: "shell forms",
        dockerfile: "FROM busybox\nENTRYPOINT echo $HOME\nCMD echo hello\n",
    },
    Case {
        name: "arguments",
        dockerfile: "ARG BASE=busybox\nFROM $BASE\nARG WHO=world\nENV HELLO=\"hello $WHO\"\nRUN echo \"$HELLO\" > /hello\nLABEL who=$WHO\n",
    },
    Case {
        name: "owners and modes",
        dockerfile: "FROM busybox\nCOPY --chown=33:50 a.txt /owned\nCOPY --chmod=4755 a.txt /set-id\nRUN chown www:staff /tmp && chmod 2770 /home && mkdir -m 700 /private\nUSER www\nRUN echo mine > /var/www/mine\n",
    },
    Case {
        name: "removals",
        dockerfile: "FROM busybox\nCOPY dir /d\nRUN rm /d/b.txt && rm -r /d/sub && rm /bin/wget && rm -r /home && mkdir /home && touch /home/new\n",
    },
    Case {
        name: "links",
        dockerfile: "FROM busybox\nRUN echo one > /one && ln /one /two && ln -s one /three && ln -s /nowhere /four\nRUN echo more >> /two\n",
    },
    Case {
        name: "wildcards and folders",
        dockerfile: "FROM busybox\nCOPY *.txt /text/\nCOPY dir/ /dir\nCOPY dir/sub /deep/er/\nCOPY a.txt /renamed.txt\nCOPY [\"with space.txt\", \"/\"]\n",
    },
    Case {
        name: "replacing",
        dockerfile: "FROM busybox\nRUN mkdir /x && echo 1 > /x/1 && echo f > /y\nRUN rm -r /x && echo now a file > /x && rm /y && mkdir /y && echo 2 > /y/2\n",
    },
    Case {
        name: "image as a source",
        dockerfile: "FROM scratch\nCOPY --from=busybox /etc/passwd /etc/group /etc/\nCOPY --from=busybox /bin/busybox /bin/sh\n",
    },
];

fn project(dockerfile: &str) -> Project {
    Project::new()
        .file("Dockerfile", dockerfile)
        .file("a.txt", "a\n")
        .file("with space.txt", "space\n")
        .file("dir/b.txt", "b\n")
        .file("dir/sub/c.sh", "#!/bin/sh\necho c\n")
        .mode("dir/sub/c.sh", 0o755)
        .symlink("dir/link", "b.txt")
        .file("dir/.hidden", "")
}

#[test]
#[ignore = "needs root"]
fn privileged_images_equal_those_of_buildah() {
    let stagewright = Stagewright::with_busybox();
    let buildah = Buildah::new();
    buildah.add_base(
        &stagewright.busybox_layout(),
        "docker.io/library/busybox:latest",
    );
    let out = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for case in CASES {
        let project = project(case.dockerfile);
        let layout = out.path().join(case.name.replace(' ', "-"));
        let _ = stagewright.build_into(&project, &layout, &[]).success();
        let theirs = buildah.build(&project, &[]);
        for line in differences(&Image::read(&layout), &theirs) {
            wrong.push(format!("{}: {line}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
