//! Operations on an NVIDIA GPU: every one composed of dfdx's own kernels. `sum_squares` and the scale of a clipped gradient go through the
//! host, which costs a copy each way and is right first; kernels of our own come when they have been run.
use super::Kit;
use crate::tensor::Buffer;
use cudarc::driver::CudaSlice;
use dfdx::optim::AdamConfig;
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
    fn adam<S: Shape>(
        config: &AdamConfig,
        step: i32,
        scale: f32,
        parameter: &mut Tensor<S, f32, Self>,
        [first, second]: [&mut Buffer<Self>; 2],
        gradient: &mut Buffer<Self>,
    ) {
        let device = parameter.device().clone();
        if scale != 1.0 {
            let mut values = device.download(gradient);
            values.iter_mut().for_each(|x| *x *= scale);
            device.upload(gradient, &values);
        }
        config.try_update(step, parameter, first, second, gradient).expect("the Adam kernel");
        let gradient: &mut CudaSlice<f32> = gradient;
        gradient.device().memset_zeros(gradient).expect("a gradient of zero");
    }
    fn average<S: Shape>(average: &mut Tensor<S, f32, Self>, new: &Tensor<S, f32, Self>, decay: f64) {
        average.axpy(decay, new, 1.0 - decay);
    }
}
