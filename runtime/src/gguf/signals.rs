//! Signals that a system sends for what is an error of a file. For a program's `main`: they are settings of the whole process.
#![allow(unsafe_code)] // functions of the C library that the standard library does not have

#[cfg(any(target_os = "linux", target_os = "macos"))]
mod c {
    use core::ffi::{c_int, c_void};

    unsafe extern "C" {
        pub fn signal(number: c_int, handler: usize) -> usize;
        pub fn write(file: c_int, bytes: *const c_void, count: usize) -> isize;
        pub fn _exit(code: c_int) -> !;
    }

    pub const SIGXFSZ: c_int = 25;
    pub const SIGBUS: c_int = if cfg!(target_os = "macos") { 10 } else { 7 };
    pub const SIG_IGN: usize = 1;

    /// The program ends: what was to be read is no longer there.
    pub extern "C" fn cut(_: c_int) {
        const TOLD: &[u8] =
            b"a weight file became shorter while it was read, or its disk fails: do not write to it meanwhile, and try again\n";
        // SAFETY: declared as in unistd.h; both may be called in a handler (signal-safety(7)), and the bytes are a constant's.
        unsafe {
            write(2, TOLD.as_ptr().cast(), TOLD.len());
            _exit(3)
        }
    }
}

/// Makes writing beyond a limit on the size of files (`ulimit -f`) an error, as a full disk is, and no longer the end of the
/// program; and ends the program with a message and exit code 3 where a mapped file is cut while it is read.
pub fn faults_of_files_are_errors() {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    // SAFETY: declared as in signal.h; no function is called for an ignored signal, and the other's handler does what one may.
    unsafe {
        c::signal(c::SIGXFSZ, c::SIG_IGN);
        c::signal(c::SIGBUS, c::cut as extern "C" fn(core::ffi::c_int) as usize);
    }
}
