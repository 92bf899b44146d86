//! Test support: project files, fixture images, an image comparer, the command and its peers.
//!
//! It judges what the other crates make, so it shares no code with them: images are read here with
//! a plain tar reader and generic JSON, and the other builders run as programs. It never decides
//! that a test may be skipped; what it needs and can't find is a panic that says so, since a test
//! has nobody to return an error to.
//!
//! - [`Project`]: a build context in a temporary folder.
//! - [`LayerTar`], [`ImageWriter`]: images made by hand; [`busybox`]: a small base to build on.
//! - [`Image`]: an image as read back, [`differences`] between two of them.
//! - [`Registry`], [`WebServer`], [`GitServer`], [`ObjectServer`]: servers in this process that can be told to fail.
//! - [`Stagewright`]: the command; [`Buildah`]: the peer that it is compared with.
//! - [`Page`]: the documentation, whose examples run in an [`ExampleHost`].
//!
//! ```
//! use stagewright_testkit::{ImageWriter, Image, LayerTar, Project, differences};
//!
//! let project = Project::new().file("Dockerfile", "FROM scratch\nCOPY a /a\n").file("a", "text");
//! let layer = LayerTar::new().file("a", 0o644, "text");
//! let layout = project.path().join("image");
//! ImageWriter::new().layer(layer).env("A", "1").write(&layout, "latest");
//! let image = Image::read(&layout);
//! assert_eq!(image.config.env, ["A=1"]);
//! assert_eq!(differences(&image, &image), Vec::<String>::new());
//! ```
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "support of tests: what goes wrong is a panic"
)]

mod book;
mod buildah;
mod busybox;
mod command;
mod command_reference;
mod compare;
mod docker_daemon;
mod docker_registry;
mod git_server;
mod http_server;
mod image;
mod layer_tar;
mod layout;
mod memory;
mod object_server;
mod process;
mod process_state;
mod project;
mod registry;
mod rootfs;
mod ssh_server;
mod web_server;

pub use book::{Block, BlockKind, ExampleHost, Page};
pub use buildah::Buildah;
pub use busybox::busybox;
pub use command::{Build, ExplainedStep, Stagewright};
pub use command_reference::command_reference;
pub use compare::{config_differences, differences, rootfs_differences};
pub use docker_daemon::DockerDaemon;
pub use docker_registry::DockerRegistry;
pub use git_server::GitServer;
pub use http_server::Request;
pub use image::{HistoryEntry, Image, ImageConfig};
pub use layer_tar::LayerTar;
pub use layout::ImageWriter;
pub use memory::Memory;
pub use object_server::ObjectServer;
pub use process::{Output, output, program};
pub use process_state::process_state;
pub use project::Project;
pub use registry::{Fault, Registry, RegistryLogin};
pub use rootfs::{Entry, Kind, Rootfs};
pub use ssh_server::{SshAgent, SshServer};
pub use web_server::{WebFile, WebServer};
