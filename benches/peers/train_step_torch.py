"""The training step of `nijimi-train ddpm` in PyTorch on the CPU: same network, batch, loss and optimizer, in f32.

    python benches/peers/train_step_torch.py [--steps 10] [--threads 2] [--batch 128] [--bf16]

Prints the median and the least seconds a step, CPU seconds a step, and the peak resident memory, as one JSON line.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn


class ConvBlock(nn.Module):
    def __init__(self, i, o, d):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(),
            nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(),
        )
        self.mlp = nn.Sequential(nn.Linear(d, i), nn.ReLU(), nn.Linear(i, i))

    def forward(self, x, v):
        return self.convs(x + self.mlp(v)[:, :, None, None])


class UNet(nn.Module):
    """Channels 64, 128, 256; time and label vector of 100."""

    def __init__(self, d=100, labels=10):
        super().__init__()
        self.label_emb = nn.Embedding(labels, d)
        self.down1, self.down2 = ConvBlock(1, 64, d), ConvBlock(64, 128, d)
        self.bot1 = ConvBlock(128, 256, d)
        self.up2, self.up1 = ConvBlock(128 + 256, 128, d), ConvBlock(128 + 64, 64, d)
        self.out = nn.Conv2d(64, 1, 1)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")

    def forward(self, x, time_vector, labels):
        v = time_vector + self.label_emb(labels)
        a = self.down1(x, v)
        b = self.down2(self.pool(a), v)
        x = self.bot1(self.pool(b), v)
        x = self.up2(torch.cat([self.up(x), b], 1), v)
        x = self.up1(torch.cat([self.up(x), a], 1), v)
        return self.out(x)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--warmup", type=int, default=2)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    p.add_argument("--channels-last", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = UNet().train()
    x = torch.randn(a.batch, 1, 28, 28)
    if a.channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    times, cpu = [], []
    for step in range(a.warmup + a.steps):
        begun, used = time.perf_counter(), time.process_time()
        noise, v = torch.randn(a.batch, 1, 28, 28), torch.randn(a.batch, 100)
        labels = torch.randint(0, 10, (a.batch,))
        adam.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16):
            predicted = model(x + noise, v, labels)
        loss = nn.functional.mse_loss(predicted.float(), noise)
        loss.backward()
        adam.step()
        loss.item()
        if step >= a.warmup:
            times.append(time.perf_counter() - begun)
            cpu.append(time.process_time() - used)
    print(json.dumps({
        "torch": torch.__version__, "threads": a.threads, "bf16": a.bf16, "steps": a.steps,
        "median_s": round(statistics.median(times), 3), "least_s": round(min(times), 3),
        "median_cpu_s": round(statistics.median(cpu), 3), "least_cpu_s": round(min(cpu), 3),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }))


if __name__ == "__main__":
    main()
