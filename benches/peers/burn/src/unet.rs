//! The book's U-Net in burn, batch norms folded into the convolutions, as nijimi's files have them.

use burn::tensor::activation::relu;
use burn::tensor::module::{conv2d, interpolate, linear, max_pool2d};
use burn::tensor::ops::{ConvOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions};
use burn::tensor::{Device, Int, Tensor, TensorData};
use nijimi_runtime::gguf::File;

pub struct Unet {
    label_emb: Tensor<2>,
    down: [Block; 2],
    bot: Block,
    up: [Block; 2],
    out: Conv,
}

struct Block {
    mlp: [Linear; 2],
    convs: [Conv; 2],
}

struct Conv {
    weight: Tensor<4>,
    bias: Tensor<1>,
    padding: usize,
}

struct Linear {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

/// Takes weights out of a file.
struct Loader<'a> {
    file: &'a File<'a>,
    device: &'a Device,
}

impl Loader<'_> {
    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let tensor = self.file.tensor(name).unwrap_or_else(|e| panic!("{e}"));
        Tensor::from_data(TensorData::new(tensor.to_f32(), tensor.shape()), self.device)
    }

    fn linear(&self, name: &str) -> Linear {
        // The file has a row for each output, burn wants a column.
        let weight = self.tensor::<2>(&format!("{name}.weight")).transpose();
        Linear { weight, bias: self.tensor(&format!("{name}.bias")) }
    }

    fn conv(&self, name: &str, padding: usize) -> Conv {
        // Burn's interface is channels first, its kernels channels last: the file's order, so that nothing is moved.
        let weight = self.tensor::<4>(&format!("{name}.weight")).permute([0, 3, 1, 2]);
        Conv { weight, bias: self.tensor(&format!("{name}.bias")), padding }
    }

    fn block(&self, name: &str) -> Block {
        let at = |part| format!("{name}.{part}");
        Block {
            mlp: [self.linear(&at("mlp.0")), self.linear(&at("mlp.2"))],
            convs: [self.conv(&at("convs.0"), 1), self.conv(&at("convs.3"), 1)],
        }
    }
}

impl Linear {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        linear(x, self.weight.clone(), Some(self.bias.clone()))
    }
}

impl Conv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new([1, 1], [self.padding; 2], [1, 1], 1);
        conv2d(x, self.weight.clone(), Some(self.bias.clone()), options)
    }
}

impl Block {
    fn forward(&self, x: Tensor<4>, time: &Tensor<2>) -> Tensor<4> {
        let v = relu(self.mlp[0].forward(time.clone()));
        let v = self.mlp[1].forward(v);
        let [n, c] = v.dims();
        let x = x + v.reshape([n, c, 1, 1]);
        self.convs.iter().fold(x, |x, conv| relu(conv.forward(x)))
    }
}

impl Unet {
    pub fn load(file: &File, device: &Device) -> Self {
        let loader = Loader { file, device };
        Self {
            label_emb: loader.tensor("label_emb.weight"),
            down: ["down1", "down2"].map(|name| loader.block(name)),
            bot: loader.block("bot1"),
            up: ["up1", "up2"].map(|name| loader.block(name)),
            out: loader.conv("out", 0),
        }
    }

    /// `x` is `(n, 1, 28, 28)`, `time` the encoded timesteps, `(n, 100)`, `labels` one a picture.
    pub fn forward(&self, x: Tensor<4>, time: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<4> {
        let time = time + self.label_emb.clone().select(0, labels);
        let [up1, up2] = &self.up;
        let skip1 = self.down[0].forward(x, &time);
        let skip2 = self.down[1].forward(pool(skip1.clone()), &time);
        let x = self.bot.forward(pool(skip2.clone()), &time);
        let x = up2.forward(Tensor::cat(vec![upsample(x), skip2], 1), &time);
        let x = up1.forward(Tensor::cat(vec![upsample(x), skip1], 1), &time);
        self.out.forward(x)
    }
}

fn pool(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([2, 2]))
}

fn upsample(x: Tensor<4>) -> Tensor<4> {
    let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
    interpolate(x, options.with_scale_factor([2.0, 2.0]))
}
