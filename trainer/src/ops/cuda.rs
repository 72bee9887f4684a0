//! Operations on an NVIDIA GPU: every one composed of dfdx's own kernels. `sum_squares` and `scale` go through the
//! host, which costs a copy each way and is right first; kernels of our own come when they have been run.
use super::Kit;
use crate::tensor::Buffer;
use cudarc::driver::CudaSlice;
use dfdx::prelude::*;

const DRIVER: &str = "the CUDA driver copies";

impl Kit for Cuda {
    fn download(&self, v: &Buffer<Self>) -> Vec<f32> {
        let v: &CudaSlice<f32> = v;
        v.device().dtoh_sync_copy(v).expect(DRIVER)
    }
    fn upload(&self, v: &mut Buffer<Self>, values: &[f32]) {
        let v: &mut CudaSlice<f32> = v;
        v.device().htod_sync_copy_into(values, v).expect(DRIVER);
    }
    fn sum_squares(&self, v: &Buffer<Self>) -> f64 {
        self.download(v).iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
    }
    fn scale(&self, v: &mut Buffer<Self>, factor: f32) {
        let mut values = self.download(v);
        values.iter_mut().for_each(|x| *x *= factor);
        self.upload(v, &values);
    }
}
