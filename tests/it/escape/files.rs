//! What archives and layers of base images try when they are unpacked.

use stagewright_testkit::{LayerTar, Project, Stagewright};

use super::{Outside, confined};

/// CVE-2018-15664, CVE-2019-14271, CVE-2021-41103 and their like: names, links and hard links in
/// archives that lead out.
#[test]
#[ignore = "needs root"]
fn privileged_archives_stay_inside() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let path = outside.path();
    let up = format!("{}{path}", "../".repeat(12));
    let archives = [
        LayerTar::new()
            .symlink("link", &path)
            .file("link/pwned", 0o644, "x"),
        LayerTar::new()
            .symlink("link", &up)
            .file("link/secret", 0o644, "x"),
        LayerTar::new()
            .symlink("a", "..")
            .symlink("a/b", "..")
            .file("a/b/pwned", 0o644, "x"),
        LayerTar::new().hard_link("seen", &format!("{path}/secret")),
        LayerTar::new().hard_link("seen", &format!("{}/secret", up)),
        LayerTar::new()
            .symlink("link", &path)
            .hard_link("seen", "link/secret"),
        LayerTar::new().symlink("link", &path).folder("link", 0o777),
        LayerTar::new()
            .symlink("link", &path)
            .whiteout("link/secret"),
        LayerTar::new().symlink("link", &path).opaque("link"),
    ];
    for archive in archives {
        let dockerfile =
            "FROM busybox\nADD evil.tar /in/\nRUN cat /in/seen /in/link/secret; true\n";
        let project = Project::new()
            .file("Dockerfile", dockerfile)
            .file("evil.tar", archive.finish());
        let _ = confined(&stagewright, &outside, &project, &["--progress=plain"]);
    }
}
