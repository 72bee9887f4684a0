"""Sampling 20 pictures without guidance: the program `nijimi` with f32, f16, q8_0 and q4_0 weights, and PyTorch in f32.

    python benches/peers/compare.py [--steps 50] [--rounds 3] [--threads 2]

Builds the program, writes models of random weights to a temporary folder, and runs all contenders one after the other,
as often as there are rounds, so that all see the same machine. Each is a process of its own. A step's seconds are the
mean of one process; of the rounds the best counts (least wall, least CPU). Ours: CPU seconds and memory are the whole
process's, loading and writing a PNG included; PyTorch's CPU seconds are those of its steps alone.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TYPES = ("f32", "f16", "q8_0", "q4_0")
VARIANTS = ("plain", "folded", "channels-last")


def run(command, folder):
    """Runs it; its two outputs as text, and what it used."""
    with open(folder / "out", "w+") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if child.returncode:
        sys.exit(f"{command} failed:\n{text}")
    return text, usage


def ours(a, folder, kind, method):
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    prompt = " ".join(str(label) for label in range(10))
    command = [target / "release/nijimi", prompt, "-b", "2", "-m", folder / f"{kind}.gguf", "-s", "1",
               "--cfg-scale", "1", "--sampling-method", method, "--steps", a.steps, "-t", a.threads, "-o", "out.png", "-v"]
    text, usage = run([str(word) for word in command], folder)
    wall = float(re.search(r"([\d.]+) ms a step of 20 pictures", text)[1]) / 1000
    return wall, (usage.ru_utime + usage.ru_stime) / a.steps, usage.ru_maxrss // 1024


def torch(a, folder, variant, method):
    command = [sys.executable, HERE / "sample_torch.py", "--variant", variant, "--method", method,
               "--steps", a.steps, "--threads", a.threads]
    text, _ = run([str(word) for word in command], folder)
    said = json.loads(text.splitlines()[-1])
    return said["mean_s"], said["mean_cpu_s"], said["peak_rss_mb"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--steps", type=int, default=50, help="a divisor of 1000")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    subprocess.run(["cargo", "build", "--release", "--bin", "nijimi"], cwd=ROOT, check=True)
    contenders = [(f"nijimi {kind}", ours, kind) for kind in TYPES]
    contenders += [(f"PyTorch f32, {variant}", torch, variant) for variant in VARIANTS]
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write = ["cargo", "run", "--release", "--example", "random_model", "--", name]
        subprocess.run(write, cwd=ROOT, check=True)
        for _ in range(a.rounds):
            for method in ("ddim", "ddpm"):
                for name, contender, what in contenders:
                    found.setdefault((name, method), []).append(contender(a, folder, what, method))

    def best(name, method):
        return [min(column) for column in zip(*found[name, method])]

    print(f"\n20 pictures, {a.threads} threads, {a.steps} steps, best of {a.rounds} rounds. The last two "
          "columns are so many times a step. Ratios are against the least of PyTorch in the same column.\n")
    peers = [name for name, contender, _ in contenders if contender is torch]
    wall, cpu = (min(best(name, "ddim")[i] for name in peers) for i in (0, 1))
    print("| | ms a step | ratio | CPU ms a step | ratio | peak MB | 50 DDIM s | 1000 DDPM s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, _, _ in contenders:
        (w, c, memory), ddpm = best(name, "ddim"), best(name, "ddpm")[0]
        print(f"| {name} | {w * 1e3:.1f} | {wall / w:.2f} | {c * 1e3:.1f} | {cpu / c:.2f} | {memory} | {w * 50:.2f} "
              f"| {ddpm * 1000:.1f} |")


if __name__ == "__main__":
    main()
