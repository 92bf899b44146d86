//! The content store: blobs, layers, action cache, leases, garbage collection.
