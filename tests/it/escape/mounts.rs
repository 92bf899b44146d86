//! What mounts of steps are made to do.

use stagewright_testkit::{Project, Stagewright};

use super::{Outside, confined};

/// CVE-2021-30465, CVE-2023-27561: mount targets that are links to the outside.
#[test]
#[ignore = "needs root"]
fn privileged_targets_that_are_links_stay_inside() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let path = outside.path();
    let base = format!(
        "FROM busybox\nRUN ln -s {path} /abs && ln -s ../../../../../../..{path} /up && ln -s / /top && ln -s /proc/1/root /magic\n"
    );
    for at in [
        "/abs",
        "/abs/new",
        "/up/empty",
        "/up/a/b",
        "/top/x",
        "/abs/secret",
    ] {
        for kind in ["tmpfs", "cache", "bind,rw"] {
            let step = format!("RUN --mount=type={kind},target={at} touch {at}/made; true\n");
            let project = Project::new().file("Dockerfile", format!("{base}{step}"));
            let _ = confined(&stagewright, &outside, &project, &[]);
        }
        let step = format!("RUN --mount=type=secret,id=s,target={at} cat {at}; true\n");
        let project = Project::new()
            .file("Dockerfile", format!("{base}{step}"))
            .file("s", "s");
        let secret = format!("--secret=id=s,src={}", project.path().join("s").display());
        let _ = confined(&stagewright, &outside, &project, &[&secret]);
    }
}

/// CVE-2024-23652: mount points are removed after the step, by a path that it replaced.
#[test]
#[ignore = "needs root"]
fn privileged_removal_of_mount_points_stays_inside() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let path = outside.path();
    let dockerfile = format!(
        "FROM busybox\nRUN --mount=type=tmpfs,target=/d/stub mv /d /e && ln -s {path}/empty /d\n\
         RUN --mount=type=cache,target=/f/stub mv /f /g && ln -s {path}/empty /f\n\
         RUN --mount=type=bind,source=hollow,target=/h/hollow mv /h /i && ln -s {path} /h\n"
    );
    let project = Project::new()
        .file("Dockerfile", dockerfile)
        .file("hollow", "");
    let _ = confined(&stagewright, &outside, &project, &[]).success();
}

/// CVE-2024-23651: what lies in a cache that two steps share is replaced by a link while a mount
/// is made in it.
#[test]
#[ignore = "needs root"]
fn privileged_links_in_caches_stay_inside() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let path = outside.path();
    let swap = "for i in $(seq 300); do rm -rf /c/at; ln -s %P /c/at; rm /c/at; mkdir /c/at; done";
    let swap = swap.replace("%P", &path);
    let mut dockerfile = format!(
        "FROM busybox AS swap\nRUN --mount=type=cache,id=c,target=/c {swap}; touch /done\n"
    );
    for number in 0..8 {
        dockerfile += &format!(
            "FROM busybox AS m{number}\nRUN --mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/at/empty touch /c/at/empty/{number}; touch /done\n"
        );
    }
    dockerfile += "FROM busybox\nCOPY --from=swap /done /d/s\n";
    for number in 0..8 {
        dockerfile += &format!("COPY --from=m{number} /done /d/{number}\n");
    }
    let project = Project::new().file("Dockerfile", dockerfile);
    let _ = confined(&stagewright, &outside, &project, &[]);
}

/// CVE-2024-9675: a cache's id that is a path. CVE-2024-1753, CVE-2024-9407, CVE-2024-9676: sources
/// of bind mounts that are links to the outside.
#[test]
#[ignore = "needs root"]
fn privileged_sources_stay_inside() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let path = outside.path();
    let up = "../".repeat(12);
    let steps = [
        format!(
            "RUN --mount=type=cache,id={up}{path},target=/m cat /m/secret; touch /m/made; true"
        ),
        format!("RUN --mount=type=cache,id={path},target=/m cat /m/secret; touch /m/made; true"),
        "RUN --mount=type=bind,source=link,target=/m cat /m/secret".to_owned(),
        format!("RUN --mount=type=bind,source={up}{path},target=/m cat /m/secret"),
        "RUN --mount=type=bind,from=links,source=/link,target=/m,rw cat /m/secret; touch /m/x"
            .to_owned(),
        "RUN --mount=type=bind,from=links,source=/top/link,target=/m,rw cat /m/secret".to_owned(),
        "COPY --from=links /link/secret /copied\nRUN cat /copied".to_owned(),
        "COPY link/secret /copied\nRUN cat /copied".to_owned(),
    ];
    for step in steps {
        let dockerfile = format!(
            "FROM busybox AS links\nRUN ln -s {path} /link && ln -s ../../.. /top\nFROM busybox\n{step}\n"
        );
        let project = Project::new()
            .file("Dockerfile", dockerfile)
            .symlink("link", &path);
        let _ = confined(&stagewright, &outside, &project, &[]);
    }
}

/// CVE-2024-23653: rights that nobody granted.
#[test]
#[ignore = "needs root"]
fn privileged_rights_need_to_be_granted() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    for (flag, entitlement) in [
        ("--security=insecure", "security.insecure"),
        ("--network=host", "network.host"),
    ] {
        let dockerfile = format!("FROM busybox\nRUN {flag} true\n");
        let project = Project::new().file("Dockerfile", dockerfile);
        let refused = confined(&stagewright, &outside, &project, &[]);
        let said = refused.output.to_string();
        assert_ne!(refused.output.code(), Some(0), "{said}");
        assert!(said.contains(entitlement), "{said}");
        let allow = format!("--allow={entitlement}");
        let _ = confined(&stagewright, &outside, &project, &[&allow]).success();
    }
}
