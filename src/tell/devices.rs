//! `nijimi devices`: what there is to draw on.

use crate::fault::Fault;
use nijimi_runtime::gpu::{self, Choice};
use std::io::{Write, stdout};

/// What to do where there is nothing.
const REMEDY: &str = "\
There is no adapter: pictures are drawn on the CPU. For a GPU, install its Vulkan driver:
   Debian, Ubuntu: sudo apt install mesa-vulkan-drivers (AMD, Intel; also runs shaders on the CPU), or NVIDIA's driver
   Fedora: sudo dnf install mesa-vulkan-drivers, or NVIDIA's driver
   Arch: sudo pacman -S vulkan-radeon, vulkan-intel or nvidia-utils
   Windows, macOS: they have what it takes; update the GPU's driver or the system";

/// Prints all adapters, and which of them is taken if nothing else is said.
pub fn list() -> Result<(), Fault> {
    let all = gpu::adapters();
    let auto = gpu::choose(&all, Choice::Hardware).ok();
    let mut text = String::new();
    for adapter in &all {
        let taken = if auto == Some(adapter.index) { "   taken by --backend auto\n" } else { "" };
        text += &format!("{adapter}\n{taken}");
    }
    if all.is_empty() {
        text += REMEDY;
    } else if auto.is_none() {
        text += "There is no GPU: --backend auto takes the CPU, which is faster than shaders run on it.";
    }
    // A reader that has seen enough, as `head`, is no error.
    let _ = writeln!(stdout(), "{}", text.trim_end());
    Ok(())
}
