//! Tells the linker what a Node add-on is.

fn main() {
    napi_build::setup();
}
