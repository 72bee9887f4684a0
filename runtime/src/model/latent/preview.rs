//! A rough look at latents without a decoder: a linear map of each latent to a color.

use alloc::vec::Vec;

/// The colors of a latent, red, green and blue in [0, 1] for one unit of each channel, and of none.
struct Projection {
    of: [[f32; 3]; 4],
    zero: [f32; 3],
}

/// Of SD 1.x and 2.x, fitted by K. Turner ("Decoding latents to RGB without upscaling", 2022), for pictures in [-1, 1].
const SD: Projection = Projection {
    of: [[0.149, 0.1035, 0.104], [0.0935, 0.143, 0.0865], [-0.079, 0.0945, 0.132], [-0.092, -0.1355, -0.2365]],
    zero: [0.5; 3],
};

/// Of SDXL, after T. A. Vass ("Explaining the SDXL latent space", 2023), whose numbers are for pictures in [0, 255].
const SDXL: Projection = Projection {
    of: [
        [60.0 / 255.0, 60.0 / 255.0, 60.0 / 255.0],
        [-60.0 / 255.0, -5.0 / 255.0, 10.0 / 255.0],
        [25.0 / 255.0, 15.0 / 255.0, -5.0 / 255.0],
        [-70.0 / 255.0, -50.0 / 255.0, -35.0 / 255.0],
    ],
    zero: [150.0 / 255.0, 140.0 / 255.0, 130.0 / 255.0],
};

/// Colors of the latents `(n, h, w, channels)`, as the U-Net has them: `(n, h, w, 3)` in [0, 1]. Latents of no published
/// kind are shown by their first channel, gray.
pub(super) fn project(latents: &[f32], channels: usize, family: &str) -> Vec<f32> {
    let projection = match (channels, family) {
        (4, "sd1" | "sd2") => Some(&SD),
        (4, "sdxl") => Some(&SDXL),
        _ => None,
    };
    let color = |latent: &[f32]| match projection {
        None => [latent[0] / 4.0 + 0.5; 3],
        Some(p) => core::array::from_fn(|c| p.zero[c] + latent.iter().zip(p.of).map(|(x, of)| x * of[c]).sum::<f32>()),
    };
    latents.chunks_exact(channels.max(1)).flat_map(color).map(|v| v.clamp(0.0, 1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::project;

    /// Seen red with channels exchanged, and without the colors of nothing.
    #[test]
    fn each_channel_has_its_color() {
        let near = |a: &[f32], b: [f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        let two = project(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0], 4, "sd1");
        assert!(near(&two[..3], [0.5; 3]) && near(&two[3..], [0.5935, 0.643, 0.5865]), "{two:?}");
        let xl = project(&[0.0, 0.0, 0.0, 1.0], 4, "sdxl");
        assert!(near(&xl, [80.0 / 255.0, 90.0 / 255.0, 95.0 / 255.0]), "{xl:?}");
        assert_eq!(project(&[9.0, -9.0], 1, "other"), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    }
}
