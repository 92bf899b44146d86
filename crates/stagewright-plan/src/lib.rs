//! The build graph, and the lowering of a Dockerfile into it.
