//! The stand-in base images: `node:12-stretch` and `alpine:3.10` as the lesson's Dockerfile names
//! them, made of Debian packages, since no public registry is assumed to be in reach. They are
//! labelled as stand-ins in their os-release, their image labels and what their programs print.

mod alpine;
mod layout;
mod make;
mod node;
mod registry;

pub(crate) use make::Bases;
pub(crate) use registry::{Registry, push};
