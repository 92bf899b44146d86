//! Container images built from Dockerfiles inside the process that asks for it.
