//! Every pipeline among the fixtures, in its published forms and damaged ones.

mod embeddings;
mod families;
mod fits;
mod hostile;
mod marks;
mod published;
mod support;
mod tokens;
mod types;
