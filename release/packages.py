#!/usr/bin/env python3
"""Makes the packages that are published, and looks at each: packages.py [--verify | --publish].

The emoji model is larger than crates.io lets a package be, so three packages carry a third of it each; they are filled here, and
emptied again. With --verify, every package is built from what is in it alone; --publish publishes them. They lie in target/package.
"""

import os
import subprocess
import sys
import tarfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PARTS = [os.path.join(ROOT, "weights", f"emoji-{i}", "part.bin") for i in (1, 2, 3)]
# crates.io's limit.
LIMIT = 10 * 1024 * 1024


def fill():
    with open(os.path.join(ROOT, "weights", "emoji-q8_0.gguf"), "rb") as file:
        whole = file.read()
    third = -(-len(whole) // len(PARTS))
    for i, path in enumerate(PARTS):
        with open(path, "wb") as file:
            file.write(whole[i * third : (i + 1) * third])


def empty():
    for path in PARTS:
        open(path, "wb").close()


def look(path):
    """What is wrong with a package."""
    with tarfile.open(path) as package:
        names = {name.split("/", 1)[1] for name in package.getnames()}
    size = os.path.getsize(path)
    print(f"{os.path.basename(path)}: {size / 1e6:.2f} MB, {len(names)} files")
    if size > LIMIT:
        yield f"{size} bytes, more than {LIMIT}"
    for wanted in ("LICENSE-MIT", "LICENSE-APACHE"):
        if wanted not in names:
            yield f"no {wanted}"
    if not path.rsplit("/", 1)[1].startswith("nijimi-weights-emoji-") and "README.md" not in names:
        yield "no README.md"


def cargo(verb, *how):
    # The filled parts are what is not committed.
    subprocess.run(["cargo", verb, "--workspace", "--locked", "--allow-dirty", *how], cwd=ROOT, check=True)


def main():
    asked = sys.argv[1:]
    folder = os.path.join(ROOT, "target", "package")
    try:
        fill()
        cargo("package", *([] if "--verify" in asked else ["--no-verify"]))
        packages = sorted(name for name in os.listdir(folder) if name.endswith(".crate"))
        wrong = [f"{name}: {what}" for name in packages for what in look(os.path.join(folder, name))]
        if wrong:
            sys.exit("\n".join(wrong))
        print(f"{len(packages)} packages")
        if "--publish" in asked:
            cargo("publish")
    finally:
        empty()


main()
