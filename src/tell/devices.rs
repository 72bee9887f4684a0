//! `nijimi devices`: what there is to draw on.

use crate::fault::Fault;
use nijimi_cli::print::print;
use nijimi_runtime::gpu::{self, Choice};

/// What to do where there is nothing.
const REMEDY: &str = "\
No GPU was found, so pictures are drawn on the CPU. To use a GPU, install its Vulkan driver:
   Debian, Ubuntu: sudo apt install mesa-vulkan-drivers (AMD and Intel; it also runs shaders on the CPU), or NVIDIA's driver
   Fedora: sudo dnf install mesa-vulkan-drivers, or NVIDIA's driver
   Arch: sudo pacman -S vulkan-radeon, vulkan-intel or nvidia-utils
   Windows, macOS: nothing is missing; update the GPU driver or the system";

/// Prints all adapters, and which of them is taken if nothing else is said.
pub fn list() -> Result<(), Fault> {
    let all = gpu::adapters();
    let auto = gpu::choose(&all, Choice::Hardware).ok();
    let mut text = String::new();
    for adapter in &all {
        let taken = if auto == Some(adapter.index) { "   used by --backend auto\n" } else { "" };
        text += &format!("{adapter}\n{taken}");
    }
    if all.is_empty() {
        text += REMEDY;
    } else if auto.is_none() {
        text += "There is no GPU: --backend auto uses the CPU directly, which is faster than running shaders on it.";
    }
    Ok(print(&format!("{}\n", text.trim_end()))?)
}
