//! Extended attributes, of links themselves.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;

use super::raw;

const ENODATA: i32 = 61;
const EOPNOTSUPP: i32 = 95;
const ERANGE: i32 = 34;

/// Returns all extended attributes that can be read.
pub(crate) fn xattrs(path: &CStr) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let names = match sized(|buffer| {
        // SAFETY: the buffer is as long as said.
        unsafe { raw::llistxattr(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }
    }) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(EOPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let value = sized(|buffer| {
            // SAFETY: the buffer is as long as said.
            unsafe {
                raw::lgetxattr(
                    path.as_ptr(),
                    name.as_ptr(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                )
            }
        });
        match value {
            Ok(value) => found.push((OsString::from_vec(name.to_bytes().to_vec()), value)),
            // The name was listed, the value may not be read: attributes of the host's security.
            Err(error) if matches!(error.raw_os_error(), Some(ENODATA | EOPNOTSUPP)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Sets an extended attribute.
pub(crate) fn set_xattr(path: &CStr, name: &OsStr, value: &[u8]) -> io::Result<()> {
    let name = super::c_string(name)?;
    // SAFETY: the strings outlive the call; the value is as long as said.
    let set = unsafe {
        raw::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    match raw::check(set) {
        // A file system that can't hold it: as when root makes the file.
        Err(error) if error.raw_os_error() == Some(EOPNOTSUPP) => Ok(()),
        other => other.map(drop),
    }
}

/// Removes an extended attribute, if it is there.
pub(crate) fn clear_xattr(path: &CStr, name: &OsStr) -> io::Result<()> {
    let name = super::c_string(name)?;
    // SAFETY: the strings outlive the call.
    match raw::check(unsafe { raw::lremovexattr(path.as_ptr(), name.as_ptr()) }) {
        Err(error) if matches!(error.raw_os_error(), Some(ENODATA | EOPNOTSUPP)) => Ok(()),
        other => other.map(drop),
    }
}

/// Calls with a buffer that is large enough.
fn sized(mut call: impl FnMut(&mut [u8]) -> isize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        if let Ok(count) = usize::try_from(call(&mut buffer)) {
            buffer.truncate(count);
            return Ok(buffer);
        }
        let error = io::Error::last_os_error();
        // The kernel's limit is 64 KiB.
        if error.raw_os_error() != Some(ERANGE) || buffer.len() >= 1 << 17 {
            return Err(error);
        }
        buffer.resize(buffer.len() * 4, 0);
    }
}
