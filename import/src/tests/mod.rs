//! Every pipeline among the fixtures, in its published forms and damaged ones.

mod families;
mod hostile;
mod published;
mod support;
mod types;
