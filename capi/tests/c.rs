//! C programs on the library, compiled as a user's are: what they draw is what the runtime draws. Where there is no C compiler, no
//! sanitizer or no valgrind, what needs it is left out, which is said.

#[path = "../../runtime/tests/common/drawn.rs"]
mod drawn;

use drawn::drawn;
use nijimi_import::{Lora, embedding};
use nijimi_runtime::gguf::MappedFile;
use nijimi_runtime::model::{DrawRequest, Enlarge, Hires, OpenOptions, batch_seeds};
use nijimi_runtime::sampler::{Sigmas, Solver};
use nijimi_runtime::{Device, Model};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn weights(name: &str) -> PathBuf {
    Path::new(HERE).join(format!("../weights/{name}.gguf"))
}

/// A folder that is removed with this value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nijimi-capi-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where cargo put the library.
fn library() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let name = format!("{}nijimi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    assert!(deps.join(&name).exists(), "{name} is not in {}", deps.display());
    deps
}

/// Compiles a program; none where there is no compiler.
fn compile(source: &str, to: &Path, flags: &[&str]) -> Option<()> {
    let library = library();
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Wextra", "-Werror", "-std=c99", "-pedantic", "-g", "-pthread"]).args(flags);
    cc.arg(Path::new(HERE).join(source)).arg("-I").arg(Path::new(HERE).join("include"));
    cc.arg("-L").arg(&library).arg("-lnijimi").arg(format!("-Wl,-rpath,{}", library.display())).arg("-o").arg(to);
    let Ok(said) = cc.output() else {
        eprintln!("skipped: no C compiler (cc)");
        return None;
    };
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Some(())
}

fn run(command: &mut Command) {
    // Cargo's names folders in which an older library may be left.
    let said = command.env_remove("LD_LIBRARY_PATH").output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{command:?}: {}\n{text}", said.status);
}

/// Half a file.
fn damaged(folder: &Folder) -> PathBuf {
    let (path, bytes) = (folder.path("damaged.gguf"), fs::read(weights("digits-q8_0")).unwrap());
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    path
}

/// A LoRA of one layer of the model.
fn lora(folder: &Folder, model: &MappedFile) -> PathBuf {
    let file = model.file().unwrap();
    let layer = file.tensors().find(|t| t.name.starts_with("unet.") && t.name.ends_with("attn1.to_q.weight")).unwrap();
    let (name, shape) = (layer.name.trim_end_matches(".weight"), layer.shape());
    let (down, up) = (shape[1], shape[0]);
    let header = format!(
        r#"{{"{name}.lora_A.weight":{{"dtype":"F32","shape":[1,{down}],"data_offsets":[0,{}]}},"{name}.lora_B.weight":{{"dtype":"F32","shape":[{up},1],"data_offsets":[{},{}]}}}}"#,
        4 * down,
        4 * down,
        4 * (down + up),
    );
    let values = (0..down + up).flat_map(|i| (if i % 3 == 0 { 0.5f32 } else { -0.25 }).to_le_bytes());
    let path = folder.path("lora.safetensors");
    let values: Vec<u8> = values.collect();
    fs::write(&path, [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &values].concat()).unwrap();
    path
}

/// A textual inversion of two vectors for the model.
fn toy(folder: &Folder, model: &MappedFile) -> PathBuf {
    let n = 2 * model.file().unwrap().u32("nijimi.text_encoder.width").unwrap();
    let header = format!(r#"{{"emb_params":{{"dtype":"F32","shape":[2,{}],"data_offsets":[0,{}]}}}}"#, n / 2, 4 * n);
    let values: Vec<u8> = (0..n).flat_map(|i| (if i % 3 == 0 { 0.5f32 } else { -0.25 }).to_le_bytes()).collect();
    let path = folder.path("toy.safetensors");
    fs::write(&path, [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &values].concat()).unwrap();
    path
}

/// Seen red with another seed, another strength of the LoRA, the mask the other way round, the picture in place of the preview, and
/// another solver in check.c; with other steps and another upscaler of the second pass there, another truncation, and no clip_skip; with the
/// embedding's word not passed on, and with the embedding left out.
#[test]
fn a_c_program_draws_what_the_runtime_draws() {
    let folder = Folder::new("check");
    let program = folder.path("check");
    if compile("tests/c/check.c", &program, &[]).is_none() {
        return;
    }
    let (digits, emoji) = (weights("digits-q8_0"), weights("emoji-q8_0"));
    let stored = Arc::new(MappedFile::open(&emoji).unwrap());
    let lora = lora(&folder, &stored);
    let toy = toy(&folder, &stored);
    run(Command::new(&program).arg(&digits).arg(damaged(&folder)).arg(&folder.0).arg(&emoji).arg(&lora).arg(&toy));

    let model = Model::open(&digits, &Device::Cpu).unwrap();
    let request = DrawRequest { steps: Some(2), guidance_scale: 1.0, ..model.request("7", 5).unwrap() };
    assert!(drawn(&model, &request) == folder.read("steps.raw"), "the digit");
    let mut run = model.run(&request).unwrap();
    run.step().unwrap();
    let mut preview = vec![0; run.bytes()];
    run.write_preview(&mut preview).unwrap();
    assert!(preview == folder.read("preview.raw"), "the preview");

    let model = Model::open(&emoji, &Device::Cpu).unwrap();
    let request = DrawRequest { steps: Some(2), guidance_scale: 3.0, ..model.request("a red apple", 5).unwrap() };
    assert!(drawn(&model, &request) == folder.read("apple.raw"), "the apple");
    let two = DrawRequest {
        seeds: batch_seeds(5, 2),
        negative_prompt: Some("green"),
        size: [48, 32],
        solver: Solver::from_name("euler_a"),
        sigmas: Sigmas::from_name("karras"),
        ..request.clone()
    };
    assert!(drawn(&model, &two) == folder.read("batch.raw"), "the two");
    let init: Vec<f32> = (0..3 * 64 * 64).map(|i| f32::from((i / 48) as u8) / 255.0).collect();
    let mask: Vec<f32> = (0..64 * 64).map(|i| if i < 64 * 32 { 1.0 } else { 0.0 }).collect();
    let inpainted = DrawRequest { init_image: Some(&init), strength: Some(0.5), mask: Some(&mask), ..request.clone() };
    assert!(drawn(&model, &inpainted) == folder.read("inpainted.raw"), "the inpainted");
    let hires = Hires { size: [64, 96], strength: 0.6, steps: Some(3), enlarge: Enlarge::Pixels };
    let again = DrawRequest { hires: Some(hires), guidance_rescale: 0.7, ..request.clone() };
    assert!(drawn(&model, &again) == folder.read("hires.raw"), "the second pass's");
    let guided = DrawRequest {
        clip_skip: 2,
        guidance_normalization: Some(0.9),
        guidance_truncation: Some(0.4),
        ..request.clone()
    };
    assert!(drawn(&model, &guided) == folder.read("guided.raw"), "the guided one");
    let patch = Lora::open(&lora, 0.5, &stored.file().unwrap()).unwrap();
    let options = OpenOptions { patches: vec![Arc::new(patch)], ..OpenOptions::default() };
    let patched = Model::load_with(stored.clone(), options).unwrap();
    let with_lora = drawn(&patched, &request);
    assert!(with_lora == folder.read("patched.raw") && with_lora != folder.read("apple.raw"), "the LoRA's");
    let taught = vec![embedding(&toy, Some("<mine>"), &stored.file().unwrap()).unwrap()];
    let taught = Model::load_with(stored, OpenOptions { embeddings: taught, ..OpenOptions::default() }).unwrap();
    let request = DrawRequest { prompt: "a red <mine>", ..request };
    let (with, without) = (drawn(&taught, &request), drawn(&model, &request));
    assert!(with == folder.read("taught.raw") && with != without, "the embedding's");
}

/// Nothing is read or written where it must not be. Seen red with a run used after it was freed, in check.c, and with a byte too few for
/// the pixels.
#[test]
fn address_sanitizer_has_nothing_to_say() {
    let folder = Folder::new("asan");
    let (program, probe) = (folder.path("check"), folder.path("probe.c"));
    fs::write(&probe, "int main(void) { return 0; }").unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-fsanitize=address"]).arg(&probe).arg("-o").arg(folder.path("probe"));
    if !cc.output().is_ok_and(|said| said.status.success()) {
        return eprintln!("skipped: no C compiler with an address sanitizer");
    }
    compile("tests/c/check.c", &program, &["-fsanitize=address", "-fno-omit-frame-pointer"]);
    run(Command::new(&program).arg(weights("digits-q8_0")).arg(damaged(&folder)).arg(&folder.0));
}

/// Nor leaked. Seen red with the context not freed, in check.c.
#[test]
fn valgrind_has_nothing_to_say() {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|said| said.status.success()) {
        return eprintln!("skipped: no valgrind");
    }
    let folder = Folder::new("valgrind");
    let program = folder.path("check");
    if compile("tests/c/check.c", &program, &[]).is_none() {
        return;
    }
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
    run(valgrind.arg(&program).arg(weights("digits-q8_0")).arg(damaged(&folder)).arg(&folder.0));
}

/// The README has the program, and its commands do what they say. Seen red with a word of the program changed there, and with another
/// seed in it.
#[test]
fn the_readmes_program_draws_the_apple() {
    let readme = fs::read_to_string(Path::new(HERE).join("README.md")).unwrap();
    let block = |kind: &str| {
        let (_, rest) = readme.split_once(&format!("```{kind}\n")).expect(kind);
        rest.split_once("```").unwrap().0
    };
    let code = fs::read_to_string(Path::new(HERE).join("examples/draw.c")).unwrap();
    assert_eq!(block("c"), code, "README.md and examples/draw.c");

    // The commands as they stand, but for the library, which is built: in a folder with the repository's names.
    let folder = Folder::new("readme");
    let linked = |from: &Path, to: &str| std::os::unix::fs::symlink(from, folder.path(to)).unwrap();
    fs::create_dir_all(folder.path("target")).unwrap();
    linked(Path::new(HERE), "capi");
    linked(&Path::new(HERE).join("../weights"), "weights");
    linked(&library(), "target/release");
    let commands: Vec<&str> = block("sh").lines().filter(|line| !line.starts_with("cargo ")).collect();
    if Command::new("cc").arg("--version").output().is_err() {
        return eprintln!("skipped: no C compiler (cc)");
    }
    run(Command::new("sh").args(["-e", "-c", &commands.join("\n")]).current_dir(&folder.0));
    let picture = Model::open(weights("emoji-q8_0"), &Device::Cpu).unwrap().draw("a red apple", 1).unwrap();
    let file = folder.read("apple.ppm");
    let pixels = file.strip_prefix(b"P6\n64 64\n255\n").expect("a PPM file of 64 x 64");
    assert!(pixels == picture.bytes, "other pixels");
}
