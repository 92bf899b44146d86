//! OCI documents, media types, references, platforms and image layouts.
