//! What C++ sees of the Rust half.
#![expect(
    unsafe_code,
    reason = "the bridge is written by cxx; there is none by hand"
)]

use crate::build::NativeBuild;
use crate::builder::{NativeBuilder, open_builder, to_dockerfile};
use crate::image::NativeImage;
use crate::images::{NativeImages, new_images};
use crate::run::{NativeCanceller, new_canceller};
use crate::transfer::NativeTransfer;

/// What the C++ files call. What is thrown there carries the error in JSON.
#[cxx::bridge(namespace = "stagewright::native")]
mod ffi {
    extern "Rust" {
        type NativeBuilder;
        type NativeBuild;
        type NativeImage;
        type NativeImages;
        type NativeCanceller;
        type NativeTransfer;

        fn open_builder(
            store: &str,
            mirrors: Vec<String>,
            environment: Vec<String>,
            store_limit: &str,
            store_min_free: &str,
            store_reserved: &str,
        ) -> Result<Box<NativeBuilder>>;
        fn to_dockerfile(stages: &str) -> Result<String>;

        fn start(self: &NativeBuilder, request: &str) -> Result<Box<NativeBuild>>;
        fn explain(self: &NativeBuilder, request: &str) -> Result<String>;
        fn check(self: &NativeBuilder, request: &str) -> Result<String>;
        fn outline(self: &NativeBuilder, request: &str) -> Result<String>;
        fn targets(self: &NativeBuilder, request: &str) -> Result<String>;
        fn image(self: &NativeBuilder, name: &str) -> Result<Box<NativeImage>>;
        fn images(self: &NativeBuilder) -> Result<String>;
        fn tag_image(self: &NativeBuilder, name: &str, new_name: &str) -> Result<()>;
        fn remove_image(self: &NativeBuilder, name: &str) -> Result<()>;
        fn pull_image(
            self: &NativeBuilder,
            name: &str,
            options: &str,
        ) -> Result<Box<NativeTransfer>>;
        fn load_images(
            self: &NativeBuilder,
            path: &str,
            options: &str,
        ) -> Result<Box<NativeTransfer>>;
        fn copy_image(
            self: &NativeBuilder,
            source: &str,
            dest: &str,
            options: &str,
        ) -> Result<Box<NativeTransfer>>;
        fn inspect_image(self: &NativeBuilder, place: &str, options: &str) -> Result<String>;
        fn cache_usage(self: &NativeBuilder) -> Result<String>;
        fn layer_uses(self: &NativeBuilder) -> Result<String>;
        fn prune_cache(self: &NativeBuilder, options: &str) -> Result<String>;
        fn verify_cache(self: &NativeBuilder, repair: bool) -> Result<String>;
        fn host_report(self: &NativeBuilder) -> Result<String>;

        fn next_event(self: &NativeBuild) -> Result<String>;
        fn drop_events(self: &NativeBuild) -> Result<()>;
        fn cancel(self: &NativeBuild) -> Result<()>;
        fn wait(self: &NativeBuild) -> Result<Box<NativeImage>>;

        fn describe(self: &NativeImage) -> Result<String>;
        fn sizes(self: &NativeImage) -> Result<String>;
        fn run(self: &NativeImage, options: &str, canceller: &NativeCanceller) -> Result<i32>;
        fn export_cache(self: &NativeImage, to: &str) -> Result<Box<NativeTransfer>>;

        fn new_canceller() -> Result<Box<NativeCanceller>>;
        fn cancel(self: &NativeCanceller) -> Result<()>;

        fn new_images() -> Box<NativeImages>;
        fn add(self: &mut NativeImages, image: &NativeImage) -> Result<()>;
        fn export_to(self: &NativeImages, options: &str) -> Result<String>;
        fn push(self: &NativeImages, options: &str) -> Result<Box<NativeTransfer>>;

        fn next_event(self: &NativeTransfer) -> Result<String>;
        fn drop_events(self: &NativeTransfer) -> Result<()>;
        fn texts(self: &NativeTransfer) -> Result<Vec<String>>;
        fn image(self: &NativeTransfer) -> Result<Box<NativeImage>>;
    }
}
