//! The Dockerfile language: text to typed instructions with source spans, expansion and build checks.
