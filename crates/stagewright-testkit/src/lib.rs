//! Test support: project files, fixture images, an in-process registry, an image comparer.
