//! Steps on many layers.

use stagewright_testkit::{Build, Image, Memory, Project, Stagewright, differences};

use crate::account::Account;

/// Twice as many as are mounted above one another.
const LAYERS: usize = 200;
/// Every so many layers, one is made by a step.
const STEP_EVERY: usize = 10;

/// Writes a Dockerfile of so many layers, in which each step removes what a copy above made, and one step
/// that sees what is left of all of them.
fn dockerfile() -> String {
    let mut text = "FROM busybox\n".to_owned();
    for number in 0..LAYERS {
        let above = (number + LAYERS - 1) % LAYERS;
        text += &match number % STEP_EVERY {
            0 => format!(
                "RUN mkdir -p /l && echo {number} > /l/{number} && chown 33:34 /l/{number} && rm -f /l/{above}\n"
            ),
            _ => format!("COPY a /l/{number}\n"),
        };
    }
    let steps = LAYERS / STEP_EVERY;
    let left = LAYERS - (steps - 1);
    text + &format!(
        "RUN test $(ls /l | wc -l) = {left} && test $(cat /l/*0 | wc -l) = {steps} \\\n\
         && test \"$(stat -c %u:%g /l/0 /l/190 | sort -u)\" = 33:34 && rm /l/10 /l/199 && echo more >> /l/0\n"
    )
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_step_on_two_hundred_layers_makes_the_same_image_with_and_without_root() {
    let project = Project::new()
        .file("Dockerfile", dockerfile())
        .file("a", "a\n");
    let memory = Memory::new();
    let root = Stagewright::with_busybox_in(memory.path());
    let layout = memory.path().join("image");
    let build = root.build_into(&project, &layout, &[]).success();
    assert_eq!(build.executed().len(), LAYERS + 1);
    let theirs = Image::read(&layout);
    assert!(theirs.layers.len() > LAYERS, "{}", theirs.layers.len());

    let account = Account::new_in(memory.path());
    let build = Build {
        output: account.build(&project, "image").success(),
    };
    assert_eq!(build.executed().len(), LAYERS + 1);
    let different = differences(&Image::read(&account.path("image")), &theirs);
    assert!(different.is_empty(), "{}", different.join("\n"));
}
