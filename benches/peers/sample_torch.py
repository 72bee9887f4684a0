"""Sampling with the book's network in PyTorch on the CPU, in f32, without guidance: same network, batch and samplers.

    python benches/peers/sample_torch.py [--variant plain|folded|channels-last] [--method ddim|ddpm] [--steps 50]

A step is one evaluation of the network and the sampler's update. Prints seconds and CPU seconds a step and the peak
resident memory, as one JSON line.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval
from train_step_torch import UNet


def fold(model):
    """Takes each batch norm into the convolution before it."""
    for block in (model.down1, model.down2, model.bot1, model.up2, model.up1):
        for i in (0, 3):
            block.convs[i] = fuse_conv_bn_eval(block.convs[i], block.convs[i + 1])
            block.convs[i + 1] = torch.nn.Identity()
    return model


def position_encoding(levels, d):
    """As in the book: each index has its own frequency, even ones a sine, odd ones a cosine."""
    i = torch.arange(d)
    angle = torch.arange(1, levels + 1)[:, None] / 10000 ** (i / d)
    return torch.where(i % 2 == 0, angle.sin(), angle.cos())


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--variant", choices=("plain", "folded", "channels-last"), default="plain",
                   help="batch norm as it is; folded into the convolutions; folded, and channels last in memory")
    p.add_argument("--method", choices=("ddim", "ddpm"), default="ddim")
    p.add_argument("--steps", type=int, default=50, help="a divisor of 1000")
    p.add_argument("--warmup", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--pictures", type=int, default=20)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    levels, d = 1000, 100
    model = UNet(d).eval()
    layout = torch.contiguous_format
    if a.variant != "plain":
        model = fold(model)
    if a.variant == "channels-last":
        layout = torch.channels_last
    model = model.to(memory_format=layout)
    alpha_bar = torch.cat([torch.ones(1), torch.cumprod(1 - torch.linspace(1e-4, 0.02, levels), 0)])
    encoding = position_encoding(levels, d)
    labels = torch.arange(a.pictures) * 10 // a.pictures
    x = torch.randn(a.pictures, 1, 28, 28).to(memory_format=layout)

    def step(x, t, to):
        eps = model(x, encoding[t - 1].expand(a.pictures, d), labels)
        now, after = alpha_bar[t], alpha_bar[to]
        x0 = (x - (1 - now).sqrt() * eps) / now.sqrt()
        if a.method == "ddim":
            return after.sqrt() * x0 + (1 - after).sqrt() * eps
        variance = (1 - after) / (1 - now) * (1 - now / after)
        direction = (1 - after - variance).sqrt()
        return after.sqrt() * x0 + direction * eps + variance.sqrt() * torch.randn_like(x)

    times, cpu = [], []
    stride = levels // a.steps
    with torch.no_grad():
        for _ in range(a.warmup):
            step(x, levels, levels - 1)
        for t in range(levels, 0, -stride):
            begun, used = time.perf_counter(), time.process_time()
            x = step(x, t, t - stride)
            times.append(time.perf_counter() - begun)
            cpu.append(time.process_time() - used)
    assert x.isfinite().all()
    print(json.dumps({
        "torch": torch.__version__, "variant": a.variant, "method": a.method, "threads": a.threads,
        "pictures": a.pictures, "steps": a.steps,
        "mean_s": round(statistics.mean(times), 5), "median_s": round(statistics.median(times), 5),
        "least_s": round(min(times), 5), "mean_cpu_s": round(statistics.mean(cpu), 5),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }))


if __name__ == "__main__":
    main()
