//! Holds no code: the tests are in `it/`. The examples in Rust of the documentation's pages are
//! compiled and run as those of the items here.
#![cfg_attr(
    doctest,
    allow(
        rustdoc::invalid_codeblock_attributes,
        reason = "pages say of blocks in other languages what they are for"
    )
)]

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/rust.md")]
struct RustGuide;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/stages.md")]
struct StagesGuide;
