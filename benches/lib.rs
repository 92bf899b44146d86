//! Holds no code: each benchmark is a file of its own.
