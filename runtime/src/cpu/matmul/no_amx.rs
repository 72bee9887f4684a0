//! In the place of [`amx`](super::amx) where there is none: nothing is gathered.

use super::MAX_ROWS;
use super::pack::Format;
use crate::cpu::Isa;

#[cfg(target_arch = "x86_64")]
pub(super) fn kernel(format: Format) -> super::Kernel {
    super::vnni::kernel(format)
}

#[derive(Clone, Copy)]
pub(super) struct Together;

pub(super) struct Room;

impl Room {
    pub fn bytes(_: Isa, _: Format, _: [usize; 2], _: usize) -> usize {
        0
    }

    pub fn new(_: &mut [u8], _: [usize; 2]) -> Self {
        Self
    }
}

pub(super) struct Tiles;

impl Tiles {
    pub fn new(_: &Room) -> Self {
        Self
    }

    /// # Safety
    /// None is needed.
    pub unsafe fn together(&mut self, _: &[[*const u8; MAX_ROWS]], _: usize) -> Option<Together> {
        None
    }
}
