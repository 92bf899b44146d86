//! Steps of other platforms than the machine's.

use std::process::Command;

use stagewright_testkit::{Image, Project, Stagewright, output};

use crate::account::Account;

/// What the program writes.
const TEXT: &[u8] = b"made on arm64\n";
const MADE: &[u8] = b"/made\0";

/// Returns a program for arm64 that writes a text into a file and on its standard output: such a
/// machine's compiler is not at hand.
fn arm64_program() -> Vec<u8> {
    const LOADED_AT: u64 = 0x40_0000;
    const HEADERS: usize = 64 + 56;
    const CALL: u32 = 0xd400_0001;
    let set = |register: u32, value: u32| 0xd280_0000 | value << 5 | register;
    let text_length = u32::try_from(TEXT.len()).unwrap();
    let instructions = 15;
    let text_at = instructions * 4;
    let made_at = text_at + TEXT.len();
    // The address of what lies so many bytes after the code's beginning.
    let address = |register: u32, at: usize, here: usize| {
        let offset = u32::try_from(at - here * 4).unwrap();
        0x1000_0000 | (offset & 3) << 29 | (offset >> 2) << 5 | register
    };
    let code = [
        0x9280_0000 | 99 << 5, // openat(AT_FDCWD, MADE, O_WRONLY | O_CREAT, 0644)
        address(1, made_at, 1),
        set(2, 0x41),
        set(3, 0o644),
        set(8, 56),
        CALL,
        address(1, text_at, 6), // write(it, TEXT)
        set(2, text_length),
        set(8, 64),
        CALL,
        set(0, 1), // write(1, TEXT)
        CALL,
        set(0, 0), // exit(0)
        set(8, 93),
        CALL,
    ];
    assert_eq!(code.len(), instructions);
    let length = HEADERS + made_at + MADE.len();
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| program.extend_from_slice(bytes);
    // An executable for arm64, version 1.
    put(&2_u16.to_le_bytes());
    put(&183_u16.to_le_bytes());
    put(&1_u32.to_le_bytes());
    put(&(LOADED_AT + HEADERS as u64).to_le_bytes());
    put(&64_u64.to_le_bytes());
    put(&0_u64.to_le_bytes());
    put(&0_u32.to_le_bytes());
    // Sizes: header, one program header, no sections.
    for number in [64_u16, 56, 1, 64, 0, 0] {
        put(&number.to_le_bytes());
    }
    // Load everything, readable and executable.
    put(&1_u32.to_le_bytes());
    put(&5_u32.to_le_bytes());
    for number in [
        0,
        LOADED_AT,
        LOADED_AT,
        length as u64,
        length as u64,
        0x1000,
    ] {
        put(&number.to_le_bytes());
    }
    for instruction in code {
        put(&instruction.to_le_bytes());
    }
    put(TEXT);
    put(MADE);
    program
}

const HOST_PROGRAM: &str = "
#include <fcntl.h>
#include <unistd.h>
int main(void) {
    const char text[] = \"made on the host\\n\";
    int made = open(\"/made\", O_WRONLY | O_CREAT, 0644);
    return write(made, text, sizeof text - 1) < 0;
}
";

const DOCKERFILE: &str = "\
FROM scratch
ARG TARGETARCH
COPY program-$TARGETARCH /program
RUN [\"/program\"]
";

fn project() -> Project {
    let project = Project::new()
        .file("Dockerfile", DOCKERFILE)
        .file("program-arm64", arm64_program())
        .mode("program-arm64", 0o755)
        .file("host.c", HOST_PROGRAM);
    let mut compile = Command::new("cc");
    compile
        .args(["-static", "-o", "program-amd64", "host.c"])
        .current_dir(project.path());
    let _ = output(&mut compile).success();
    project
}

fn need_the_emulator() {
    assert!(
        std::path::Path::new("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists(),
        "the emulator of arm64 is not registered: run `cargo xtask test`"
    );
}

fn made(image: &Image) -> String {
    image.rootfs.get("/made").unwrap().to_string()
}

#[test]
#[ignore = "needs root and an emulator"]
fn privileged_steps_of_another_platform_run_by_an_emulator() {
    need_the_emulator();
    let stagewright = Stagewright::new();
    let out = tempfile::tempdir().unwrap();
    let arm = out.path().join("arm");
    let project = project();
    let platform = "--platform=linux/arm64";
    let build = stagewright
        .build_into(&project, &arm, &[platform])
        .success();
    assert!(
        build.output.to_string().contains("made on arm64"),
        "{}",
        build.output
    );
    let image = Image::read(&arm);
    assert_eq!(image.config.platform, "linux/arm64");
    assert!(
        made(&image).starts_with("file 14 bytes"),
        "{}",
        made(&image)
    );

    let account = Account::new();
    let _ = account.build_with(&project, "arm", &[platform]).success();
    assert_eq!(made(&Image::read(&account.path("arm"))), made(&image));
    for told in [
        output(&mut account.command("doctor", &project)),
        output(&mut stagewright.command("doctor")),
    ] {
        let line = told
            .stdout
            .lines()
            .find(|line| line.contains("other platforms"));
        assert!(
            line.is_some_and(|line| line.contains("linux/arm64")),
            "{told}"
        );
    }
}

#[test]
#[ignore = "needs root and an emulator"]
fn privileged_several_platforms_that_run_steps_are_one_index() {
    need_the_emulator();
    let stagewright = Stagewright::new();
    let out = tempfile::tempdir().unwrap();
    let both = out.path().join("both");
    let project = project();
    let platforms = "--platform=linux/amd64,linux/arm64";
    let _ = stagewright
        .build_into(&project, &both, &[platforms])
        .success();
    let index = fs_err::read_to_string(both.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let blob = both.join("blobs").join(digest.replace(':', "/"));
    let list: serde_json::Value =
        serde_json::from_str(&fs_err::read_to_string(blob).unwrap()).unwrap();
    let of = |place: usize| list["manifests"][place]["platform"]["architecture"].clone();
    assert_eq!((of(0), of(1)), ("amd64".into(), "arm64".into()), "{list}");
    // Each ran its own program, and neither runs again.
    for (platform, size) in [
        ("linux/amd64", "file 17 bytes"),
        ("linux/arm64", "file 14 bytes"),
    ] {
        let one = out.path().join(size.replace(' ', "-"));
        let build = stagewright
            .build_into(&project, &one, &["--platform", platform])
            .success();
        assert_eq!(build.executed(), [""; 0], "{platform}");
        let made = made(&Image::read(&one));
        assert!(made.starts_with(size), "{platform}: {made}");
    }
}

/// No emulator is known for it anywhere.
#[test]
fn a_platform_without_an_emulator_says_what_to_do() {
    let project = Project::new().file("Dockerfile", "FROM scratch\nRUN [\"/x\"]\n");
    let build = Stagewright::new().build(&project, &["--platform=linux/sparc64"]);
    let said = build.output.to_string();
    assert_eq!(build.output.code(), Some(1), "{said}");
    for part in [
        "linux/sparc64",
        "Dockerfile:2",
        "qemu-user-static",
        "$BUILDPLATFORM",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
