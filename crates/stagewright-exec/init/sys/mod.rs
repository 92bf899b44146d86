//! The system calls, as safe functions: the only unsafe code of this program.
//!
//! The program is built without dependencies, so the C library's functions are declared here.

mod file;
mod mount;
mod process;
mod raw;
mod xattr;

pub(crate) use file::*;
pub(crate) use mount::*;
pub(crate) use process::*;
pub(crate) use xattr::*;
