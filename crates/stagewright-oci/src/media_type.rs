//! Media types of the documents and blobs that images are made of.
//!
//! Docker's schema 2 types and OCI's name the same things; both are read everywhere.

/// An OCI image index: one image for several platforms.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// An uncompressed OCI layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A gzip-compressed OCI layer.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A zstd-compressed OCI layer.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// The empty JSON document `{}` (image specification, "Guidance for an Empty Descriptor").
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The descriptor of an index inside an image layout.
pub const OCI_LAYOUT_HEADER: &str = "application/vnd.oci.layout.header.v1+json";
/// Docker's form of an index.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's form of a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's form of a config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's form of an uncompressed layer.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker's form of a gzip-compressed layer.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's form of a zstd-compressed layer.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
/// The long outdated manifest of Docker before 1.10, which is recognised only to be refused.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// The signed form of [`DOCKER_SCHEMA1`].
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// The types of document that a reference may resolve to, as an `Accept` header lists them.
pub const MANIFEST_ACCEPT: [&str; 4] = [
    OCI_INDEX,
    OCI_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_MANIFEST,
];

/// How the tar of a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerEncoding {
    /// A plain tar.
    Uncompressed,
    /// Gzip, estargz included.
    Gzip,
    /// Zstandard, zstd:chunked included.
    Zstd,
}

impl LayerEncoding {
    /// Returns the encoding that a layer's media type names, or nothing when it is no layer.
    ///
    /// The "non-distributable" and "foreign" types, which the image specification deprecates, are
    /// layers too.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            OCI_LAYER | DOCKER_LAYER => return Some(Self::Uncompressed),
            OCI_LAYER_GZIP | DOCKER_LAYER_GZIP => return Some(Self::Gzip),
            OCI_LAYER_ZSTD | DOCKER_LAYER_ZSTD => return Some(Self::Zstd),
            _ => {}
        }
        let rest = media_type
            .strip_prefix("application/vnd.oci.image.layer.nondistributable.v1.tar")
            .or_else(|| {
                media_type.strip_prefix("application/vnd.docker.image.rootfs.foreign.diff.tar")
            })?;
        match rest {
            "" => Some(Self::Uncompressed),
            "+gzip" | ".gzip" => Some(Self::Gzip),
            "+zstd" | ".zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Returns the encoding that the first bytes of a layer show, as Docker decides on loading.
    pub fn of_magic(first_bytes: &[u8]) -> Self {
        match first_bytes {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, with which zstd:chunked and estargz-like layers may begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Uncompressed,
        }
    }

    /// Returns the OCI media type of a layer in this encoding.
    pub fn oci_media_type(self) -> &'static str {
        match self {
            Self::Uncompressed => OCI_LAYER,
            Self::Gzip => OCI_LAYER_GZIP,
            Self::Zstd => OCI_LAYER_ZSTD,
        }
    }

    /// Returns Docker's media type of a layer in this encoding.
    pub fn docker_media_type(self) -> &'static str {
        match self {
            Self::Uncompressed => DOCKER_LAYER,
            Self::Gzip => DOCKER_LAYER_GZIP,
            Self::Zstd => DOCKER_LAYER_ZSTD,
        }
    }
}

/// Returns whether a media type names an index in OCI's or Docker's form.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_MANIFEST_LIST)
}

/// Returns whether a media type names a manifest in OCI's or Docker's form.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_types_name_their_encoding() {
        for encoding in [
            LayerEncoding::Uncompressed,
            LayerEncoding::Gzip,
            LayerEncoding::Zstd,
        ] {
            for media_type in [encoding.oci_media_type(), encoding.docker_media_type()] {
                assert_eq!(LayerEncoding::of_media_type(media_type), Some(encoding));
            }
        }
        for (media_type, expected) in [
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                Some(LayerEncoding::Gzip),
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                Some(LayerEncoding::Gzip),
            ),
            ("application/vnd.oci.image.layer.v1.tar+lz4", None),
            (OCI_CONFIG, None),
        ] {
            assert_eq!(
                LayerEncoding::of_media_type(media_type),
                expected,
                "{media_type}"
            );
        }
    }
}
