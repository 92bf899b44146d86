//! Layers: deterministic tar and its index, whiteouts, compression.
