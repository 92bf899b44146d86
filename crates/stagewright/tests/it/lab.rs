//! A project with a number in it, and builds of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use fs_err as fs;
use stagewright::{
    BuildRequest, Builder, BuilderOptions, Compression, Error, ErrorKind, EventKind, Export,
    ExportKind, Image, NamedContext, Outcome,
};

/// What a lab builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Files alone, which needs no root.
    Copies,
    /// Files of a base image, and files on top of it.
    Based,
    /// Commands too.
    Commands,
}

const COPIES: &str = "\
FROM scratch AS made
COPY fixed /fixed
COPY number /made/number
FROM scratch
COPY --from=made /made /fixed /out/
";
const BASED: &str = "\
FROM busybox
COPY number /out/number
COPY --from=busybox /bin/busybox /out/busybox
";
const COMMANDS: &str = "\
FROM busybox AS made
COPY number /made/number
RUN cp /made/number /made/copy && echo built
FROM scratch
COPY --from=made /made /out
";

/// Makes a folder for a lab, in memory where there is one and nothing is mounted: what a killed
/// process wrote is there all the same, and hundreds of stores take seconds instead of minutes.
pub(crate) fn folder(kind: Kind) -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    memory
        .filter(|_| kind != Kind::Commands)
        .unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// A project and a store.
pub(crate) struct Lab {
    pub(crate) root: PathBuf,
    kind: Kind,
}

/// A build that succeeded.
pub(crate) struct Built {
    pub(crate) image: Image,
    /// How many steps ran.
    pub(crate) executed: usize,
    /// Whether something was told that a person should know.
    pub(crate) warned: bool,
}

impl Lab {
    /// Makes the project in a folder.
    pub(crate) fn make(root: &Path, kind: Kind) -> Self {
        let lab = Self::at(root, kind);
        fs::create_dir_all(lab.context()).unwrap();
        let dockerfile = match kind {
            Kind::Copies => COPIES,
            Kind::Based => BASED,
            Kind::Commands => COMMANDS,
        };
        fs::write(lab.context().join("Dockerfile"), dockerfile).unwrap();
        fs::write(lab.context().join("fixed"), "always the same").unwrap();
        if kind != Kind::Copies {
            stagewright_testkit::busybox(&root.join("busybox"));
        }
        lab
    }

    /// Takes the project that is in a folder.
    pub(crate) fn at(root: &Path, kind: Kind) -> Self {
        let root = root.to_owned();
        Self { root, kind }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    fn context(&self) -> PathBuf {
        self.root.join("context")
    }

    pub(crate) fn open(&self) -> Result<Builder, Error> {
        Builder::open(BuilderOptions::at(self.store()))
    }

    /// Builds the project with a number, under a name with that number.
    pub(crate) fn build(&self, builder: &Builder, number: u64) -> Result<Built, Error> {
        self.write_number(number).unwrap();
        self.build_what_is_there(builder, number)
    }

    /// Builds the project like [`Lab::build`] on a disk that may be full.
    pub(crate) fn try_build(&self, builder: &Builder, number: u64) -> Result<Built, Error> {
        self.write_number(number)
            .map_err(|error| Error::new(ErrorKind::Store, error.to_string()))?;
        self.build_what_is_there(builder, number)
    }

    /// Writes the file that changes. Its time does not: layers keep times, and a layer that is made
    /// again is to be the same.
    fn write_number(&self, number: u64) -> std::io::Result<()> {
        let path = self.context().join("number");
        fs::write(&path, text_of(number))?;
        let file = fs::OpenOptions::new().write(true).open(path)?;
        file.file()
            .set_modified(UNIX_EPOCH + Duration::from_secs(1_600_000_000))
    }

    fn build_what_is_there(&self, builder: &Builder, number: u64) -> Result<Built, Error> {
        let mut request = BuildRequest::directory(self.context());
        request.source_date_epoch = Some(1_700_000_000);
        request.tags = vec![format!("lab:{number}")];
        if self.kind != Kind::Copies {
            let layout = NamedContext::OciLayout {
                path: self.root.join("busybox"),
                reference: None,
            };
            request.named_contexts = vec![("busybox".to_owned(), layout)];
        }
        let mut build = builder.build(request);
        let mut events = build.events().unwrap();
        let mut warned = false;
        let (mut executed, mut steps) = (0, std::collections::BTreeSet::new());
        while let Some(event) = events.next_blocking() {
            match event.kind {
                EventKind::Planned { vertices } => {
                    steps.extend(vertices.iter().filter(|v| v.step).map(|v| v.id));
                }
                EventKind::Finished {
                    vertex,
                    outcome: Outcome::Executed { .. },
                } if steps.contains(&vertex) => executed += 1,
                EventKind::Warning { message, .. } => warned |= message.contains("was damaged"),
                _ => {}
            }
        }
        Ok(Built {
            image: build.wait()?,
            executed,
            warned,
        })
    }

    /// Exports an image as a layout, as a caller who wants to keep it does.
    pub(crate) fn export(&self, image: &Image, name: &str) -> Result<(), Error> {
        let export = Export {
            kind: ExportKind::OciArchive,
            dest: self.root.join(name),
            names: Vec::new(),
            compression: Compression::Gzip,
            ..Export::default()
        };
        image.export(&export).map(drop)
    }

    /// Reads the files of an image out of the store.
    pub(crate) fn read_files(&self, image: &Image) -> Result<Vec<String>, Error> {
        let out = tempfile::tempdir_in(&self.root).unwrap();
        let dest = out.path().join("files");
        let export = Export {
            kind: ExportKind::Directory,
            dest: dest.clone(),
            ..Export::default()
        };
        image.export(&export)?;
        let names = match self.kind {
            Kind::Copies | Kind::Based => &["number"][..],
            Kind::Commands => &["number", "copy"],
        };
        let read = |name: &&str| fs::read_to_string(dest.join("out").join(name)).unwrap();
        Ok(names.iter().map(read).collect())
    }

    /// Checks that files are those of a build with a number.
    #[track_caller]
    pub(crate) fn check_read(&self, files: &[String], number: u64) {
        assert!(
            files.iter().all(|text| *text == text_of(number)),
            "{files:?}"
        );
    }

    /// Checks that an image holds the files of a build with a number, read out of the store.
    #[track_caller]
    pub(crate) fn check_files(&self, image: &Image, number: u64) {
        self.check_read(&self.read_files(image).unwrap(), number);
    }

    /// Checks that the store holds nothing that is damaged.
    #[track_caller]
    pub(crate) fn check_store(&self, builder: &Builder) {
        let found = builder.verify_cache(false).unwrap();
        assert_eq!(found.damaged, vec![]);
    }

    /// Checks that a build that was reported is there: nothing of it runs again, and it makes the same
    /// image.
    #[track_caller]
    pub(crate) fn check_kept(&self, builder: &Builder, number: u64, id: &str) {
        assert_eq!(self.check_named(builder, number, id), 0);
    }

    /// Checks that the image of a build that was reported is there, and that the same build makes it again. Returns how many
    /// steps of it ran.
    #[track_caller]
    pub(crate) fn check_named(&self, builder: &Builder, number: u64, id: &str) -> usize {
        let named = builder.image(&format!("lab:{number}")).unwrap();
        assert_eq!(named.id().to_string(), id);
        self.check_files(&named, number);
        let again = self.build(builder, number).unwrap();
        assert_eq!(again.image.id().to_string(), id);
        again.executed
    }
}

/// The content of the file that changes: long enough that a flipped byte is likely in it.
fn text_of(number: u64) -> String {
    format!("number {number}\n").repeat(40)
}
