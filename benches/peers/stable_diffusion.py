"""Stable Diffusion's networks at full size, ours and PyTorch's in turn: a call of 1.5's U-Net at 64x64 latents, batch 1,
its decoder to a picture of 512x512, and a call of the transformers of 3 medium, FLUX.2-klein-4B and Z-Image at 1024x1024 with 333, 512 and 64
text tokens,
with random weights, on the CPU.

    python benches/peers/stable_diffusion.py [--rounds 5] [--threads 2] [--part unet|decoder|sd3|flux2|z_image]

Builds the example `sd_speed`. Each contender is a process of its own that has its weights in memory and makes one call
when it is told to; the others wait meanwhile, so that in each round all see the same machine. One call before the first
round warms up. Wall seconds are the median and the least of the rounds, CPU seconds (user and system, of all threads) the
median, which on a shared machine is what to compare. Ratios are of medians, against PyTorch of the type named, in the
faster of its two layouts of memory. PyTorch's networks are those of diffusers. All contenders of a part are in memory at
once: 12 GB for the U-Net, 20 GB for Z-Image.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
OURS = {"unet": ("f32", "f16", "q8_0"), "decoder": ("f32", "f16", "q8_0"), "sd3": ("q8_0", "q4_k"), "flux2": ("q8_0", "q4_k"), "z_image": ("q8_0",)}
PEERS = {"unet": ("f32", "bf16"), "decoder": ("f32", "bf16"), "sd3": ("bf16",), "flux2": ("bf16",), "z_image": ("bf16",)}
SIDE = {"unet": 64, "decoder": 64, "sd3": 128, "flux2": 64, "z_image": 128}
LAYOUTS = ("as built", "channels last")
UNET = {
    "sample_size": 64, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "cross_attention_dim": 768,
    "attention_head_dim": 8, "norm_num_groups": 32,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
SD3 = {
    "sample_size": 128, "num_layers": 24, "num_attention_heads": 24, "attention_head_dim": 64, "joint_attention_dim": 4096,
    "caption_projection_dim": 1536, "pooled_projection_dim": 2048, "pos_embed_max_size": 192, "in_channels": 16, "out_channels": 16,
}
VAE = {
    "sample_size": 512, "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}


def transformer(part, kind):
    """Of thousands of millions of weights, which are made in their own type."""
    import torch
    from diffusers import Flux2Transformer2DModel, ZImageTransformer2DModel
    from full_size import FLUX2, Z_IMAGE

    with torch.device("meta"):
        net = Flux2Transformer2DModel(**FLUX2) if part == "flux2" else ZImageTransformer2DModel(**Z_IMAGE)
    net = net.to(kind).to_empty(device="cpu").eval()
    for weights in net.parameters():
        weights.normal_(0, weights.shape[-1] ** -0.5) if weights.ndim > 1 else weights.fill_(1)
    if part == "z_image":
        states = torch.randn(64, Z_IMAGE["cap_feat_dim"], dtype=kind)
        return net, lambda x: net([x[0].unsqueeze(1)], torch.tensor([0.5], dtype=kind), [states])
    states, side = torch.randn(1, 512, FLUX2["joint_attention_dim"], dtype=kind), SIDE[part]
    text_ids = torch.cartesian_prod(torch.zeros(1), torch.zeros(1), torch.zeros(1), torch.arange(512.0))
    image_ids = torch.cartesian_prod(torch.zeros(1), torch.arange(float(side)), torch.arange(float(side)), torch.zeros(1))

    def call(x):
        tokens = x.flatten(2).transpose(1, 2)
        return net(tokens, states, torch.tensor([0.5], dtype=kind), image_ids, text_ids, None)

    return net, call


def torch_worker(part, dtype, threads):
    """Speaks as `sd_speed` does; an empty line is a call as built, any other one of all channels last."""
    import torch
    from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    kind = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    channels = {"sd3": 16, "z_image": 16, "flux2": 128}.get(part, 4)
    latents = torch.randn(1, channels, SIDE[part], SIDE[part], dtype=kind)
    if part == "unet":
        net = UNet2DConditionModel(**UNET).to(kind).eval()
        text = torch.randn(1, 77, 768, dtype=kind)

        def call(x):
            return net(x, torch.tensor(500), text).sample
    elif part == "sd3":
        net = SD3Transformer2DModel(**SD3).to(kind).eval()
        text, pooled = torch.randn(1, 333, 4096, dtype=kind), torch.randn(1, 2048, dtype=kind)

        def call(x):
            return net(x, text, pooled, torch.tensor([500.0])).sample
    elif part in ("flux2", "z_image"):
        net, call = transformer(part, kind)
    else:
        net = AutoencoderKL(**VAE).to(kind).eval()
        del net.encoder

        def call(x):
            return net.decode(x).sample
    print(json.dumps({"version": torch.__version__}), flush=True)
    layout = ""
    for line in sys.stdin:
        line = line.strip()
        if line != layout:
            layout = line
            net = net.to(memory_format=torch.channels_last if layout else torch.contiguous_format)
            latents = latents.contiguous(memory_format=torch.channels_last if layout else torch.contiguous_format)
            call(latents)  # what is made anew for another layout
        wall, cpu = time.perf_counter(), time.process_time()
        call(latents)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"wall": wall, "processor": cpu, "peak_mb": peak}), flush=True)


class Worker:
    def __init__(self, command):
        command = [str(word) for word in command]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self.said()
        self.calls = {}

    def said(self):
        line = self.child.stdout.readline()
        if not line:
            sys.exit(f"{self.child.args} ended with {self.child.wait()}")
        return json.loads(line)

    def call(self, layout=""):
        self.child.stdin.write(layout + "\n")
        self.child.stdin.flush()
        return self.said()

    def end(self):
        self.child.stdin.close()
        self.child.wait()


def measure(part, a):
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    workers = {}
    for dtype in OURS[part]:
        command = [target / "release/examples/sd_speed", part, dtype, SIDE[part], a.threads, "-"]
        workers[f"nijimi {dtype}"] = Worker(command), ("",)
    for dtype in PEERS[part]:
        command = [sys.executable, __file__, "--worker", part, dtype, "--threads", a.threads]
        workers[f"PyTorch {dtype}"] = Worker(command), LAYOUTS
    found = {}
    for i in range(a.rounds + 1):
        for name, (worker, layouts) in workers.items():
            for layout in layouts:
                # A change of layout is made, and warmed up, outside the time taken.
                said = worker.call("" if layout == LAYOUTS[0] else layout)
                if i > 0:
                    found.setdefault((name, layout), []).append(said)
                print(f"round {i} {part} {name} {layout}: {said['wall']:.3f} s, {said['processor']:.2f} s of the processor",
                      file=sys.stderr, flush=True)
    for worker, _ in workers.values():
        worker.end()
    return found, workers["PyTorch bf16"][0].ready["version"]


def table(part, found, version, rounds):
    def median(key, what):
        return statistics.median(call[what] for call in found[key])

    def fastest(dtype):
        return min(((f"PyTorch {dtype}", layout) for layout in LAYOUTS), key=lambda key: median(key, "processor"))

    peers = [fastest(dtype) for dtype in PEERS[part]]
    against = " | ".join(f"against PyTorch {dtype}, wall (CPU)" for dtype in PEERS[part])
    print(f"\n{part}, PyTorch {version}, {rounds} rounds\n")
    print(f"| | s, median (least) | CPU s | {against} | peak MB |")
    print("|---" * (4 + len(peers)) + "|")
    for key, calls in found.items():
        least = min(call["wall"] for call in calls)
        ratios = " | ".join(f"{median(key, 'wall') / median(peer, 'wall'):.2f} ({median(key, 'processor') / median(peer, 'processor'):.2f})"
                  for peer in peers)
        name = ", ".join(word for word in key if word)
        print(f"| {name} | {median(key, 'wall'):.2f} ({least:.2f}) | {median(key, 'processor'):.2f} | {ratios} "
              f"| {max(call['peak_mb'] for call in calls)} |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--part", choices=tuple(OURS))
    p.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.worker:
        return torch_worker(*a.worker, a.threads)
    build = ["cargo", "build", "--release", "-p", "nijimi-runtime", "--example", "sd_speed"]
    subprocess.run(build, cwd=ROOT, check=True)
    for part in [a.part] if a.part else list(OURS):
        found, version = measure(part, a)
        table(part, found, version, a.rounds)


if __name__ == "__main__":
    main()
