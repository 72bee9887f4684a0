//! `nijimi-train`: see `nijimi-train --help`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's option for the milliseconds after which freed memory goes back to the system; -1 is never.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() {
    // A step frees and takes the same few hundred megabytes again and again: given back, each page would be cleared anew.
    // SAFETY: sets a number; nothing else runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    std::process::exit(nijimi_trainer::cli::main());
}
