//! Registries, HTTP and git: the only network code.
