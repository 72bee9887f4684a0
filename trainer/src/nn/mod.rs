//! The networks; parameter names equal those of the runtime's builders.
pub mod book_unet;
pub mod judge;
pub mod layers;
