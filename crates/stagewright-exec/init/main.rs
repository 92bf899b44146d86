//! The executable that runs a step: it is embedded in the library and started anew for each step.
//!
//! Standard input is the control socket: the request comes in, reports go out, its end means that
//! the caller is gone or wants the step to stop. Standard output and error are the step's.
//!
//! Three processes are involved. This one stays outside and watches the control socket; its child
//! is process 1 of the step's namespaces, which makes the root file system and reaps; the child of
//! that is the step's program. When process 1 ends, the kernel ends everything in the namespace,
//! and every mount is gone with it. Where there are no namespaces, [`bare`] does without.

#[path = "../src/message.rs"]
mod message;
mod bare;
mod calls;
mod cgroups;
mod covers;
mod enter;
mod filter;
mod guards;
mod network;
mod outside;
mod overlay;
mod probe;
mod program;
mod root;
mod stack;
mod stubs;
mod sys;
#[path = "../src/step.rs"]
#[allow(dead_code, reason = "the library uses the rest")]
mod step;
#[path = "../src/tree.rs"]
mod tree;
mod trees;
mod trouble;
#[path = "../src/wire.rs"]
mod wire;

fn main() {
    sys::reset_signals();
    if !guards::without("descriptors") {
        sys::close_from(3, false);
    }
    outside::serve();
}
