//! Layers of the image that become one.

use super::Lowering;
use crate::graph::{Input, Vertex, VertexId};
use crate::image::HistoryItem;
use crate::op::{FileOp, Op, SourceOp};
use crate::request::Squash;

impl Lowering<'_> {
    /// Adds the vertex that makes layers of the target one, if that is asked for, and returns the root
    /// of the image. As in Buildah, the last line of the history is that of the layer.
    pub(crate) fn squash(&mut self, target: usize) -> VertexId {
        let end = &self.ends[&target];
        let stage = self.stages.shown(target);
        let vertex = |op, name: String| Vertex {
            op,
            inputs: Vec::new(),
            name,
            stage: stage.clone(),
            span: Some(self.stages.stage(target).span),
            place: String::new(),
            mounted: false,
            in_image: false,
            no_cache: false,
        };
        let (base, text) = match self.options.squash {
            Squash::No => return end.root,
            Squash::New => (end.base, "the layers of this build"),
            Squash::All => {
                let scratch = vertex(Op::Source(SourceOp::Scratch), "FROM scratch".to_owned());
                (self.vertices.add(scratch), "all layers")
            }
        };
        if end.root == base {
            return base;
        }
        let inputs = [base, end.root].map(|vertex| Input { vertex });
        let squash = Vertex {
            inputs: inputs.to_vec(),
            place: format!("{} {stage} squash", self.options.project),
            no_cache: self.options.no_cache,
            ..vertex(Op::File(FileOp::Squash), format!("[squash] {text}"))
        };
        let root = self.vertices.add(squash);
        let Some(end) = self.ends.get_mut(&target) else {
            return root;
        };
        if self.options.squash == Squash::All {
            end.config.history.clear();
        }
        for item in &mut end.history {
            item.squashed = true;
        }
        let created_by = end.history.pop().map(|last| last.created_by);
        end.history.push(HistoryItem {
            created_by: created_by.unwrap_or_else(|| format!("squash {text}")),
            vertex: Some(root),
            squashed: false,
        });
        root
    }
}
