//! Base images as lowering sees them.

use std::collections::BTreeMap;

use stagewright_digest::{Digest, LayerId};
use stagewright_dockerfile::Span;
use stagewright_oci::{ImageConfig, Platform};

use crate::graph::VertexId;

/// An image that lowering needs to know before it can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageNeed {
    /// The reference as the Dockerfile has it, expanded.
    pub reference: String,
    /// The platform to choose from an index.
    pub platform: Platform,
    /// Where it is named.
    pub span: Option<Span>,
}

impl ImageNeed {
    /// Returns the key under which the answer is looked up.
    pub fn key(&self) -> (String, String) {
        (self.reference.clone(), self.platform.to_string())
    }
}

/// What is known of an image: everything but its files.
#[derive(Debug, Clone)]
pub struct KnownImage {
    /// The reference in full, for people: `docker.io/library/alpine:3.10`.
    pub name: String,
    /// The digest of its manifest, where it has one.
    pub manifest: Option<Digest>,
    /// Its config.
    pub config: ImageConfig,
    /// Its layers, from the bottom up.
    pub layers: Vec<LayerId>,
}

/// Answers to [`ImageNeed`]s.
#[derive(Debug, Clone, Default)]
pub struct KnownImages(BTreeMap<(String, String), KnownImage>);

impl KnownImages {
    /// Adds an answer.
    pub fn insert(&mut self, need: &ImageNeed, image: KnownImage) {
        self.0.insert(need.key(), image);
    }

    /// Returns an answer, if there is one.
    pub fn get(&self, need: &ImageNeed) -> Option<&KnownImage> {
        self.0.get(&need.key())
    }
}

/// One line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryItem {
    /// The instruction as `docker history` shows it.
    pub created_by: String,
    /// The vertex whose layer it stands for; none for an instruction that changes the config only.
    /// A vertex that changed nothing makes the line one of an empty layer.
    pub vertex: Option<VertexId>,
    /// What the vertex added is in the layer of the last line.
    pub squashed: bool,
}
