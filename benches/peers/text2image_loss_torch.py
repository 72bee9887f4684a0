"""The first steps of `nijimi-train text2image` again in PyTorch: the same initial weights, the same batches, the same optimizer; then
the losses of both beside each other, in f32 and in bf16.

    python benches/peers/text2image_loss_torch.py --nijimi target/release/nijimi-train --data emoji --autoencoder FILE [--steps 500]

Our trainer writes its weights (a checkpoint after no step) and its batches (`--batches`). Prints, as JSON lines, the largest and the
mean difference of a step's loss, relative to PyTorch's, over the steps and in tenths of them. Runs come apart in time by rounding
alone, as two orders of summation do: what is to agree is the first steps closely, and the means of later ones.

    pip install torch diffusers transformers safetensors
"""
import argparse
import json
import os
import subprocess
import tempfile

import torch
from safetensors.torch import load_file
from text2image_step_torch import networks

LR, WARMUP, DECAY, CLIP = 5e-4, 200, 0.01, 1.0


def ours(a, folder, precision):
    """Initial weights, and the losses and batches of the first steps."""
    def run(name, steps, *more):
        report = os.path.join(folder, f"{name}-{precision}")
        command = [
            a.nijimi, "text2image", "--data", a.data, "--autoencoder", a.autoencoder, "--report", report,
            "--out", os.path.join(folder, "out.gguf"), "--precision", precision, "--max-steps", str(steps),
            "--lr", str(LR), "--warmup", str(WARMUP), "--weight-decay", str(DECAY), "--clip", str(CLIP), "--epochs", "100", *more,
        ]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return report

    start = load_file(os.path.join(run("start", 0), "checkpoint.safetensors"))
    batches = os.path.join(folder, "batches")
    report = run("steps", a.steps, "--batches", batches)
    with open(os.path.join(report, "log.jsonl"), encoding="utf-8") as log:
        lines = [line for line in map(json.loads, log) if "loss" in line]
    return start, batches, [line["loss"] for line in lines], [line["gradient_norm"] for line in lines]


def theirs(a, start, batches, bf16):
    unet, text = networks()
    # Our class embedding has the name of SDXL's second condition.
    named = {k.removeprefix("model.unet.").replace("add_embedding", "class_embedding"): v
             for k, v in start.items() if k.startswith("model.unet.")}
    unet.load_state_dict(named)
    prefix = "" if any(k.startswith("text_model.") for k in text.state_dict()) else "text_model."
    named = {k.removeprefix("model.text_encoder." + prefix): v for k, v in start.items() if k.startswith("model.text_encoder.")}
    missing, unexpected = text.load_state_dict(named, strict=False)
    assert not unexpected and all("position_ids" in name for name in missing), (missing, unexpected)
    parameters = [*unet.parameters(), *text.parameters()]
    adam = torch.optim.AdamW(parameters, lr=LR, weight_decay=DECAY)
    losses, norms = [], []
    for step in range(a.steps):
        batch = load_file(os.path.join(batches, f"batch-{step + 1:06}.safetensors"))
        for group in adam.param_groups:
            group["lr"] = LR * min(1.0, (step + 1) / (WARMUP + 1))
        adam.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            states = text(batch["ids"].long())
            v = unet(batch["x"], batch["level"], states.last_hidden_state, class_labels=states.pooler_output).sample
        loss = torch.nn.functional.mse_loss(v.float(), batch["target"])
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, CLIP).item())
        adam.step()
        losses.append(loss.item())
    return losses, norms


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--nijimi", required=True, help="our trainer")
    p.add_argument("--data", required=True, help="its captioned pictures")
    p.add_argument("--autoencoder", required=True, help="its first stage")
    p.add_argument("--steps", type=int, default=500)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--precision", choices=["f32", "bf16"], action="append")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    for precision in a.precision or ["f32", "bf16"]:
        with tempfile.TemporaryDirectory() as folder:
            start, batches, own, own_norms = ours(a, folder, precision)
            losses, norms = theirs(a, start, batches, precision == "bf16")
        apart = [abs(x / y - 1) for x, y in zip(own, losses)]
        mean = lambda values: sum(values) / len(values)
        tenth = max(1, a.steps // 10)
        parts = [slice(i, i + tenth) for i in range(0, a.steps, tenth)]
        print(json.dumps({
            "precision": precision, "steps": a.steps, "torch": torch.__version__,
            "first_loss": [own[0], losses[0]], "largest_difference_of_10": max(apart[:10]), "largest_difference": max(apart),
            "means_of_tenths": [[round(mean(own[p]), 5), round(mean(losses[p]), 5)] for p in parts],
            "largest_difference_of_means": max(abs(mean(own[p]) / mean(losses[p]) - 1) for p in parts),
            "norms_above_2": [sum(n > 2 for n in own_norms), sum(n > 2 for n in norms)],
            "largest_norm": [max(own_norms), max(norms)],
        }), flush=True)


if __name__ == "__main__":
    main()
