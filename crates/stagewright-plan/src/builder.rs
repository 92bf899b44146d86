//! Collects vertices, each different one once.

use std::collections::HashMap;

use crate::graph::{Input, Vertex, VertexId};
use crate::op::Op;

/// A plan under construction.
#[derive(Debug, Default)]
pub(crate) struct Vertices {
    vertices: Vec<Vertex>,
    by_inputs: HashMap<Vec<Input>, Vec<VertexId>>,
}

impl Vertices {
    /// Returns what a vertex does.
    pub(crate) fn op(&self, id: VertexId) -> &Op {
        &self.vertices[id.0].op
    }
    /// Adds a vertex, or finds the one that does the same with the same inputs.
    pub(crate) fn add(&mut self, vertex: Vertex) -> VertexId {
        let same_inputs = self.by_inputs.entry(vertex.inputs.clone()).or_default();
        let equal = same_inputs.iter().copied().find(|id| {
            let other = &self.vertices[id.0];
            other.op == vertex.op && other.no_cache == vertex.no_cache
        });
        if let Some(id) = equal {
            return id;
        }
        let id = VertexId(self.vertices.len());
        same_inputs.push(id);
        self.vertices.push(vertex);
        id
    }

    /// Returns the vertices that were added, without those that `root` does not reach, and the new
    /// id of each that is left.
    pub(crate) fn reached_from(self, root: VertexId) -> (Vec<Vertex>, Vec<Option<VertexId>>) {
        let mut reached = vec![false; self.vertices.len()];
        let mut todo = vec![root];
        while let Some(id) = todo.pop() {
            if !std::mem::replace(&mut reached[id.0], true) {
                todo.extend(self.vertices[id.0].inputs.iter().map(|input| input.vertex));
            }
        }
        let mut new_ids = vec![None; self.vertices.len()];
        let mut vertices = Vec::new();
        for (index, mut vertex) in self.vertices.into_iter().enumerate() {
            if !reached[index] {
                continue;
            }
            new_ids[index] = Some(VertexId(vertices.len()));
            for input in &mut vertex.inputs {
                input.vertex = new_ids[input.vertex.0]
                    .expect("because inputs come before their users and are reached by them");
            }
            vertices.push(vertex);
        }
        mark_mounted(&mut vertices);
        mark_image(&mut vertices, new_ids[root.0]);
        (vertices, new_ids)
    }
}

/// Marks what steps mount: their root file systems and bind mounts, with all that these are
/// stacked on.
fn mark_mounted(vertices: &mut [Vertex]) {
    for index in (0..vertices.len()).rev() {
        let is_exec = matches!(vertices[index].op, Op::Exec(_));
        let mounted = vertices[index].mounted;
        let inputs = vertices[index].inputs.clone();
        for (position, input) in inputs.iter().enumerate() {
            if is_exec || (mounted && position == 0) {
                vertices[input.vertex.0].mounted = true;
            }
        }
    }
}

/// Marks what the image at `root` is stacked of.
fn mark_image(vertices: &mut [Vertex], root: Option<VertexId>) {
    let mut next = root;
    while let Some(id) = next {
        let vertex = &mut vertices[id.0];
        vertex.in_image = true;
        next = match vertex.op {
            Op::Source(_) => None,
            _ => vertex.inputs.first().map(|input| input.vertex),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::SourceOp;

    fn context(name: &str, inputs: &[usize]) -> Vertex {
        Vertex {
            op: Op::Source(SourceOp::Context {
                name: name.to_owned(),
            }),
            inputs: inputs
                .iter()
                .map(|id| Input {
                    vertex: VertexId(*id),
                })
                .collect(),
            name: name.to_owned(),
            stage: String::new(),
            span: None,
            place: String::new(),
            mounted: false,
            in_image: false,
            no_cache: false,
        }
    }

    #[test]
    fn equal_vertices_are_one() {
        let mut vertices = Vertices::default();
        let a = vertices.add(context("a", &[]));
        let b = vertices.add(context("b", &[]));
        assert_ne!(a, b);
        assert_eq!(vertices.add(context("a", &[])), a);
        assert_ne!(vertices.add(context("a", &[0])), a);
        let uncached = Vertex {
            no_cache: true,
            ..context("a", &[])
        };
        assert_ne!(vertices.add(uncached), a);
    }

    #[test]
    fn what_is_not_reached_is_dropped() {
        let mut vertices = Vertices::default();
        vertices.add(context("unused", &[]));
        vertices.add(context("input", &[]));
        let root = vertices.add(context("root", &[1]));
        let (kept, ids) = vertices.reached_from(root);
        assert_eq!(
            kept.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(),
            ["input", "root"]
        );
        assert_eq!(ids, [None, Some(VertexId(0)), Some(VertexId(1))]);
        assert_eq!(
            kept[1].inputs,
            [Input {
                vertex: VertexId(0)
            }]
        );
    }
}
