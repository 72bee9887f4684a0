//! Files without a name, which are gone when the program is, however it ends: Linux has them, on most file systems.
#![allow(unsafe_code)] // a function of the C library that the standard library does not have

use std::fs::File;
use std::io;
use std::path::Path;

/// `O_TMPFILE`, which contains `O_DIRECTORY`, of the architectures whose values are known here.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "x86", target_arch = "riscv64")))]
const O_TMPFILE: Option<i32> = Some(0o20_200_000);
#[cfg(all(target_os = "linux", any(target_arch = "aarch64", target_arch = "arm")))]
const O_TMPFILE: Option<i32> = Some(0o20_040_000);
#[cfg(all(
    target_os = "linux",
    not(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "riscv64",
        target_arch = "aarch64",
        target_arch = "arm"
    ))
))]
const O_TMPFILE: Option<i32> = None;

/// Creates one in a directory. Fails where there are none, or where [`link`] could not find it.
#[cfg(target_os = "linux")]
pub(super) fn create(directory: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = O_TMPFILE.ok_or(io::ErrorKind::Unsupported)?;
    let file = File::options().read(true).write(true).custom_flags(flags).open(directory)?;
    std::fs::metadata(open_as(&file)).map(|_| file)
}

/// Gives it a name, which nothing may have yet.
#[cfg(target_os = "linux")]
pub(super) fn link(file: &File, path: &Path) -> io::Result<()> {
    use core::ffi::{c_char, c_int};
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    unsafe extern "C" {
        fn linkat(from: c_int, old: *const c_char, to: c_int, new: *const c_char, flags: c_int) -> c_int;
    }
    const AT_FDCWD: c_int = -100;
    const AT_SYMLINK_FOLLOW: c_int = 0x400;
    let (old, new) = (CString::new(open_as(file))?, CString::new(path.as_os_str().as_bytes())?);
    // SAFETY: declared as in unistd.h; both are strings that end in a zero and outlive the call.
    match unsafe { linkat(AT_FDCWD, old.as_ptr(), AT_FDCWD, new.as_ptr(), AT_SYMLINK_FOLLOW) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(target_os = "linux")]
fn open_as(file: &File) -> std::string::String {
    use std::os::fd::AsRawFd;
    std::format!("/proc/self/fd/{}", file.as_raw_fd())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn create(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
