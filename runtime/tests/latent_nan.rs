//! Weights that are no numbers, anywhere between a prompt and its picture: the error names the operation that met them.

mod common {
    pub mod diffusers;
    pub mod model;
    pub mod pipelines;
}

use common::pipelines::{Family, bytes, families, opened};
use nijimi_import::Options;
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Control, Device, LatentControl, LatentRequest, RequestError, TextToImage};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::Calls;

const SIDE: usize = 32;

fn family() -> Family {
    families().into_iter().find(|family| family.name == "sd1").expect("the family sd1")
}

/// The file with all values of some tensors, stored as f32, NaN.
fn spoiled(bytes: &[u8], which: impl Fn(&str) -> bool) -> Vec<u8> {
    let file = File::new_checked(bytes).unwrap();
    let (mut out, mut found) = (bytes.to_vec(), 0);
    for tensor in file.tensors().filter(|tensor| which(tensor.name)) {
        assert_eq!(tensor.dtype, DType::F32, "{}", tensor.name);
        let from = tensor.data.as_ptr() as usize - bytes.as_ptr() as usize;
        for value in out[from..from + tensor.data.len()].chunks_exact_mut(4) {
            value.copy_from_slice(&f32::NAN.to_le_bytes());
        }
        found += 1;
    }
    assert!(found > 0, "no such tensor");
    out
}

/// From a prompt and a picture to a picture; all a run has to say.
fn draw(model: &TextToImage) -> Result<Vec<f32>, Error> {
    let start: Vec<f32> = (0..SIDE * SIDE * 3).map(|i| (i * 37 % 101) as f32 / 100.0).collect();
    let (schedule, settings) = model.info().settings(None, &[], 4)?;
    let calls = Calls::new(&schedule, &settings.from_strength(0.5))?;
    let request = LatentRequest { init_image: Some(&start), size: [SIDE; 2], ..model.request("a red mat", 7, &calls) };
    let mut run = model.run(&request)?;
    while run.step()?.is_some() {}
    run.pictures().map(<[f32]>::to_vec)
}

/// One layer of each network at a time, then each network as a whole, then all. Seen red with the numbers not looked at.
#[test]
fn an_error_names_the_operation() {
    let bytes = family().bytes(DType::F32);
    assert!(draw(&opened(bytes.clone(), vec![])).is_ok());
    let said = |which: &dyn Fn(&str) -> bool| {
        let e = draw(&opened(spoiled(&bytes, which), vec![])).expect_err("NaN");
        println!("{e}");
        e.to_string()
    };
    for layer in LAYERS {
        let name = |tensor: &str| tensor.strip_suffix(".weight") == Some(layer);
        let e = said(&name);
        assert!(e.contains(layer) && e.contains("made NaN"), "{layer}: {e}");
        assert_eq!(e.contains("step 1 of 2"), layer.starts_with("unet."), "{layer}: {e}");
    }
    for (prefix, first) in FIRST {
        let e = said(&|tensor: &str| tensor.starts_with(prefix));
        assert!(e.contains(first) && e.contains("made NaN"), "{prefix}: {e}");
    }
    let e = said(&|_: &str| true);
    assert!(e.contains(FIRST[0].1), "{e}");
}

/// A ControlNet's operation is named with the step, as the U-Net's are. Seen red with its error handed on as it is.
#[test]
fn a_controls_error_names_the_step() {
    let family = families().into_iter().find(|family| family.name == "sd1full").expect("the family sd1full");
    let written = bytes(&family.folder.with_file_name("sd1full_controlnet"), &Options::default(), DType::F32);
    let broken = spoiled(&written, |name| name == "control.conv_in.weight");
    let network = Control::load(&File::new_checked(&broken).unwrap(), &Device::Cpu).unwrap();
    let model = family.model(DType::F32);
    let calls = model.calls(None, &[], 3).unwrap();
    let size = [64; 2];
    let picture = vec![0.5; 64 * 64 * 3];
    let controls = vec![LatentControl { network: &network, picture: &picture, strength: 1.0 }];
    let request = LatentRequest { controls, size, ..model.request("a red mat", 7, &calls) };
    let error = model.run(&request).unwrap().step().unwrap_err();
    assert!(matches!(error, Error::Request(RequestError::NotFinite { step: 1, total: 3, .. })), "{error}");
    assert!(error.to_string().contains("control.conv_in"), "{error}");
}

/// A layer of each network.
const LAYERS: [&str; 4] = [
    "text_encoder.text_model.encoder.layers.1.mlp.fc1",
    "vae.encoder.mid_block.resnets.0.conv2",
    "unet.up_blocks.1.attentions.0.proj_in",
    "vae.decoder.up_blocks.1.resnets.0.conv2",
];

/// The beginnings of each network's names, and its first operation.
const FIRST: [(&str, &str); 4] = [
    ("text_encoder.", "text_encoder.text_model.embeddings"),
    ("vae.encoder.", "vae.encoder.conv_in"),
    ("unet.", "unet."),
    ("vae.decoder.", "vae.decoder.conv_in"),
];

/// A picture of one color is of weights that are zero: the first operation that makes one number of everything is named, and of a
/// model that is whole there is none. Seen red: without the look at outputs; with the last such operation.
#[test]
fn a_picture_of_one_color_names_the_operation() {
    use nijimi_runtime::model::{Diffusion, Model, SessionOptions};
    let family = family();
    let zeroed = |part: &str| {
        let bytes = family.bytes(DType::F32);
        let (mut changed, whole) = (bytes.clone(), File::new_checked(&bytes).unwrap());
        for tensor in whole.tensors().filter(|tensor| tensor.name.starts_with(part)) {
            let at = tensor.data.as_ptr() as usize - bytes.as_ptr() as usize;
            changed[at..at + tensor.data.len()].fill(0);
        }
        changed
    };
    let drawn = |bytes: &[u8]| Model::load(&File::new_checked(bytes).unwrap(), &Device::Cpu).unwrap().draw("a cat", 1);
    let whole = family.bytes(DType::F32);
    let Model::TextToImage(model) = Model::load(&File::new_checked(&whole).unwrap(), &Device::Cpu).unwrap() else {
        panic!("it reads prompts")
    };
    model.check_constant(&SessionOptions::default()).unwrap();
    let error = drawn(&zeroed("vae.decoder.")).unwrap_err().to_string();
    assert!(error.starts_with("vae.decoder.conv_in (conv2d) makes 0 everywhere"), "{error}");
    let error = drawn(&zeroed("vae.decoder.conv_out")).unwrap_err().to_string();
    assert!(error.starts_with("vae.decoder.conv_out (conv2d) makes 0 everywhere"), "{error}");

    let bytes = common::model::Tiny::new(3).bytes();
    let model = Diffusion::load(&File::new_checked(&bytes).unwrap(), &Device::Cpu).unwrap();
    model.check_constant(&SessionOptions::default()).unwrap();
}
