//! From the device to the host.

use super::waiting::later;
use super::{Gpu, GpuError, trusted};
use alloc::format;
use alloc::vec::Vec;

impl Gpu {
    /// Copies words to the host through `staging`.
    pub(super) async fn download(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        staging: &wgpu::Buffer,
        bytes: u64,
    ) -> Result<Vec<u32>, GpuError> {
        self.download_all(&[(buffer, offset, bytes)], staging).await
    }

    /// Copies parts of several buffers (offset and bytes) to the host, one after the other.
    pub(super) async fn download_all(
        &self,
        parts: &[(&wgpu::Buffer, u64, u64)],
        staging: &wgpu::Buffer,
    ) -> Result<Vec<u32>, GpuError> {
        let bytes = parts.iter().map(|(_, _, bytes)| bytes).sum();
        let (bring, result) = later();
        self.scoped("reading back", bytes, || {
            let mut encoder = self.0.device.create_command_encoder(&Default::default());
            let mut to = 0;
            for (buffer, offset, bytes) in parts {
                encoder.copy_buffer_to_buffer(buffer, *offset, staging, to, *bytes);
                to += bytes;
            }
            self.0.queue.submit([encoder.finish()]);
            staging.slice(..bytes).map_async(wgpu::MapMode::Read, bring);
        })?;
        let lost = |reason: &dyn core::fmt::Display| GpuError::Lost { reason: format!("{reason}") };
        let mapped = Mapped(staging);
        if let Err(e) = result.arrived(self).await? {
            core::mem::forget(mapped);
            return Err(lost(&e));
        }
        staging.slice(..bytes).get_mapped_range().map(|view| trusted::words(&view)).map_err(|e| lost(&e))
    }
}

/// Mapped, or about to be. Whoever stops awaiting gives the buffer back too, for the next to read through.
struct Mapped<'a>(&'a wgpu::Buffer);

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        self.0.unmap();
    }
}
