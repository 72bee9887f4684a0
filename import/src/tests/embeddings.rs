//! Textual inversions: what their files say, what a model makes of them, and those that are refused.

use super::support::{Folder, Stored, safetensors};
use crate::{Types, convert, embedding};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Embedding, EncodedPrompts, LatentRequest, OpenOptions, PromptSyntax, Stored as _, TextToImage,
};
use nijimi_runtime::quant::DType;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// A pipeline as one of our files.
fn model(family: &str, dtype: DType) -> Vec<u8> {
    let folder = Folder::copy_of(family);
    let out = folder.join("out.gguf");
    convert(&folder.open().unwrap(), &out, "test", &Types::new(dtype), |_| ()).unwrap();
    fs::read(out).unwrap()
}

/// A file of f32 tensors.
fn made(folder: &Folder, name: &str, tensors: &[(&str, &[usize], &[f32])]) -> PathBuf {
    let stored = |&(name, shape, values): &(&str, &[usize], &[f32])| {
        (name.to_owned(), ("F32".to_owned(), shape.to_vec(), values.iter().flat_map(|v| v.to_le_bytes()).collect()))
    };
    let tensors: BTreeMap<String, Stored> = tensors.iter().map(stored).collect();
    folder.write(name, safetensors(&tensors));
    folder.join(name)
}

/// Seen red with the tensor's name taken where a word was given, and with `clip_g` taken for the first encoder.
#[test]
fn every_form_of_file_gives_its_word_and_vectors() {
    let folder = Folder::new();
    let (sd1, sdxl) = (model("sd1", DType::F32), model("sdxl", DType::F32));
    let [one, two] = [&sd1, &sdxl].map(|bytes| File::new_checked(bytes).unwrap());
    let width = |file: &File<'_>, part: &str| file.u32(&format!("nijimi.{part}.width")).unwrap() as usize;
    let w = width(&one, "text_encoder");
    let numbers: Vec<f32> = (0..3 * w).map(|i| i as f32 / 8.0).collect();
    for (name, tensor, shape, own) in [
        ("learned_embeds.safetensors", "<cat-toy>", &[w][..], "<cat-toy>"),
        ("learned_embeds.safetensors", "<cat-toy>", &[3, w], "<cat-toy>"),
        ("char turner.v2.safetensors", "emb_params", &[2, w], "char turner.v2"),
        ("style.safetensors", "clip_l", &[1, w], "style"),
    ] {
        let values = &numbers[..shape.iter().product()];
        let path = made(&folder, name, &[(tensor, shape, values)]);
        for (said, word) in [(None, own), (Some("mine"), "mine")] {
            let want = Embedding { word: word.into(), vectors: vec![values.to_vec()] };
            assert_eq!(embedding(&path, said, &one).unwrap(), want, "{name} {tensor}");
        }
    }
    let widths = ["text_encoder", "text_encoder_2"].map(|part| width(&two, part));
    let [l, g] = [0, 1].map(|n| (0..2 * widths[n]).map(|i| (i + 999 * n) as f32 / 8.0).collect::<Vec<f32>>());
    let shapes = widths.map(|w| [2, w]);
    let path = made(&folder, "toy.safetensors", &[("clip_g", &shapes[1], &g), ("clip_l", &shapes[0], &l)]);
    assert_eq!(embedding(path, None, &two).unwrap(), Embedding { word: "toy".into(), vectors: vec![l, g] });
}

/// What a model makes of a prompt.
fn states(bytes: &[u8], embeddings: &[Embedding], prompt: &str) -> EncodedPrompts {
    let options = OpenOptions { embeddings: embeddings.to_vec(), ..OpenOptions::default() };
    let model = TextToImage::open(Arc::new(bytes.to_vec()), options).unwrap();
    let calls = model.calls(None, &[], 1).unwrap();
    model.encode_prompts(&LatentRequest { size: [64, 64], ..model.request(prompt, 0, &calls) }).unwrap()
}

/// A word whose vectors are those of other words is these words, bit for bit, and the table's own rows stay. Seen red with the
/// vectors before the table's rows, with the second encoder's given to the first, and with one row for a word of two.
#[test]
fn a_word_of_known_vectors_is_those_words() {
    for (family, dtype) in [("sd1", DType::F32), ("sdxl", DType::F16)] {
        let bytes = model(family, dtype);
        let file = bytes[..].to_vec();
        let file = file.file().unwrap();
        let plain = TextToImage::open(Arc::new(bytes.clone()), OpenOptions::default()).unwrap();
        let rows = |text: &nijimi_runtime::model::TextInfo, words: &str| -> Vec<f32> {
            let table = format!("{}text_model.embeddings.token_embedding.weight", text.prefix);
            let (table, w) = (file.tensor(&table).unwrap().to_f32(), text.network.width);
            text.tokenizer.encode(words).iter().flat_map(|&id| table[id as usize * w..][..w].to_vec()).collect()
        };
        let of = |word: &str, words: &str| Embedding {
            word: word.into(),
            vectors: plain.info().texts.iter().map(|text| rows(text, words)).collect(),
        };
        let taught = [of("<Toy>", "red cat"), of("evenfall", "dog")];
        for (written, meant) in [
            ("a <toy> on the mat", "a red cat on the mat"),
            ("a<TOY>, EVENFALL (on:1.3)", "a red cat, dog (on:1.3)"),
            ("(<toy>:1.2) BREAK evenfall", "(red cat:1.2) BREAK dog"),
            ("<toy>_1 mat", "cat mat"),
            ("no such word", "no such word"),
        ] {
            assert_eq!(states(&bytes, &taught, written), states(&bytes, &[], meant), "{family}: {written}");
        }
        assert_ne!(states(&bytes, &taught, "a <toy>"), states(&bytes, &[], "a <toy>"), "{family}");
    }
}

/// As diffusers reads it: brackets are text, and what is too long is cut. Seen red with the weights read all the same.
#[test]
fn plain_prompts_are_as_they_are_written() {
    let bytes = model("sd1", DType::F32);
    let model = TextToImage::open(Arc::new(bytes), OpenOptions::default()).unwrap();
    let calls = model.calls(None, &[], 1).unwrap();
    let states = |prompt: &str, prompt_syntax| {
        let request = LatentRequest { prompt_syntax, size: [64, 64], ..model.request(prompt, 0, &calls) };
        model.encode_prompts(&request).unwrap()
    };
    let [plain, weighted] = [PromptSyntax::Plain, PromptSyntax::Weighted];
    assert_eq!(states("a (42:3) cat", plain), states(r"a \(42:3\) cat", weighted));
    assert_ne!(states("a (42:3) cat", plain), states("a (42:3) cat", weighted));
    let long = "red cat ".repeat(60);
    assert_eq!(states(&long, plain).states().len() * 2, states(&long, weighted).states().len());
    assert_eq!(states("a cat", plain), states("a cat", weighted));
}

/// Seen red with the width not looked at, with NaN let through, and with a word that is there already added.
#[test]
fn embeddings_of_something_else_are_refused() {
    let folder = Folder::new();
    let (sd1, sdxl) = (model("sd1", DType::F32), model("sdxl", DType::F32));
    let [one, two] = [&sd1, &sdxl].map(|bytes| File::new_checked(bytes).unwrap());
    let w = one.u32("nijimi.text_encoder.width").unwrap() as usize;
    let refused = |file: &File<'_>, tensors: &[(&str, &[usize], &[f32])]| {
        let path = made(&folder, "toy.safetensors", tensors);
        embedding(&path, None, file).unwrap_err().to_string()
    };
    let zeros = vec![0.0; 100 * w];
    let wrong = [f32::NAN, 1.0].repeat(w / 2);
    for (message, says) in [
        (
            refused(&one, &[("a", &[768], &[0.0; 768])]),
            "toy.safetensors cannot be an embedding of this model: the tensor a has",
        ),
        (refused(&one, &[("emb_params", &[0, w], &[])]), "[0, "),
        (
            refused(&one, &[("emb_params", &[76, w], &zeros[..76 * w])]),
            "76 vectors, but a window of a prompt has room for 75",
        ),
        (refused(&one, &[("emb_params", &[1, w], &wrong)]), "number 0 (from 0) of the tensor emb_params is NaN"),
        (refused(&one, &[("a", &[w], &zeros[..w]), ("b", &[w], &zeros[..w])]), "2 tensors, \"a\" for example"),
        (
            refused(&one, &[("clip_g", &[1, w], &zeros[..w]), ("clip_l", &[1, w], &zeros[..w])]),
            "this model has one text encoder",
        ),
        (refused(&two, &[("emb_params", &[1, w], &zeros[..w])]), "this model has two text encoders"),
        (refused(&one, &[]), "no tensors"),
    ] {
        assert!(message.contains(says), "{says:?} is not in {message:?}");
    }
    folder.write("a.pt", b"PK\x03\x04 and so on");
    assert!(embedding(folder.join("a.pt"), None, &one).unwrap_err().to_string().contains("Python pickle"));

    let open = |embeddings: &[(&str, usize)]| {
        let made = |&(word, n): &(&str, usize)| Embedding { word: word.into(), vectors: vec![vec![0.5; n]] };
        let options = OpenOptions { embeddings: embeddings.iter().map(made).collect(), ..OpenOptions::default() };
        TextToImage::open(Arc::new(sd1.clone()), options).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(open(&[("toy", w), ("toys", w)]), Ok(()));
    for (embeddings, says) in [
        (&[("toy", w), ("Toy", w)][..], "\"Toy\" twice"),
        (&[("toy", 2 * w), ("toy_1", w)], "\"toy_1\" twice"),
        (&[("<|endoftext|>", w)], "twice"),
        (&[(" ", w)], "is empty"),
        (&[("toy", w + 1)], "numbers of an embedding"),
        (&[("toy", 0)], "vectors of an embedding"),
        (&[("toy", 76 * w)], "1 to 75"),
    ] {
        let message = open(embeddings).unwrap_err();
        assert!(message.contains(says), "{says:?} is not in {message:?}");
    }
}
