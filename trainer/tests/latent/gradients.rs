//! Gradients of text encoder and U-Net together.
use crate::networks::{ids, normal, random, text, unets};
use dfdx::prelude::*;
use nijimi_runtime::raw::nn::{SdLevel, SdMiddle, TextStates};
use nijimi_trainer::nn::text2image::TextToImage;
use nijimi_trainer::ops::{Kit, Precision};
use nijimi_trainer::param::{self, Kind, Module, Visitor};
use nijimi_trainer::tensor::{T4, Tp};

/// The id that ends a text: among the random ids, so that texts end in different places.
const END: u32 = 5;

/// The loss, differentiable, and in f64. Shorter windows than there are positions.
fn loss<T: Tp<Cpu>>(model: &TextToImage<Cpu>, x: T4<Cpu, T>) -> (Tensor<Rank0, f32, Cpu, T>, f64) {
    let device = Cpu::default();
    let (n, _, h, w) = *x.shape();
    let time = model.unet.time_codes(&device, &(0..n).map(|i| 20.0 + 300.0 * i as f64).collect::<Vec<f64>>());
    let shape = (n, model.unet.config().out_channels, h, w);
    let target = device.tensor_from_vec(normal("target", shape.0 * shape.1 * h * w), shape);
    Cpu::mse(model.forward(x, &time, &ids(model.text.config(), n * 6), 6).unwrap(), &target)
}

/// Moves every weight along a random direction.
struct Move(f32);
impl Visitor<Cpu> for Move {
    fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, Cpu>, _: Kind) {
        let values = t.as_vec();
        let moved = values.iter().zip(normal(&format!("direction {name}"), values.len()));
        t.copy_from(&moved.map(|(v, d)| v + self.0 * d).collect::<Vec<f32>>());
    }
}

/// The slope of the loss along that direction, from its gradients.
struct Slope(Gradients<f32, Cpu>, f64);
impl Visitor<Cpu> for Slope {
    fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, Cpu>, _: Kind) {
        let g = self.0.get(t).as_vec();
        // What is added to all keys alike changes no softmax.
        assert!(name.ends_with("k_proj.bias") || g.iter().any(|g| *g != 0.0), "{name} gets no gradient");
        let direction = normal(&format!("direction {name}"), g.len());
        self.1 += g.iter().zip(direction).map(|(g, d)| f64::from(*g) * f64::from(d)).sum::<f64>();
    }
}

/// Every weight of both networks gets a gradient, and together they are the slope of the loss.
/// Seen red with: the text's tape not merged into the picture's; the time's tape not merged; a skip without its gradient;
/// a transformer's shortcut without its gradient; the pooled state without its tape.
#[test]
fn gradients_reach_every_weight_and_are_the_slope() {
    let device = Cpu::default();
    for (name, config) in unets() {
        let deep = |level: &SdLevel| level.down.iter().chain(&level.up).any(|depth| *depth > 0);
        let middle = matches!(config.middle, SdMiddle::Transformer(depth) if depth > 0);
        if !middle && !config.levels.iter().any(deep) {
            // Its middle's transformer has no blocks, and reads no text.
            continue;
        }
        let mut model =
            TextToImage::new(&device, 0, &config, (&text(), TextStates::LAST, END), Precision::F32).unwrap();
        random(&mut model);
        let shape = (2, config.in_channels, 8, 4);
        let x: T4<Cpu> = device.tensor_from_vec(normal("x", shape.0 * shape.1 * 32), shape);
        let gradients = param::zero_gradients(&mut model);
        let (scalar, _) = loss(&model, x.clone().traced(gradients));
        let mut slope = Slope(scalar.backward(), 0.0);
        model.visit("", &mut slope);
        let step = 2e-4;
        let (mut up, mut down) = (model.clone(), model.clone());
        up.visit("", &mut Move(step));
        down.visit("", &mut Move(-step));
        let difference = (loss(&up, x.clone()).1 - loss(&down, x).1) / (2.0 * f64::from(step));
        println!("{name}: {} and {difference}", slope.1);
        assert!((difference - slope.1).abs() < 1e-2 * slope.1.abs().max(1.0), "{name}: {difference} and {}", slope.1);
    }
}
