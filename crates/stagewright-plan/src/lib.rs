//! The build graph, and the lowering of a Dockerfile into it.
//!
//! A [`Plan`] holds only what its target reaches. Its vertices are few: a source (an image, a
//! build context), an exec (`RUN`) and a file step (`COPY`, `ADD`, `WORKDIR`). Everything else in
//! a Dockerfile changes the image config, which the plan carries for its target.
//!
//! Lowering needs the configs of base images (their `ENV`, `USER`, `ONBUILD`…), which only a
//! caller can fetch: [`lower`] answers with the images that it needs until it has them all.
//!
//! This crate opens no file and no socket, and reads no clock.

mod builder;
mod error;
mod graph;
mod image;
mod lower;
mod op;
mod remote;
mod request;

pub use error::{Fault, LowerError};
pub use graph::{Input, Plan, PlanImage, StageBase, StageInfo, Vertex, VertexId};
pub use image::{HistoryItem, ImageNeed, KnownImage, KnownImages};
pub use lower::{Lowered, lower, source_text};
pub use op::{
    CopyFrom, CopyOp, CopySource, ExecOp, FileOp, HeredocScript, MkdirOp, MountOp, NetworkMode, Op,
    PlanMount, SecurityMode, SourceOp,
};
pub use remote::{RemoteKind, shown_url, url_file_name};
pub use request::{LowerOptions, NamedSource, Squash, Unset, proxy_args};
