//! TEMPORARY: coefficients of DDPM and DDIM steps; replaced on merge.
#![allow(missing_docs)]
use crate::schedule::Schedule;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Ddpm,
    Ddim,
}
impl Method {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "ddpm" => Some(Self::Ddpm),
            "ddim" => Some(Self::Ddim),
            _ => None,
        }
    }
}

/// x' = x * self.x + eps * self.eps + noise * self.noise; x0 = x * self.x0_x + eps * self.x0_eps
#[derive(Clone, Copy, Debug)]
pub struct Coefficients {
    pub x: f32,
    pub eps: f32,
    pub noise: f32,
    pub x0_x: f32,
    pub x0_eps: f32,
}

/// Level of step k of `steps`, and the level that it leads to.
pub fn levels(schedule: &Schedule, steps: usize, k: usize) -> (usize, usize) {
    let stride = schedule.steps() / steps;
    let level = (steps - 1 - k) * stride + 1;
    (level, level.saturating_sub(stride))
}

pub fn coefficients(schedule: &Schedule, method: Method, eta: f32, level: usize, next: usize) -> Coefficients {
    let (a, b) = (schedule.alpha_bar(level), schedule.alpha_bar(next));
    let eta = if method == Method::Ddpm { 1.0 } else { f64::from(eta) };
    let sigma = eta * libm::sqrt((1.0 - b) / (1.0 - a) * (1.0 - a / b));
    let (x0_x, x0_eps) = (1.0 / libm::sqrt(a), -libm::sqrt((1.0 - a) / a));
    let direction = libm::sqrt((1.0 - b - sigma * sigma).max(0.0));
    let s = libm::sqrt(b);
    Coefficients {
        x: (s * x0_x) as f32,
        eps: (s * x0_eps + direction) as f32,
        noise: sigma as f32,
        x0_x: x0_x as f32,
        x0_eps: x0_eps as f32,
    }
}
