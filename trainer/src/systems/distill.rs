//! `nijimi-train distill`: a student of few steps, for each kind of model that can be its teacher.
pub mod command;
pub mod lesson;
