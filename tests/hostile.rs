//! Every reader of bytes from outside, on damaged ones: the fuzz targets in a bounded form, with fixed seeds.
//!
//! Seen red: values of `texts_of_pictures` not quoted; messages of more than 20 bytes forbidden (fuzz/readers.rs), exit code 3 forbidden; and, as they were
//! found: messages with control characters of the file in them, of checkpoints, tables and pictures.

#[path = "../fuzz/mutate.rs"]
mod mutate;
#[path = "../fuzz/readers.rs"]
mod readers;

use mutate::{Form, Numbers, mutated};
use readers::{CONFIGURATIONS, VOCABULARY, fixtures};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Seeds are accepted; what is in the target's corpus is read or refused, and so is what is made of the seeds, of which something
/// is refused. Where seeds are small, they are the corpus: NIJIMI_BLESS=1 writes it anew.
fn hold(target: &str, rounds: usize, form: Form, seeds: &[Vec<u8>], read: impl Fn(&[u8]) -> bool) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    for (i, seed) in seeds.iter().enumerate() {
        assert!(read(seed), "{target}: seed {i} is not damaged");
        if std::env::var_os("NIJIMI_BLESS").is_some() && seed.len() < 1 << 15 {
            fs::create_dir_all(&corpus).unwrap();
            fs::write(corpus.join(format!("seed-{i}")), seed).unwrap();
        }
    }
    for entry in fs::read_dir(&corpus).into_iter().flatten() {
        read(&self::read(entry.unwrap().path()));
    }
    let (mut numbers, mut accepted) = (Numbers(7), 0);
    for round in 0..rounds {
        accepted += usize::from(read(&mutated(form, &seeds[round % seeds.len()], &mut numbers)));
    }
    println!("{target}: {accepted} of {rounds} were accepted");
    assert!(accepted < rounds, "{target}: nothing was refused");
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn weights(names: &[&str]) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
    names.iter().map(|name| read(folder.join(name))).collect()
}

#[test]
fn models_of_numbers() {
    let names = ["heights", "height-weight", "faithful", "regression", "rosenbrock", "sine-mlp"];
    let seeds = weights(&names.map(|name| format!("{name}.gguf")).each_ref().map(String::as_str));
    hold("gguf", 3000, Form::Bytes, &seeds, readers::gguf);
    hold("model", 6000, Form::Bytes, &seeds, readers::model);
}

#[test]
fn models_of_pictures() {
    let seeds =
        weights(&["digits-q8_0.gguf", "digits-hvae-f16.gguf", "digits-vae-f16.gguf", "digits-classifier-q8_0.gguf"]);
    hold("model", 160, Form::Bytes, &seeds, readers::model);
}

#[test]
fn tensors_of_others() {
    let seeds = [read(fixtures().join("pipelines/sd1full.lora.safetensors")), small_safetensors()];
    hold("safetensors", 1500, Form::Safetensors, &seeds, readers::safetensors);
    hold("safetensors", 3000, Form::Bytes, &[small_gguf()], readers::safetensors);
    hold("lora", 1500, Form::Safetensors, &seeds[..1], readers::lora);
}

fn small_safetensors() -> Vec<u8> {
    let header = br#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[16,18]}}"#;
    [&(header.len() as u64).to_le_bytes()[..], header, &[0; 18]].concat()
}

/// A GGUF file of another program: a tensor of each of ggml's types that have blocks, the first of another shape than it is cut into.
fn small_gguf() -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let shape =
        [&9u32.to_le_bytes()[..], &5u32.to_le_bytes(), &2u64.to_le_bytes(), &[8, 0, 0, 0, 64, 0, 0, 0]].concat();
    // Their ids, and how many bytes 512 values take.
    let types = [2u32, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23].into_iter();
    let types = types.zip([288u64, 320, 352, 384, 544, 168, 220, 288, 352, 420, 288, 272]);
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (id, bytes) in types.clone() {
        let sizes = [256u64, 2].map(u64::to_le_bytes).concat();
        let offset = (data.len() as u64).to_le_bytes();
        entries.push([&text(&format!("t{id}"))[..], &2u32.to_le_bytes(), &sizes, &id.to_le_bytes(), &offset].concat());
        data.extend((0..bytes.next_multiple_of(32)).map(|i| if i < bytes { (i * 7) as u8 } else { 0 }));
    }
    let counts = [entries.len() as u64, 1].map(u64::to_le_bytes).concat();
    let header =
        [&b"GGUF\x03\0\0\0"[..], &counts, &text("comfy.gguf.orig_shape.t2"), &shape, &entries.concat()].concat();
    [&header[..], &vec![0; header.len().next_multiple_of(32) - header.len()], &data].concat()
}

fn chosen(names: &[&str]) -> Vec<Vec<u8>> {
    let file =
        |(i, name): (usize, &&str)| [&[i as u8][..], &read(fixtures().join("pipelines/sd1").join(name))].concat();
    names.iter().enumerate().map(file).collect()
}

#[test]
fn configurations() {
    hold("configuration", 360, Form::Chosen, &chosen(&CONFIGURATIONS), readers::configuration);
}

#[test]
fn vocabularies() {
    hold("tokenizer", 600, Form::Chosen, &chosen(&VOCABULARY), readers::tokenizer);
}

#[test]
fn tables() {
    let seeds = [&b"a,b\n1,2\n3,4.5e-3\n"[..], b"1 2\n3 4\n", b"\"a b\";c\n1;2\n", b"# of someone\n170\n180\n"];
    hold("table", 20_000, Form::Text, &seeds.map(<[u8]>::to_vec), readers::table);
}

#[test]
fn sets_of_pictures() {
    let seed = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2][..], &[7; 12]].concat();
    hold("idx", 2000, Form::Bytes, &[seed], readers::idx);
}

#[test]
fn pictures() {
    let gray: Vec<u8> = (0..32 * 32).map(|i| (i * 7) as u8).collect();
    let picture = image::GrayImage::from_raw(32, 32, gray).unwrap();
    let encoded = |format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    hold(
        "image",
        2000,
        Form::Bytes,
        &[encoded(image::ImageFormat::Png), encoded(image::ImageFormat::Jpeg)],
        readers::image,
    );
}

#[test]
fn texts_of_pictures() {
    let text = "a \"red\" apple, (big:1.2)\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, \
                Size: 8x8, Model: \"a, b\"";
    hold("infotext", 6000, Form::Text, &[text.into()], readers::infotext);
}

#[test]
fn checkpoints() {
    use nijimi_trainer::checkpoint::Checkpoint;
    use nijimi_trainer::param::{State, Values};
    let tensors: State = [("w".into(), Values { shape: vec![2, 3], data: vec![0.5; 6] })].into_iter().collect();
    let facts = [("step".into(), "7".into())].into_iter().collect();
    let path = std::env::temp_dir().join(format!("nijimi-hostile-{}.safetensors", std::process::id()));
    Checkpoint { tensors, facts }.save(&path).unwrap();
    let seed = read(&path);
    fs::remove_file(&path).unwrap();
    hold("checkpoint", 3000, Form::Safetensors, &[seed], readers::checkpoint);
}

/// What is damaged is not used: the sum is looked at. Seen red: without the sum of tiles.
#[test]
fn caches() {
    let fnv = |bytes: &[u8]| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
    };
    let pipelines = [&b"nijimi01"[..], &fnv(b"pipelines").to_le_bytes(), b"pipelines"].concat();
    let lines = "linear f32 F32 1 2 3 false false: 0 0 0 16 8 4 4 1\n";
    let tiles = format!("nijimi tiles 2 {} {:016x}\n{lines}", env!("CARGO_PKG_VERSION"), fnv(lines.as_bytes()));
    let seeds = [pipelines, tiles.into_bytes()];
    let whole = seeds.clone();
    hold("cache", 20_000, Form::Bytes, &seeds, |bytes| {
        let read = readers::cache(bytes);
        assert!(!read || whole.iter().any(|seed| seed == bytes), "what is damaged is used");
        read
    });
}

/// What the program alone reads: what a picture was drawn with, and rows of numbers.
#[test]
fn files_given_to_the_program() {
    let nijimi = env!("CARGO_BIN_EXE_nijimi");
    let folder = std::env::temp_dir().join(format!("nijimi-hostile-program-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let heights = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/heights.gguf");
    let (png, csv) = (folder.join("a.png"), folder.join("a.csv"));
    let draw = ["7", "-m", "digits", "-s", "1", "--steps", "1", "--backend", "cpu", "-o"];
    let drawn = Command::new(nijimi).args(draw).arg(&png).output().unwrap();
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    let run = |args: &[&std::ffi::OsStr]| {
        let said = Command::new(nijimi).args(args).output().unwrap();
        let code = said.status.code().expect("it ended by itself");
        assert!([0, 3].contains(&code), "exit code {code}: {}", String::from_utf8_lossy(&said.stderr));
        assert!(!said.stdout.contains(&0x1b) && !said.stderr.contains(&0x1b), "it steers the terminal");
        code == 0
    };
    let picture = [read(&png)];
    hold("inspect", 50, Form::Bytes, &picture, |bytes| {
        fs::write(&png, bytes).unwrap();
        run(&["inspect".as_ref(), png.as_ref()])
    });
    hold("density", 150, Form::Text, &[b"170\n180\n".to_vec()], |bytes| {
        fs::write(&csv, bytes).unwrap();
        run(&["density".as_ref(), "-m".as_ref(), heights.as_ref(), csv.as_ref()])
    });
    fs::remove_dir_all(folder).unwrap();
}
