//! Judging a model's samples: recognition by an independent classifier, Frechet distance, nearest training pictures,
//! and what quantization costs.
pub mod cli;
pub mod eigen;
pub mod evaluate;
pub mod frechet;
pub mod guided;
pub mod loss;
pub mod neighbour;
pub mod picture;
pub mod psnr;
pub mod report;
pub mod sample;
