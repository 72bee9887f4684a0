//! The linker's scripts lie here, one for each chip.
fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("set by Cargo");
    let script = match std::env::var("CARGO_CFG_TARGET_ARCH").expect("set by Cargo").as_str() {
        "arm" => "cortex-m4f.ld",
        "riscv32" => "riscv32.ld",
        _ => return,
    };
    println!("cargo:rustc-link-arg-bins=-L{here}");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rerun-if-changed=sections.ld");
}
