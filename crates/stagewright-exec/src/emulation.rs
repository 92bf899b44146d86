//! Programs of other processors: what the kernel hands to an emulator.

use std::path::{Path, PathBuf};

use fs_err as fs;

/// Where the kernel lists the kinds of programs that it hands to others.
const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";
/// How emulators are had, for messages.
const INSTALL: &str = "install one (Debian: `apt-get install qemu-user-static binfmt-support`) and see that it is registered";
/// Bytes of a program's first ones that tell its processor.
const HEADER_BYTES: usize = 20;

/// A processor: its name in images, and how its programs begin.
struct Processor {
    name: &'static str,
    /// 64-bit programs.
    wide: bool,
    big_endian: bool,
    /// The number in the header of its programs (`e_machine`).
    machine: u16,
}

const fn processor(name: &'static str, wide: bool, big_endian: bool, machine: u16) -> Processor {
    Processor {
        name,
        wide,
        big_endian,
        machine,
    }
}

const PROCESSORS: [Processor; 13] = [
    processor("amd64", true, false, 62),
    processor("386", false, false, 3),
    processor("arm64", true, false, 183),
    processor("arm", false, false, 40),
    processor("riscv64", true, false, 243),
    processor("ppc64le", true, false, 21),
    processor("ppc64", true, true, 21),
    processor("s390x", true, true, 22),
    processor("loong64", true, false, 258),
    processor("mips64le", true, false, 8),
    processor("mips64", true, true, 8),
    processor("mipsle", false, false, 8),
    processor("mips", false, true, 8),
];

impl Processor {
    /// Returns how its programs begin.
    fn header(&self) -> [u8; HEADER_BYTES] {
        const EXECUTABLE: u16 = 2;
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(b"\x7fELF");
        header[4] = if self.wide { 2 } else { 1 };
        header[5] = if self.big_endian { 2 } else { 1 };
        header[6] = 1;
        let two = |number: u16| match self.big_endian {
            true => number.to_be_bytes(),
            false => number.to_le_bytes(),
        };
        header[16..18].copy_from_slice(&two(EXECUTABLE));
        header[18..20].copy_from_slice(&two(self.machine));
        header
    }
}

/// Why programs of a processor do not run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoEmulator {
    /// The kernel's list cannot be seen.
    #[error(
        "the kernel's list of emulators is not there: `mount -t binfmt_misc binfmt_misc {REGISTERED}`, and {INSTALL}"
    )]
    NoList,
    /// None is registered.
    #[error("no emulator of {0} is registered with the kernel: {INSTALL}")]
    Missing(String),
    /// One is registered, and turned off.
    #[error("the emulator {} is turned off: `echo 1 > {}`", .interpreter.display(), .switch.display())]
    Off {
        /// The emulator.
        interpreter: PathBuf,
        /// What turns it on.
        switch: PathBuf,
    },
    /// One is registered in a way that it would have to be in every root file system.
    #[error(
        "the emulator {} is registered without the flag F, so that steps do not find it in their root file system: register it with that flag, as Debian's qemu-user-static does", .0.display()
    )]
    NotFixed(PathBuf),
}

/// Returns the emulator that runs the programs of a processor, named as in images (`arm64`).
///
/// # Errors
/// Why there is none, and what to do.
pub fn emulator(architecture: &str) -> Result<PathBuf, NoEmulator> {
    let emulators = Emulators::read(Path::new(REGISTERED)).ok_or(NoEmulator::NoList)?;
    emulators.find(architecture)
}

/// Returns the processors whose programs an emulator runs here.
pub(crate) fn emulated() -> Result<Vec<&'static str>, NoEmulator> {
    let emulators = Emulators::read(Path::new(REGISTERED)).ok_or(NoEmulator::NoList)?;
    let names = PROCESSORS.iter().map(|processor| processor.name);
    Ok(names.filter(|name| emulators.find(name).is_ok()).collect())
}

/// The kernel's list.
struct Emulators {
    entries: Vec<Entry>,
    /// What turns all of them off.
    status: PathBuf,
    on: bool,
}

struct Entry {
    file: PathBuf,
    on: bool,
    interpreter: PathBuf,
    flags: String,
    offset: usize,
    magic: Vec<u8>,
    /// As long as `magic`.
    mask: Vec<u8>,
}

impl Emulators {
    /// Reads the list. Nothing if it is not mounted.
    fn read(folder: &Path) -> Option<Self> {
        let status = folder.join("status");
        let on = fs::read_to_string(&status).ok()?.trim() == "enabled";
        let mut entries = Vec::new();
        for file in fs::read_dir(folder).ok()?.flatten() {
            let path = file.path();
            // One that went meanwhile is none, and `register` cannot be read.
            if let Ok(text) = fs::read_to_string(&path)
                && let Some(entry) = Entry::parse(path, &text)
            {
                entries.push(entry);
            }
        }
        Some(Self {
            entries,
            status,
            on,
        })
    }

    fn find(&self, architecture: &str) -> Result<PathBuf, NoEmulator> {
        let processor = PROCESSORS.iter().find(|it| it.name == architecture);
        let header = processor.map(Processor::header);
        let matching = |entry: &&Entry| header.is_some_and(|header| entry.takes(&header));
        let mut found: Vec<&Entry> = self.entries.iter().filter(matching).collect();
        // The kernel takes the first that is on.
        found.sort_by_key(|entry| !entry.on);
        let Some(entry) = found.first() else {
            return Err(NoEmulator::Missing(architecture.to_owned()));
        };
        let interpreter = entry.interpreter.clone();
        let switch = match (self.on, entry.on) {
            (true, true) => None,
            (false, _) => Some(&self.status),
            (true, false) => Some(&entry.file),
        };
        match switch {
            Some(switch) => Err(NoEmulator::Off {
                interpreter,
                switch: switch.clone(),
            }),
            None if entry.flags.contains('F') => Ok(interpreter),
            None => Err(NoEmulator::NotFixed(interpreter)),
        }
    }
}

impl Entry {
    /// Reads what the kernel says of one kind of programs. Nothing for those that are known by the
    /// end of their name.
    fn parse(file: PathBuf, text: &str) -> Option<Self> {
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        let magic = unhex(value("magic")?)?;
        let mask = match value("mask") {
            Some(mask) => unhex(mask)?,
            None => vec![0xff; magic.len()],
        };
        (mask.len() == magic.len()).then_some(Self {
            file,
            on: text.starts_with("enabled"),
            interpreter: PathBuf::from(value("interpreter")?),
            flags: value("flags:").unwrap_or_default().to_owned(),
            offset: value("offset")?.parse().ok()?,
            magic,
            mask,
        })
    }

    fn takes(&self, header: &[u8; HEADER_BYTES]) -> bool {
        let Some(bytes) = header.get(self.offset..) else {
            return false;
        };
        let wanted = self.magic.iter().zip(&self.mask);
        bytes.len() >= self.magic.len()
            && bytes
                .iter()
                .zip(wanted)
                .all(|(byte, (magic, mask))| byte & mask == magic & mask)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says of Debian's emulators.
    fn entry(flags: &str, on: bool) -> String {
        let on = if on { "enabled" } else { "disabled" };
        format!(
            "{on}\ninterpreter /usr/bin/qemu-aarch64-static\nflags: {flags}\noffset 0\n\
             magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
        )
    }

    const S390X: &str = "enabled\ninterpreter /usr/bin/qemu-s390x-static\nflags: POCF\noffset 0\nmagic 7f454c4602020100000000000000000000020016\nmask ffffffffffffff00fffffffffffffffffffeffff\n";
    const PYTHON: &str =
        "enabled\ninterpreter /usr/bin/python3.11\nflags: \noffset 0\nmagic a70d0d0a\n";
    const JAR: &str = "enabled\ninterpreter /usr/bin/jexec\nflags: \nextension .jar\n";

    fn list(status: &str, aarch64: &str) -> Option<Emulators> {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("status", status),
            ("qemu-aarch64", aarch64),
            ("qemu-s390x", S390X),
            ("python3.11", PYTHON),
            ("jar", JAR),
        ];
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Emulators::read(folder.path())
    }

    #[test]
    fn an_emulator_is_found_by_how_programs_begin() {
        let all = list("enabled\n", &entry("OCF", true)).unwrap();
        let found = all.find("arm64").unwrap();
        assert_eq!(found, Path::new("/usr/bin/qemu-aarch64-static"));
        let found = all.find("s390x").unwrap();
        assert_eq!(found, Path::new("/usr/bin/qemu-s390x-static"));
        for missing in [
            "arm", "riscv64", "ppc64le", "mips64", "amd64", "386", "wasm",
        ] {
            let error = all.find(missing).unwrap_err();
            assert_eq!(error, NoEmulator::Missing(missing.to_owned()));
            assert!(error.to_string().contains("qemu-user-static"));
        }
    }

    #[test]
    fn one_that_does_not_work_in_steps_says_why() {
        let of = |status: &str, entry: &str| {
            let all = list(status, entry).unwrap();
            all.find("arm64").unwrap_err().to_string()
        };
        assert!(of("enabled\n", &entry("OC", true)).contains("without the flag F"));
        assert!(of("enabled\n", &entry("OCF", false)).contains("qemu-aarch64`"));
        assert!(of("disabled\n", &entry("OCF", true)).contains("status`"));
        let nowhere = tempfile::tempdir().unwrap();
        assert!(Emulators::read(nowhere.path()).is_none());
    }

    #[test]
    fn damaged_entries_are_none() {
        for text in [
            "enabled\ninterpreter /x\nflags: F\noffset 0\nmagic 7f4\n",
            "enabled\ninterpreter /x\nflags: F\noffset 0\nmagic zz\n",
            "enabled\ninterpreter /x\nflags: F\noffset 0\nmagic 7f45\nmask ff\n",
            "enabled\ninterpreter /x\nflags: F\noffset x\nmagic 7f45\n",
            "",
        ] {
            assert!(Entry::parse(PathBuf::from("x"), text).is_none(), "{text}");
        }
        let far = "enabled\ninterpreter /x\nflags: F\noffset 99\nmagic 7f45\n";
        let far = Entry::parse(PathBuf::from("x"), far).unwrap();
        assert!(!far.takes(&PROCESSORS[0].header()));
    }
}
