//! Where the emoji model is: beside this file in the repository, in three packages elsewhere, since one may have 10 MB.

fn main() {
    println!("cargo:rerun-if-changed=emoji-q8_0.gguf");
    #[cfg(feature = "emoji")]
    emoji();
}

#[cfg(feature = "emoji")]
fn emoji() {
    use std::path::{Path, PathBuf};
    use std::{env, fs};
    let here = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it")).join("emoji-q8_0.gguf");
    let path = if here.exists() {
        here
    } else {
        let whole = [nijimi_weights_emoji_1::PART, nijimi_weights_emoji_2::PART, nijimi_weights_emoji_3::PART].concat();
        assert!(
            !whole.is_empty(),
            "the packages of the emoji model were made without release/packages.py: they are empty"
        );
        let path = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says it")).join("emoji-q8_0.gguf");
        fs::write(&path, whole).expect("the output folder takes files");
        path
    };
    println!("cargo:rustc-env=NIJIMI_EMOJI={}", path.display());
}
