//! Sampling a tiny model through the public interface: what pictures depend on, and what they do not.

#[path = "common/model.rs"]
mod common;

use common::Tiny;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Diffusion, Request, RequestError, Run, Session, SessionOptions, batch_seeds};
use nijimi_runtime::sampler::{Calls, Solver};
use nijimi_runtime::{Error, error::PlanError};

fn pipeline(tiny: &Tiny) -> Diffusion {
    Diffusion::load(&File::new_checked(&tiny.bytes()).unwrap(), &Device::Cpu).unwrap()
}

fn session(pipeline: &Diffusion, batch: usize, threads: usize) -> Session {
    pipeline.session(&SessionOptions { batch, threads, ..Default::default() }).unwrap()
}

fn finish(mut run: Run<'_>) -> Vec<f32> {
    while run.step().unwrap().is_some() {}
    run.pictures().unwrap().to_vec()
}

fn request<'a>(labels: &'a [Option<u32>], seeds: &'a [u64], calls: &'a Calls) -> Request<'a> {
    Request { labels, seeds, calls, guidance_scale: 2.5 }
}

/// DDPM, and DDIM with some noise.
fn samplers(pipeline: &Diffusion) -> [Calls; 2] {
    let ddim = Solver::ddim(0.5);
    [Solver::ddpm(), ddim].map(|method| pipeline.calls(method, 6).unwrap())
}

const LABELS: [Option<u32>; 4] = [Some(7), None, Some(2), Some(7)];

#[test]
fn pipelines_and_sessions_can_be_sent() {
    fn shared<T: Send + Sync + Clone>() {}
    fn sent<T: Send>() {}
    shared::<Diffusion>();
    sent::<Session>();
    sent::<Error>();
}

// Seen red: `x` not refilled in the doubled half; noise drawn into the arena's dirty memory.
#[test]
fn the_same_request_gives_the_same_bits() {
    let p = pipeline(&Tiny::new(10));
    for sampler in &samplers(&p) {
        let mut s = session(&p, 4, 1);
        let r = request(&LABELS, &[5, 6, 7, 8], sampler);
        let first = finish(s.run(&r).unwrap());
        assert!(first.iter().all(|v| v.is_finite()));
        // Other runs in between, one of them dropped half way.
        finish(s.run(&request(&LABELS[..2], &[1, 2], sampler)).unwrap());
        s.run(&r).unwrap().step().unwrap();
        assert_eq!(first, finish(s.run(&r).unwrap()));
        assert_eq!(first, finish(session(&p, 4, 1).run(&r).unwrap()));
    }
}

// Seen red: every picture given the first one's seed; labels of the doubled batch shifted by one; noise of the whole
// batch drawn from one seed.
#[test]
fn a_picture_does_not_depend_on_its_batch() {
    let p = pipeline(&Tiny::new(10));
    for sampler in &samplers(&p) {
        let seeds = batch_seeds(40, 4);
        let together = finish(session(&p, 4, 1).run(&request(&LABELS, &seeds, sampler)).unwrap());
        let pixels = together.len() / 4;
        for i in 0..4 {
            let r = request(&LABELS[i..=i], &seeds[i..=i], sampler);
            let alone = finish(session(&p, 1, 1).run(&r).unwrap());
            assert_eq!(together[i * pixels..][..pixels], alone, "picture {i}");
            // In a batch that is not full.
            assert_eq!(finish(session(&p, 3, 1).run(&r).unwrap()), alone, "picture {i}");
        }
        assert_ne!(together[..pixels], together[3 * pixels..], "same label, other seed");
    }
}

#[test]
fn a_picture_does_not_depend_on_threads() {
    let p = pipeline(&Tiny::new(10));
    let [ddpm, _] = &samplers(&p);
    let r = request(&LABELS, &[1, 2, 3, 4], ddpm);
    let one = finish(session(&p, 4, 1).run(&r).unwrap());
    for threads in [2, 3, 0] {
        assert_eq!(one, finish(session(&p, 4, threads).run(&r).unwrap()), "{threads} threads");
    }
}

// Seen red: halves exchanged; the second half given the labels too.
#[test]
fn guidance_weighs_two_answers() {
    let p = pipeline(&Tiny::new(10));
    let mut s = session(&p, 1, 1);
    let calls = p.calls(Solver::default(), 1).unwrap();
    let mut draw = |label, guidance_scale| {
        let labels = [label];
        let r = Request { guidance_scale, ..request(&labels, &[3], &calls) };
        let mut run = s.run(&r).unwrap();
        run.step().unwrap();
        run.estimate().unwrap().to_vec()
    };
    let (with, without) = (draw(Some(4), 1.0), draw(None, 1.0));
    assert_ne!(with, without);
    assert_ne!(with, draw(Some(5), 1.0), "labels matter");
    assert_eq!(draw(Some(4), 0.0), without, "no guidance at all ignores the label");
    assert_eq!(draw(None, 5.0), without, "nothing to be guided to");
    // The estimate is linear in the network's answer.
    for ((g, w), o) in draw(Some(4), 3.0).iter().zip(&with).zip(&without) {
        let expected = o + 3.0 * (w - o);
        assert!((g - expected).abs() < 1e-3 * (1.0 + expected.abs()), "{g} {expected}");
    }
}

#[test]
fn guidance_needs_a_session_made_for_it() {
    let p = pipeline(&Tiny::new(10));
    let options = SessionOptions { guidance: false, ..Default::default() };
    let mut s = p.session(&options).unwrap();
    assert!(s.bytes() < session(&p, 1, 0).bytes());
    let labels = [Some(1)];
    let [_, ddim] = &samplers(&p);
    let mut r = request(&labels, &[1], ddim);
    let refused = s.run(&r).err().unwrap();
    assert!(matches!(refused, Error::Request(RequestError::GuidanceNotPlanned { scale: 2.5 })));
    r.guidance_scale = 1.0;
    let plain = finish(s.run(&r).unwrap());
    assert_eq!(plain, finish(session(&p, 1, 0).run(&r).unwrap()));
}

#[test]
fn steps_tell_where_they_are_and_the_last_estimate_is_the_picture() {
    let p = pipeline(&Tiny::new(10));
    let mut s = session(&p, 1, 1);
    let calls = p.calls(Solver::default(), 6).unwrap();
    let mut run = s.run(&request(&[None], &[9], &calls)).unwrap();
    let mut timesteps = Vec::new();
    while let Some(step) = run.step().unwrap() {
        assert_eq!((step.index, step.total), (timesteps.len(), 6));
        timesteps.push(step.timestep);
    }
    assert_eq!(timesteps.len(), 6);
    assert!(timesteps.is_sorted_by(|a, b| a > b), "{timesteps:?}");
    assert!(run.step().unwrap().is_none());
    let pictures = run.pictures().unwrap().to_vec();
    for (x, x0) in pictures.iter().zip(run.estimate().unwrap()) {
        assert!((x - x0).abs() <= 1e-4 * (1.0 + x.abs()), "{x} {x0}");
    }
    let bytes = run.to_u8().unwrap();
    for (&byte, &x) in bytes.iter().zip(&pictures) {
        assert_eq!(f32::from(byte), (x * 255.0).clamp(0.0, 255.0).trunc(), "{x}");
    }
}

#[test]
fn requests_are_checked() {
    let p = pipeline(&Tiny::new(10));
    let mut s = session(&p, 2, 1);
    let mut refused = |r: Request<'_>| s.run(&r).err().expect("refused").to_string();
    let [_, ddim] = &samplers(&p);
    let good = request(&[Some(1)], &[1], ddim);
    let infinite = Request { guidance_scale: f32::INFINITY, ..good };
    assert_eq!(refused(infinite), "guidance_scale is inf, must be a finite number");
    assert_eq!(refused(Request { seeds: &[1, 2], ..good }), "1 labels and 2 seeds: give one of each a picture");
    assert_eq!(refused(Request { labels: &[], seeds: &[], ..good }), "number of pictures is 0, must be 1 to 2");
    let many = Request { labels: &[None; 3], seeds: &[0; 3], ..good };
    assert_eq!(refused(many), "number of pictures is 3, must be 1 to 2");
    let label = Request { labels: &[None, Some(10)], seeds: &[0; 2], ..good };
    assert_eq!(refused(label), "label 10 of picture 1 is not one of the model's 10");
    for steps in [0, 1001] {
        let refused = p.calls(Solver::default(), steps).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{steps} sampling steps asked")), "{refused}");
    }
}

#[test]
fn labels_have_names() {
    let tiny = Tiny::new(2);
    let p = pipeline(&tiny);
    assert_eq!(p.label("1").unwrap(), 1);
    assert_eq!(p.label("seven").unwrap_err().to_string(), "no label \"seven\": the model knows 0, 1");
    let unconditional = pipeline(&Tiny::new(0));
    let error = unconditional.label("7").unwrap_err().to_string();
    assert_eq!(error, "no label \"7\": the model knows none, so draw without one");
    let mut s = session(&unconditional, 1, 1);
    let [ddpm, _] = &samplers(&unconditional);
    let r = request(&[None], &[1], ddpm);
    assert_eq!(finish(s.run(&r).unwrap()).len(), 64);
}

// Seen red: the reserve for the session's own buffers left out.
#[test]
fn memory_is_refused_before_it_is_taken() {
    let p = pipeline(&Tiny::new(10));
    let limited = |limit| p.session(&SessionOptions { memory_limit: Some(limit), ..Default::default() });
    let needed = session(&p, 1, 0).bytes() as u64;
    assert!(limited(needed).is_ok());
    let error = limited(needed - 1).err().unwrap();
    let expected = PlanError::Memory { needed, allowed: needed - 1 }.to_string();
    assert_eq!(error.to_string(), expected);
    let batch = |batch| p.session(&SessionOptions { batch, ..Default::default() }).err().unwrap().to_string();
    assert_eq!(batch(0), "batch is 0, must be 1 to 65536");
    assert_eq!(batch(usize::MAX), format!("batch is {}, must be 1 to 65536", usize::MAX));
}

// Seen red: `run_checked` looking at the last step alone.
#[test]
fn an_overflow_names_the_operation_that_made_it() {
    let tiny = Tiny::new(10).edit(|name, _, values| {
        if name == "down2.convs.3.weight" {
            values.fill(3e38);
        }
        true
    });
    let p = pipeline(&tiny);
    let mut s = session(&p, 1, 1);
    let [_, ddim] = &samplers(&p);
    let error = s.run(&request(&[None], &[1], ddim)).unwrap().step().unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("step 1 of 6: down2.convs.3 (conv2d) made "), "{text}");
}
