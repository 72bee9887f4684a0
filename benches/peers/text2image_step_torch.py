"""The training step of `nijimi-train text2image` in PyTorch on the CPU: diffusers' U-Net and transformers' CLIP text encoder of
the same sizes, batch, loss and optimizer; products in bf16 by autocast, or all in f32.

    python benches/peers/text2image_step_torch.py [--steps 20] [--threads 2] [--batch 32] [--f32]
    python benches/peers/text2image_step_torch.py --nijimi target/release/nijimi-train --data emoji --autoencoder FILE

Prints the median and the least seconds a step, CPU seconds a step, and the peak resident memory, as one JSON line. With
`--nijimi`, our trainer and PyTorch run in turn, `--rounds` times, and the ratio of their medians is printed too.

    pip install torch diffusers transformers
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

TOKENS, TEXT, VOCABULARY = 24, 192, 4096


def networks():
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    unet = UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(64, 128, 256), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        # Heads of 32 channels; the name is diffusers' old one for their number.
        attention_head_dim=(2, 4, 8), norm_num_groups=8, cross_attention_dim=TEXT, use_linear_projection=True,
        # The text's pooled state beside the time.
        class_embed_type="projection", projection_class_embeddings_input_dim=TEXT,
    )
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=TEXT, intermediate_size=4 * TEXT, num_hidden_layers=2,
        num_attention_heads=TEXT // 32, max_position_embeddings=TOKENS, hidden_act="quick_gelu", eos_token_id=VOCABULARY - 1,
        bos_token_id=VOCABULARY - 2,
    ))
    return unet.train(), text.train()


def peer(a):
    import torch

    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    unet, text = networks()
    parameters = [*unet.parameters(), *text.parameters()]
    adam = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01)
    levels = torch.arange(1, 1001) / 1000
    signals = torch.cos(levels * torch.pi / 2)
    times, cpu = [], []
    for step in range(a.warmup + a.steps):
        begun, used = time.perf_counter(), time.process_time()
        z, noise = torch.randn(a.batch, 4, 16, 16), torch.randn(a.batch, 4, 16, 16)
        level = torch.randint(0, 1000, (a.batch,))
        ids = torch.randint(0, VOCABULARY - 2, (a.batch, TOKENS))
        ids[:, -1] = VOCABULARY - 1
        signal = signals[level].view(-1, 1, 1, 1)
        sigma = (1 - signal**2).sqrt()
        adam.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=not a.f32):
            states = text(ids)
            v = unet(
                signal * z + sigma * noise, level, states.last_hidden_state, class_labels=states.pooler_output,
            ).sample
        loss = torch.nn.functional.mse_loss(v.float(), signal * noise - sigma * z)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        loss.item()
        if step >= a.warmup:
            times.append(time.perf_counter() - begun)
            cpu.append(time.process_time() - used)
    return {
        "torch": torch.__version__, "threads": a.threads, "bf16": not a.f32, "steps": a.steps,
        "parameters": sum(p.numel() for p in parameters), "median_s": round(statistics.median(times), 4),
        "least_s": round(min(times), 4), "median_cpu_s": round(statistics.median(cpu), 4),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def ours(a, folder):
    """Steps of our trainer from random weights; its latents are computed in the first round and kept."""
    report = os.path.join(folder, "report")
    latents = os.path.join(report, "latents.safetensors")
    if os.path.isdir(report):
        for name in os.listdir(report):
            if name != os.path.basename(latents):
                os.remove(os.path.join(report, name))
    command = [
        a.nijimi, "text2image", "--data", a.data, "--autoencoder", a.autoencoder, "--report", report,
        "--out", os.path.join(folder, "out.gguf"), "--batch", str(a.batch), "-t", str(a.threads),
        "--precision", "f32" if a.f32 else "bf16", "--max-steps", str(a.warmup + a.steps), "--lr", "1e-4",
    ]
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(os.path.join(report, "log.jsonl"), encoding="utf-8") as log:
        seconds = [line["seconds"] for line in map(json.loads, log) if "loss" in line]
    times = [b - a for a, b in zip(seconds[a.warmup - 1:], seconds[a.warmup:])]
    return {
        "nijimi": True, "median_s": round(statistics.median(times), 4), "least_s": round(min(times), 4),
        # Of the whole process, loading and latents included.
        "cpu_s": round(ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime, 2),
        "peak_rss_mb": ended.ru_maxrss // 1024,
    }


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--warmup", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--f32", action="store_true")
    p.add_argument("--nijimi", help="our trainer, to be run in turn")
    p.add_argument("--data", help="its captioned pictures")
    p.add_argument("--autoencoder", help="its first stage")
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_args()
    if not a.nijimi:
        print(json.dumps(peer(a)))
        return
    again = [sys.executable, __file__, "--steps", str(a.steps), "--warmup", str(a.warmup), "--threads", str(a.threads),
             "--batch", str(a.batch), *(["--f32"] if a.f32 else [])]
    medians = {"nijimi": [], "torch": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(a.rounds):
            mine = ours(a, folder)
            print(json.dumps(mine), flush=True)
            theirs = json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
            print(json.dumps(theirs), flush=True)
            medians["nijimi"].append(mine["median_s"])
            medians["torch"].append(theirs["median_s"])
    best = {name: min(values) for name, values in medians.items()}
    print(json.dumps({**best, "ratio": round(best["nijimi"] / best["torch"], 3)}))


if __name__ == "__main__":
    main()
