//! Keeps drivers from speaking on the program's standard error, where its own messages are.

/// Mesa's choice of a device looks for a Wayland display, and that library complains where there is no folder for its socket:
/// in containers, over ssh. In a folder without a socket it finds none, and is silent. To be called before there are threads.
pub fn drivers() {
    #[cfg(target_os = "linux")]
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: it is the first thing that `main` does, so no other thread reads the environment meanwhile.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}
