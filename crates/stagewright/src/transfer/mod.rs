//! Images from one place to another, as they are: registries, layouts, archives, the stores of other
//! tools, and the store here.
//!
//! Every place gives an image as its documents and blobs ([`source`]) and takes it as such, so that an
//! index of several platforms and what is attested of them arrive byte for byte. Where a place holds one
//! platform, one is chosen; the store here keeps what is attested of it, too.

mod copy;
mod destination;
mod graph;
mod inspect;
mod load;
mod place;
mod program;
mod source;

pub use copy::CopyOptions;
pub use inspect::{InspectedAttestation, InspectedImage, InspectedPlatform};
pub use place::ImagePlace;
