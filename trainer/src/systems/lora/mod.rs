//! LoRAs of published Stable Diffusion models (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"): the networks stay
//! as their file has them; what is trained are thin factors beside their layers.
pub mod network;
