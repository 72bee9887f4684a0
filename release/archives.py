#!/usr/bin/env python3
"""Builds what others run, with checksums, into target/archives: archives.py [--profile NAME] [TARGET ... | wheel].

Without a target all of them: the program for Linux (with GPUs, and without a C library of its own to need) and, where mingw-w64's gcc is
to link it, for Windows, each in an archive with its licences and cards; and the Python package (`wheel`), which needs maturin: a wheel for this
kind of machine and any Python from 3.9 on. A program without a C library (musl) cannot load a Vulkan driver: it draws on the CPU.

What this machine runs is unpacked into an empty folder, and draws there. With --profile, as `--profile dev`, for a trial.
"""

import argparse
import hashlib
import os
import platform
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILT = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
TARGETS = ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "x86_64-pc-windows-gnu"]
BESIDE = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "weights/emoji-q8_0.md", "weights/digits-q8_0.md"]


def version():
    with open(os.path.join(ROOT, "Cargo.toml"), encoding="utf-8") as file:
        line = next(line for line in file if line.startswith("version = "))
    return line.split('"')[1]


def build(target, profile):
    """The program of a target."""
    command = ["cargo", "build", "--profile", profile, "--locked", "-p", "nijimi", "--target", target]
    subprocess.run(command, cwd=ROOT, check=True)
    name = "nijimi.exe" if "windows" in target else "nijimi"
    return os.path.join(BUILT, target, "debug" if profile == "dev" else profile, name)


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


def needs_a_loader(program):
    """Whether a program of Linux (ELF, 64 bits) loads libraries: one of its segments names their loader (PT_INTERP)."""
    with open(program, "rb") as file:
        data = file.read()
    (at,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    return any(struct.unpack_from("<I", data, at + i * size)[0] == 3 for i in range(count))


def draws(path, target):
    """Unpacks an archive of this kind of machine, and draws with it."""
    if not target.startswith(f"{platform.machine()}-unknown-{sys.platform}-"):
        return "not run: of another kind of machine"
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(path) as archive:
            archive.extractall(folder)
        program = os.path.join(folder, os.path.basename(path).removesuffix(".tar.gz"), "nijimi")
        if target.endswith("-musl") and needs_a_loader(program):
            sys.exit(f"{path}: the program needs a C library")
        return drawn([program, "7", "-m", "digits", "-s", "1", "--steps", "4", "--backend", "cpu", "-o", "seven.png"], folder)


def wheel(profile, folder):
    """The Python package."""
    ours = lambda: [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".whl")]
    for old in ours():
        os.remove(old)
    command = ["maturin", "build", "--profile", profile, "--locked", "--out", folder]
    subprocess.run(command, cwd=os.path.join(ROOT, "python"), check=True, env={**os.environ, "CARGO_TARGET_DIR": BUILT})
    (made,) = ours()
    return made


def imports(path):
    """Installs a wheel into an empty environment, and draws with it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = os.path.join(folder, "bin", "python")
        subprocess.run([python, "-m", "pip", "-q", "install", path], check=True)
        code = "import nijimi; open('seven.png', 'wb').write(nijimi.open('digits', device='cpu').draw('7', seed=1, steps=4).tobytes())"
        return drawn([python, "-c", code], folder)


def drawn(command, folder):
    """Runs what writes `seven.png`."""
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if os.path.getsize(os.path.join(folder, "seven.png")) == 0:
        sys.exit(f"{command[0]}: nothing is drawn")
    return "draws"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--profile", default="release")
    parser.add_argument("targets", nargs="*")
    args = parser.parse_args()
    folder = os.path.join(BUILT, "archives")
    os.makedirs(folder, exist_ok=True)
    made = []
    for target in args.targets or [*TARGETS, "wheel"]:
        if "windows" in target and not args.targets and not shutil.which("x86_64-w64-mingw32-gcc"):
            print(f"not built: {target}: no mingw-w64 (gcc-mingw-w64-x86-64) to link it")
            continue
        if target == "wheel":
            path = wheel(args.profile, folder)
            made.append((path, imports(path)))
        else:
            path = pack(build(target, args.profile), target, folder)
            made.append((path, draws(path, target)))
    with open(os.path.join(folder, "SHA256SUMS"), "w", encoding="utf-8") as sums:
        for path, said in made:
            with open(path, "rb") as file:
                line = f"{hashlib.sha256(file.read()).hexdigest()}  {os.path.basename(path)}"
            print(f"{line}  {os.path.getsize(path) / 1e6:.1f} MB, {said}")
            print(line, file=sums)


main()
