//! Container images built from Dockerfiles inside the process that asks for it: no daemon, no
//! Docker, no root needed.
//!
//! Nothing here prints, or reads the environment, the home directory or the working directory:
//! what a build needs to know is in its request and in the builder's options.

mod error;
mod export;
mod request;

pub use error::{Error, ErrorKind};
pub use export::{Compression, Export, ExportKind};
pub use request::{
    BuildRequest, ContextSource, DockerfileSource, NamedContext, Network, Secret, SecretValue,
};
pub use stagewright_solver::{
    Change, Event, EventKind, LogStream, MissReason, Outcome, VertexInfo,
};
