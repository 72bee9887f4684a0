//! Every pipeline among the fixtures, in its published forms and damaged ones.

mod embeddings;
mod families;
mod fits;
mod formats;
mod hostile;
mod llama;
mod marks;
mod parts;
mod pixels;
mod published;
mod refiner;
mod sd3;
mod support;
mod survey;
mod tokens;
mod types;
mod z_image;
