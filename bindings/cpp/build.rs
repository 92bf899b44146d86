//! Writes and compiles the C++ side of the bridge.

fn main() {
    cxx_build::bridge("src/bridge.rs")
        .std("c++17")
        .compile("stagewright_bridge");
    println!("cargo:rerun-if-changed=src/bridge.rs");
}
