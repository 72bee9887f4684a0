use super::*;
use crate::nn::autoencoder_kl::AutoencoderKlConfig;
use crate::param::{Kind, Module, Visitor};

fn config() -> AutoencoderKlConfig {
    AutoencoderKlConfig {
        in_channels: 3,
        out_channels: 3,
        latent_channels: 2,
        channels: vec![4, 8],
        layers_per_block: 1,
        norm_groups: 2,
        mid_attention: false,
        quant_conv: true,
        post_quant_conv: true,
        packed: false,
    }
}

const SETTINGS: AutoencoderKlSettings =
    AutoencoderKlSettings { batch: 2, l1_weight: 0.3, kl_weight: 0.7, shift: 1, seed: 3, precision: Precision::F32 };

fn normal(purpose: &str, n: usize) -> Vec<f32> {
    let mut stream = Stream::new(5, purpose, 0);
    (0..n).map(|_| stream.normal()).collect()
}

/// Adds normal numbers times `by` to every weight: branches that begin at zero take part, and weights move along a
/// direction.
struct Move<'a>(&'a str, f32);
impl Visitor<Cpu> for Move<'_> {
    fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, Cpu>, kind: Kind) {
        assert_eq!(kind, Kind::Weight);
        let values: Vec<f32> = t.as_vec();
        let moved = values.iter().zip(normal(&format!("{} {name}", self.0), values.len()));
        t.copy_from(&moved.map(|(v, d)| v + self.1 * d).collect::<Vec<f32>>());
    }
}

/// The slope of the loss along the direction of [`Move`], from its gradients.
struct Slope(Gradients<f32, Cpu>, f64);
impl Visitor<Cpu> for Slope {
    fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, Cpu>, _: Kind) {
        let g = self.0.get(t).as_vec();
        let direction = normal(&format!("direction {name}"), g.len());
        assert!(g.iter().any(|g| *g != 0.0), "{name} gets no gradient");
        self.1 += g.iter().zip(direction).map(|(g, d)| f64::from(*g) * f64::from(d)).sum::<f64>();
    }
}

/// The gradients reach every weight, and are those of the loss that is reported: its parts weighted.
/// Seen red with the divergence's gradient halved, and with the absolute error's left out.
#[test]
fn the_gradients_are_those_of_the_loss() {
    let device = Cpu::default();
    let mut model = AutoencoderKl::new(&device, 1, &config(), Precision::F32).unwrap();
    model.visit("", &mut Move("start", 0.1));
    let x: T4<Cpu> = device.tensor_from_vec(normal("x", 2 * 3 * 64), (2, 3, 8, 8));
    let eps: T4<Cpu> = device.tensor_from_vec(normal("eps", 2 * 2 * 16), (2, 2, 4, 4));
    let loss = |model: &AutoencoderKl<Cpu>| objective(model, x.clone(), eps.clone(), &SETTINGS).1.loss(&SETTINGS);
    let gradients = param::zero_gradients(&mut model);
    let (scalar, terms) = objective(&model, x.clone().traced(gradients), eps.clone(), &SETTINGS);
    let constant = SETTINGS.kl_weight * 0.5 * 64.0 / 384.0;
    assert!((f64::from(scalar.array()) - constant - terms.loss(&SETTINGS)).abs() < 1e-5, "{terms:?}");
    let mut slope = Slope(scalar.backward(), 0.0);
    model.visit("", &mut slope);
    let step = 2e-4;
    let (mut up, mut down) = (model.clone(), model.clone());
    up.visit("", &mut Move("direction", step));
    down.visit("", &mut Move("direction", -step));
    let difference = (loss(&up) - loss(&down)) / (2.0 * f64::from(step));
    assert!((difference - slope.1).abs() < 5e-3 * slope.1.abs().max(1.0), "{difference} and {}", slope.1);
}

/// Seen red with the columns not mirrored, and with the shift's rows and columns exchanged.
#[test]
fn pictures_are_mirrored_and_moved_over_white() {
    // Rows of pixels 0 1, 2 3; red is the pixel's number, green and blue are black.
    let pixels: Vec<u8> = (0..4u8).flat_map(|i| [i, 0, 0]).collect();
    let red = |flip, moved| {
        let mut out = [0f32; 12];
        planes(&pixels, 2, flip, moved, &mut out);
        [0, 1, 2, 3].map(|i| ((out[i] + 1.0) * 127.5).round() as u8)
    };
    assert_eq!(red(false, (0, 0)), [0, 1, 2, 3]);
    assert_eq!(red(true, (0, 0)), [1, 0, 3, 2]);
    assert_eq!(red(false, (1, 0)), [2, 3, 255, 255]);
    assert_eq!(red(false, (0, -1)), [255, 0, 255, 2]);
}

/// Seen red with the offset of the chosen channels left out.
#[test]
fn channels_are_whole_planes() {
    let x: T4<Cpu> = Cpu::default().tensor_from_vec((0..12).map(|v| v as f32).collect(), (1, 3, 2, 2));
    assert_eq!(channels(x.clone(), 1, 2).as_vec(), [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    assert_eq!(channels(x, 0, 1).as_vec(), [0.0, 1.0, 2.0, 3.0]);
}
