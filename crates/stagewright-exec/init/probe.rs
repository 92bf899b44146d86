//! Tries what steps need: what a host says of itself is not what it lets one do.

use std::io;
use std::path::Path;

use crate::message::{FUSE, Failure, Finding, MOUNTS, Means, NAMESPACES, OVERLAY, PROC, Report};
use crate::outside::{leave, send};
use crate::overlay::overlay;
use crate::root;
use crate::stack::Stack;
use crate::step::Network;
use crate::sys;
use crate::trouble::Doing;

/// Tries in namespaces that end with this, and reports.
pub(crate) fn serve(scratch: &Path, means: &Means) -> Result<(), Failure> {
    if let Err(failure) = leave(means, Network::Host) {
        let findings = vec![Finding { name: NAMESPACES.to_owned(), errno: failure.errno }];
        send(&Report::Probed { findings });
        return Ok(());
    }
    // Only a child is in the new PID namespace.
    let child = sys::split().doing("starting process 1", "")?;
    if child == 0 {
        match findings(scratch, means) {
            Ok(findings) => send(&Report::Probed { findings }),
            Err(failure) => send(&Report::Failed { failure }),
        }
        sys::exit(0);
    }
    sys::wait(child);
    Ok(())
}

fn findings(scratch: &Path, means: &Means) -> Result<Vec<Finding>, Failure> {
    if let Err(failure) = root::make_mounts_private() {
        let mounts = Finding { name: MOUNTS.to_owned(), errno: failure.errno };
        return Ok(vec![Finding { name: NAMESPACES.to_owned(), errno: 0 }, mounts]);
    }
    let rootless = means.user_namespace.is_some();
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| scratch.join(name));
    let overlay = overlay(std::slice::from_ref(&lower), Some((&upper, &work)), rootless);
    let stacked = overlay.is_err().then(|| stacked(scratch, means));
    let place = sys::c_string(&lower).doing("trying /proc", &lower)?;
    let proc = sys::mount(c"proc", &place, c"proc", sys::MS_NOSUID, None);
    let found = |name: &str, result: io::Result<()>| Finding {
        name: name.to_owned(),
        errno: result.err().map_or(0, |error| error.raw_os_error().unwrap_or(sys::EINVAL)),
    };
    let mut findings = vec![found(NAMESPACES, Ok(())), found(OVERLAY, overlay.map(drop))];
    findings.extend(stacked.map(|errno| Finding { name: FUSE.to_owned(), errno }));
    findings.push(found(PROC, proc));
    Ok(findings)
}

/// Lets the program do what the kernel does not; returns the error number.
fn stacked(scratch: &Path, means: &Means) -> i32 {
    let Some(program) = &means.stacker else { return sys::ENOEXEC };
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| scratch.join(name));
    match Stack::start(program, &[lower], [&upper, &work], scratch) {
        Ok(stack) => {
            stack.end();
            0
        }
        // Without a number, the program itself failed.
        Err(failure) if failure.errno == 0 => sys::EIO,
        Err(failure) => failure.errno,
    }
}
