//! The linker's scripts lie here; each program has one, with the memory that it may take.
fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("set by Cargo");
    println!("cargo:rustc-link-arg-bins=-L{here}");
    for program in ["digits", "numbers"] {
        println!("cargo:rustc-link-arg-bin={program}=-T{program}.ld");
        println!("cargo:rerun-if-changed={program}.ld");
    }
    println!("cargo:rerun-if-changed=sections.ld");
}
