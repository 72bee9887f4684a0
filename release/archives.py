#!/usr/bin/env python3
"""Builds the programs for others to run, and packs them: archives.py [TARGET ...], into target/archives, with their checksums.

Without targets: Linux (with GPUs, and without a C library of its own to need), and Windows, which needs mingw-w64's gcc. A program
without a C library (musl) cannot load a Vulkan driver: it draws on the CPU.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGETS = ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "x86_64-pc-windows-gnu"]
BESIDE = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "weights/emoji-q8_0.md", "weights/digits-q8_0.md"]


def version():
    with open(os.path.join(ROOT, "Cargo.toml"), encoding="utf-8") as file:
        line = next(line for line in file if line.startswith("version = "))
    return line.split('"')[1]


def build(target):
    """The program of a target."""
    command = ["cargo", "build", "--release", "--locked", "-p", "nijimi", "--target", target]
    subprocess.run(command, cwd=ROOT, check=True)
    name = "nijimi.exe" if "windows" in target else "nijimi"
    return os.path.join(ROOT, "target", target, "release", name)


def pack(program, target, folder):
    """An archive with all of it in a folder of its own."""
    name = f"nijimi-{version()}-{target}"
    files = [program] + [os.path.join(ROOT, path) for path in BESIDE]
    if "windows" in target:
        path = os.path.join(folder, name + ".zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, f"{name}/{os.path.basename(file)}")
    else:
        path = os.path.join(folder, name + ".tar.gz")
        with tarfile.open(path, "w:gz") as archive:
            for file in files:
                archive.add(file, f"{name}/{os.path.basename(file)}")
    return path


def main():
    folder = os.path.join(ROOT, "target", "archives")
    os.makedirs(folder, exist_ok=True)
    paths = [pack(build(target), target, folder) for target in sys.argv[1:] or TARGETS]
    with open(os.path.join(folder, "SHA256SUMS"), "w", encoding="utf-8") as sums:
        for path in paths:
            with open(path, "rb") as file:
                line = f"{hashlib.sha256(file.read()).hexdigest()}  {os.path.basename(path)}"
            print(f"{line}  {os.path.getsize(path) / 1e6:.1f} MB")
            print(line, file=sums)


main()
