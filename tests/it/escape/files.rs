//! What archives and layers of base images try when they are unpacked.

use stagewright_testkit::{Project, Stagewright};

use super::{Outside, confined, hostile_layers};

/// CVE-2018-15664, CVE-2019-14271, CVE-2021-41103 and their like: names, links and hard links in
/// archives that lead out.
#[test]
#[ignore = "needs root"]
fn privileged_archives_stay_inside() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    for archive in hostile_layers(&outside) {
        let dockerfile =
            "FROM busybox\nADD evil.tar /in/\nRUN cat /in/seen /in/link/secret; true\n";
        let project = Project::new()
            .file("Dockerfile", dockerfile)
            .file("evil.tar", archive.finish());
        let _ = confined(&stagewright, &outside, &project, &[]);
    }
}
