//! Names of things: digests, keys, and the canonical encoder that keys are made with.
