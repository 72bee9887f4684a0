//! `nijimi-train`: see `nijimi-train --help`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    std::process::exit(nijimi_trainer::cli::main());
}
