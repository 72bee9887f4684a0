//! Models whose weights stay where the file lies, and sessions in memory of the caller's.

use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Classifier, Device, Diffusion, Model, ModelError, OpenOptions, Request, Session, SessionOptions, TextToImage,
};
use nijimi_runtime::raw::plan::ExecError;
use nijimi_runtime::sampler::Solver;
use std::path::Path;
use std::sync::Arc;

fn bytes(name: &str) -> &'static [u8] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights").join(name);
    std::fs::read(path).unwrap().leak()
}

fn pipeline(device: &Device) -> Diffusion {
    Diffusion::load(&File::new_static(bytes("digits-q8_0.gguf")).unwrap(), device).unwrap()
}

/// A seven in two steps, guided.
fn seven(pipeline: &Diffusion, session: &mut Session) -> Vec<f32> {
    let calls = pipeline.calls(Solver::default(), 2).unwrap();
    let labels = [Some(pipeline.label("7").unwrap())];
    let mut run = session.run(&Request { labels: &labels, seeds: &[1], calls: &calls, guidance_scale: 2.0 }).unwrap();
    while run.step().unwrap().is_some() {}
    run.pictures().unwrap().to_vec()
}

/// Seen red with weights that are borrowed one byte further on.
#[test]
fn models_in_place_draw_the_same() {
    let [packed, in_place] = [Device::Cpu, Device::CpuInPlace].map(|device| pipeline(&device));
    let draw = |p: &Diffusion| seven(p, &mut p.session(&SessionOptions::default()).unwrap());
    assert!(draw(&packed) == draw(&in_place));
    // The data of every tensor begins at a multiple of 32 bytes.
    assert_eq!(in_place.weight_bytes(), 0);
    assert!(packed.weight_bytes() > 2_000_000);

    for name in ["digits-vae-f16.gguf", "digits-hvae-f16.gguf"] {
        let file = File::new_static(bytes(name)).unwrap();
        let draw = |device| Model::load(&file, &device).unwrap().draw("", 3).unwrap();
        assert!(draw(Device::Cpu) == draw(Device::CpuInPlace), "{name}");
    }

    let file = File::new_static(bytes("digits-classifier-q8_0.gguf")).unwrap();
    let x: Vec<f32> = (0..784).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let [(packed, a), (in_place, b)] = [Device::Cpu, Device::CpuInPlace].map(|device| {
        let classifier = Classifier::load(&file, &device).unwrap();
        let mut session = classifier.session(&SessionOptions::default()).unwrap();
        (classifier.weight_bytes(), session.gradient(&x, 300.0, &[Some(4)]).unwrap().to_vec())
    });
    assert!(a == b);
    // The gradient's weights are turned: those alone are made.
    assert!(in_place > 0 && in_place < packed, "{in_place} of {packed}");
}

/// Seen red with texts' tables copied.
#[test]
fn text_to_image_in_place_draws_the_same() {
    let stored: &'static [u8] = bytes("emoji-q8_0.gguf");
    let open = |device| {
        let options = OpenOptions { device, ..Default::default() };
        TextToImage::open(Arc::new(stored), options).unwrap().hold_all().unwrap()
    };
    let [packed, in_place] = [Device::Cpu, Device::CpuInPlace].map(open);
    let draw = |model: &TextToImage| {
        let calls = model.calls_by(None, None, 1).unwrap();
        let mut run = model.run(&model.request("a red apple", 1, &calls)).unwrap();
        while run.step().unwrap().is_some() {}
        run.to_u8().unwrap()
    };
    assert!(draw(&packed) == draw(&in_place));
    assert_eq!(in_place.weight_bytes(), 0);
}

/// Seen red without the check, which copied the weights.
#[test]
fn bytes_that_may_go_are_refused() {
    let bytes = bytes("digits-q8_0.gguf").to_vec();
    let found = Diffusion::load(&File::new_checked(&bytes).unwrap(), &Device::CpuInPlace).unwrap_err();
    assert!(matches!(found, Error::Model(ModelError::NotStatic)), "{found}");
    let file = File::new_static(self::bytes("digits-q8_0.gguf")).unwrap();
    assert!(file.is_static() && Diffusion::load(&file, &Device::Cpu).is_ok());
}

/// Seen red with a length that is not looked at, and with a part of the memory given back.
#[test]
fn a_session_in_lent_memory_draws_the_same() {
    let pipeline = pipeline(&Device::Cpu);
    let options = SessionOptions { threads: 1, ..Default::default() };
    let mut own = pipeline.session(&options).unwrap();
    let want = seven(&pipeline, &mut own);
    assert!(own.into_lent().is_none());

    let short = pipeline.session_in(&options, vec![0.0; 10].leak()).err();
    let Some(Error::Exec(ExecError::Lent { needed, given: 10 })) = short else { panic!("{short:?}") };
    let own = pipeline.session(&options).unwrap();
    assert!(needed * 4 < own.bytes() && own.bytes() < needed * 4 + 40_000, "{needed} {}", own.bytes());
    assert!(pipeline.session_in(&options, vec![0.0; needed - 1].leak()).is_err());

    // Of any content, and longer than needed; unaligned to a cache line.
    let memory: &'static mut [f32] = vec![f32::NAN; needed + 101].leak();
    let mut session = pipeline.session_in(&options, &mut memory[1..]).unwrap();
    assert_eq!(session.bytes(), own.bytes());
    assert!(seven(&pipeline, &mut session) == want);
    let memory = session.into_lent().unwrap();
    assert_eq!(memory.len(), needed + 100);
    let mut again = pipeline.session_in(&options, memory).unwrap();
    assert!(seven(&pipeline, &mut again) == want);
}
