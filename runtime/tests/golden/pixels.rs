//! Unconditional models of pixels: calls of the network, and whole runs from the noise that this program draws for the seed.

use super::networks::{close, of_a_picture, tolerance};
use crate::pipelines::Family;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Diffusion, Request, SessionOptions};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::Solver;

const CALLS: [(&str, f32); 2] = [("unet_out_t500", 500.0), ("unet_out_t3", 3.0)];

/// Solvers by the names of the command line: DDPM has the variance that the model says.
const PICTURES: [(&str, &str); 2] = [("image_ddim", "ddim"), ("image_ddpm", "ddpm")];

pub fn is(family: &Family) -> bool {
    let names = CALLS.iter().map(|(name, _)| name).chain(PICTURES.iter().map(|(name, _)| name));
    ["noise"].iter().chain(names).all(|name| family.tensors.find(name).is_some())
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let (golden, name) = (&family.tensors, &family.name);
    let bytes = family.bytes(DType::F32);
    let model = Diffusion::load(&File::new_checked(&bytes).unwrap(), device).unwrap();
    let info = model.info();
    assert_eq!(info.scheduler.as_ref().unwrap().class, family.said("scheduler"), "{name}");
    let shape = &golden.get("noise").shape;
    assert_eq!((info.network.channels(), info.network.size()), (shape[1], [shape[2], shape[3]]), "{name}");

    let mut session = model.session(&SessionOptions { threads: 2, ..Default::default() }).unwrap();
    let noise = golden.get("noise").channels_last();
    for (what, timestep) in CALLS {
        let answer = session.predict(&noise, timestep, &[None]).unwrap();
        close(&format!("{name} {what}"), answer, &golden.get(what).channels_last(), tolerance(device));
    }
    let number = |key: &str| family.said(key).parse::<usize>().unwrap();
    for (what, solver) in PICTURES {
        let calls = model.calls(Solver::from_name(solver).unwrap(), number("steps")).unwrap();
        let (labels, seeds) = ([None], [number("seed") as u64]);
        let request = Request { labels: &labels, seeds: &seeds, calls: &calls, guidance_scale: 1.0 };
        let mut run = session.run(&request).unwrap();
        close(&format!("{name} noise"), run.sample().unwrap(), &noise, 1e-5);
        while run.step().unwrap().is_some() {}
        let unit: Vec<f32> = run.pictures().unwrap().iter().map(|x| (x / 2.0 + 0.5).clamp(0.0, 1.0)).collect();
        close(&format!("{name} {what}"), &unit, &golden.get(what).channels_last(), of_a_picture(device));
        // As it is saved.
        let bytes = run.to_u8().unwrap();
        assert!(bytes.iter().zip(&unit).all(|(b, x)| (f32::from(*b) - 255.0 * x).abs() <= 1.0), "{name} {what}");
    }
    CALLS.len() + PICTURES.len()
}
