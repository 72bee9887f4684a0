//! From the device to the host.
#![cfg(not(target_arch = "wasm32"))]

use super::{Gpu, GpuError, trusted};
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;
use std::sync::mpsc;

/// How long to wait for another thread before the device is asked again.
const PATIENCE: Duration = Duration::from_millis(20);

impl Gpu {
    /// Copies words to the host through `staging`.
    pub(super) fn download(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        staging: &wgpu::Buffer,
        bytes: u64,
    ) -> Result<Vec<u32>, GpuError> {
        self.read_back(bytes, staging, |encoder| encoder.copy_buffer_to_buffer(buffer, offset, staging, 0, bytes))
    }

    /// Copies the beginnings of several buffers to the host, one after the other.
    pub(super) fn download_all(
        &self,
        parts: &[(&wgpu::Buffer, u64)],
        staging: &wgpu::Buffer,
    ) -> Result<Vec<u32>, GpuError> {
        let total = parts.iter().map(|(_, bytes)| bytes).sum();
        self.read_back(total, staging, |encoder| {
            let mut to = 0;
            for (buffer, bytes) in parts {
                encoder.copy_buffer_to_buffer(buffer, 0, staging, to, *bytes);
                to += bytes;
            }
        })
    }

    fn read_back(
        &self,
        bytes: u64,
        staging: &wgpu::Buffer,
        copy: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<Vec<u32>, GpuError> {
        let (sender, arrived) = mpsc::channel();
        let slice = staging.slice(..bytes);
        self.scoped("reading back", bytes, || {
            let mut encoder = self.0.device.create_command_encoder(&Default::default());
            copy(&mut encoder);
            self.0.queue.submit([encoder.finish()]);
            // A receiver that is gone has had its error.
            slice.map_async(wgpu::MapMode::Read, move |result| drop(sender.send(result)));
        })?;
        let lost = |reason: &dyn core::fmt::Display| GpuError::Lost { reason: format!("{reason}") };
        // Whoever polls runs the callbacks of all, so ours may still be under way on another thread.
        let result = loop {
            self.wait(None)?;
            match arrived.recv_timeout(PATIENCE) {
                Ok(result) => break result,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(e) => return Err(lost(&e)),
            }
        };
        result.map_err(|e| lost(&e))?;
        let words = slice.get_mapped_range().map(|view| trusted::words(&view)).map_err(|e| lost(&e));
        staging.unmap();
        words
    }
}
