"""The package, on the weights within it."""

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nijimi

HERE = Path(__file__).parent
WEIGHTS = HERE.parent.parent / "weights"


@pytest.fixture(scope="module")
def emoji():
    return nijimi.open("emoji", device="cpu")


@pytest.fixture(scope="module")
def digits():
    return nijimi.open("digits", device="cpu")


def test_what_a_model_is(emoji, digits):
    assert (emoji.kind, emoji.size, emoji.device, emoji.labels) == ("latent-diffusion", (64, 64), "CPU", [])
    assert (digits.kind, digits.size, digits.multiple) == ("ddpm", (28, 28), 0)
    assert digits.labels == [str(i) for i in range(10)] and "Model" in repr(digits)
    assert nijimi.__version__


# Seen red: the seed not passed on; gray left alone; the batch's first picture taken for all.
def test_a_picture_alone_and_in_a_batch(digits):
    picture = digits.draw("7", seed=1, steps=4)
    assert picture.shape == (28, 28, 3) and picture.dtype == np.uint8
    assert (picture[:, :, 0] == picture[:, :, 2]).all() and picture.std() > 10
    two = digits.draw("7", seed=0, steps=4, batch=2)
    assert two.shape == (2, 28, 28, 3) and (two[1] == picture).all() and (two[0] != picture).any()
    assert digits.draw("7", seed=0, steps=4, batch=1).shape == (1, 28, 28, 3)
    assert (digits.draw("7", seed=1, steps=4, threads=1) == picture).all()


# Seen red: a preview that is the picture; a run that closing does not close; a seed that is always the same.
def test_step_by_step(digits):
    run = digits.steps("7", seed=1, steps=4)
    previews = []
    for step in run:
        assert step.total == 4 and step.index == len(previews)
        previews.append(step.preview())
    picture = run.picture()
    assert len(previews) == 4 and (picture == digits.draw("7", seed=1, steps=4)).all()
    assert (previews[0] != picture).any() and np.abs(previews[3].astype(int) - picture).mean() < 8
    left = digits.steps("7", steps=4)
    next(left)
    left.close()
    with pytest.raises(nijimi.UsageError, match="closed"):
        next(left)
    assert left.seed != digits.steps("7", steps=1).seed


# Seen red: bytes read as a path.
def test_models_by_path_and_from_memory(digits):
    path = WEIGHTS / "digits-q8_0.gguf"
    for source in [path, str(path), path.read_bytes()]:
        model = nijimi.open(source, device="cpu")
        assert (model.draw("3", seed=2, steps=2) == digits.draw("3", seed=2, steps=2)).all()
    vae = nijimi.open(WEIGHTS / "digits-vae-f16.gguf", device="cpu")
    assert vae.draw(seed=1).shape == (28, 28, 3) and list(vae.steps(seed=1)) == []


# Seen red: the negative prompt, the solver and the scheduler not passed on.
def test_prompts(emoji):
    asked = {"seed": 1, "steps": 3, "solver": "euler", "guidance_scale": 3}
    plain = emoji.draw("a red apple", **asked)
    assert plain.shape == (64, 64, 3)
    wide = emoji.draw("a red apple", seed=1, steps=2, width=96, height=32)
    assert wide.shape == (32, 96, 3)
    for other in [
        {"negative_prompt": "red"}, {"guidance_scale": 5}, {"solver": "euler_a"}, {"scheduler": "karras"}, {"steps": 2},
    ]:
        assert (emoji.draw("a red apple", **{**asked, **other}) != plain).any(), other


def lora(path):
    """One pair of factors, for a layer of 128 by 128."""
    layer = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    names = [f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"]
    header = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [512 * i, 512 * (i + 1)]}
        for i, (name, shape) in enumerate(zip(names, [[1, 128], [128, 1]]))
    }
    text = json.dumps(header).encode()
    values = np.where(np.arange(256) % 3 == 0, 0.5, -0.25).astype("<f4")
    path.write_bytes(len(text).to_bytes(8, "little") + text + values.tobytes())


# Seen red: every strength taken for 1.
def test_loras(emoji, tmp_path):
    path = tmp_path / "style.safetensors"
    lora(path)
    options = {"seed": 1, "steps": 1}
    drawn = [nijimi.open("emoji", "cpu", loras=[each]).draw("a cat", **options) for each in [path, (path, 1), (path, 0.5)]]
    assert (drawn[0] == drawn[1]).all() and (drawn[1] != drawn[2]).any()
    assert (drawn[0] != emoji.draw("a cat", **options)).any()
    with pytest.raises(nijimi.FileError, match="no place for"):
        nijimi.open("digits", loras=[path])


# Seen red: the word not passed on; the embeddings left out.
def test_embeddings(emoji, tmp_path):
    path = tmp_path / "toy.safetensors"
    header = {"emb_params": {"dtype": "F32", "shape": [2, 192], "data_offsets": [0, 1536]}}
    text = json.dumps(header).encode()
    values = np.where(np.arange(384) % 3 == 0, 0.5, -0.25).astype("<f4")
    path.write_bytes(len(text).to_bytes(8, "little") + text + values.tobytes())
    options = {"seed": 1, "steps": 1}
    by_name = nijimi.open("emoji", "cpu", embeddings=[path])
    by_word = nijimi.open("emoji", "cpu", embeddings=[(path, "<mine>")])
    drawn = by_name.draw("a Toy", **options)
    assert (drawn == by_word.draw("a <mine>", **options)).all()
    assert (drawn != emoji.draw("a Toy", **options)).any()
    assert (emoji.draw("a cat", **options) == by_word.draw("a cat", **options)).all()
    with pytest.raises(nijimi.FileError, match="cannot be an embedding"):
        nijimi.open("digits", embeddings=[path])


# Seen red: the mask the other way round; the strength not passed on; bytes divided by 256; the sides exchanged.
def test_a_picture_is_repainted_in_part(emoji):
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :, 1] = 200
    mask = np.zeros((64, 64), bool)
    mask[:32] = True
    options = {"seed": 1, "steps": 4, "strength": 0.5}
    painted = emoji.draw("a red apple", init_image=picture, mask=mask, **options)
    away = np.abs(painted.astype(int) - picture).mean(axis=(1, 2))
    assert away[:28].mean() > away[36:].mean() + 5
    same = emoji.draw("a red apple", init_image=Image.fromarray(picture), mask=mask.astype(np.uint8) * 255, **options)
    assert (same == painted).all()
    floats = emoji.draw("a red apple", init_image=picture / np.float32(255), mask=mask.astype(float), **options)
    assert (floats == painted).all()
    assert (emoji.draw("a red apple", init_image=picture, mask=mask, **{**options, "strength": 0.75}) != painted).any()
    small = emoji.draw("a red apple", init_image=picture[:32], strength=0.5, steps=2)
    assert small.shape == (32, 64, 3)


# Seen red: the second pass's steps not passed on; its sides exchanged; its upscaler not passed on; each number of guidance left out.
def test_a_second_pass_and_guidance(emoji):
    options = {"seed": 1, "steps": 2, "guidance_scale": 3.0}
    large = emoji.draw("a red apple", hires=1.5, hires_upscaler="lanczos", **options)
    assert large.shape == (96, 96, 3)
    assert (emoji.draw("a red apple", hires=(96, 96), hires_upscaler="lanczos", **options) == large).all()
    assert (emoji.draw("a red apple", hires=1.5, **options) != large).any()
    run = emoji.steps("a red apple", hires=(96, 64), hires_strength=0.6, hires_steps=3, **options)
    steps = list(run)
    assert run.picture().shape == (64, 96, 3)
    assert [(step.index, step.total) for step in steps] == [(i, 5) for i in range(5)]
    plain = emoji.draw("a red apple", **options)
    for more in (
        {"clip_skip": 2}, {"guidance_rescale": 0.7}, {"guidance_normalization": 0.9}, {"guidance_truncation": 0.4}
    ):
        assert (emoji.draw("a red apple", **more, **options) != plain).any(), more


# Seen red: the ranges of numbers and of the seed, and the shape, not looked at.
@pytest.mark.parametrize(
    "error, says, call",
    [
        (nijimi.UsageError, "steps", lambda m: m.draw("7", steps=5000)),
        (nijimi.UsageError, 'solver "eulr" is not known: there are ddpm', lambda m: m.draw("7", solver="eulr")),
        (nijimi.UsageError, "batch is 0", lambda m: m.draw("7", batch=0)),
        (nijimi.UsageError, "seed is -1", lambda m: m.draw("7", seed=-1)),
        (nijimi.UsageError, "width is 64, must be 28", lambda m: m.draw("7", width=64)),
        (nijimi.UsageError, "negative_prompt is for models", lambda m: m.draw("7", negative_prompt="x")),
        (nijimi.UsageError, "the shape", lambda m: m.draw("7", init_image=np.zeros((2, 2, 4), np.uint8))),
        (nijimi.UsageError, "int64", lambda m: m.draw("7", mask=np.zeros((2, 2), np.int64))),
        (nijimi.UsageError, "outside", lambda m: m.draw("7", mask=np.full((2, 2), 2.0))),
        (nijimi.UsageError, "clip_skip is for models that read", lambda m: m.draw("7", clip_skip=2)),
        (nijimi.UsageError, "hires is for models that read prompts", lambda m: m.draw("7", hires=2.0)),
        (nijimi.UsageError, "hires_steps needs hires", lambda m: m.draw("7", hires_steps=2)),
        (nijimi.UsageError, 'hires_upscaler "magic"', lambda m: m.draw("7", hires=2.0, hires_upscaler="magic")),
        (nijimi.UsageError, "depth is for models that read", lambda m: m.draw("7", depth=np.zeros((2, 2)))),
        (nijimi.UsageError, "a reference picture is for", lambda m: m.draw("7", references=[np.zeros((2, 2, 3))])),
        (nijimi.FileError, 'no label "seven"', lambda m: m.draw("seven")),
        (TypeError, "stepz", lambda m: m.steps("7", stepz=3)),
        (nijimi.FileError, "no-such-file.gguf", lambda m: nijimi.open("no-such-file.gguf")),
        (nijimi.FileError, "draws no pictures", lambda m: nijimi.open(WEIGHTS / "heights.gguf", device="cpu")),
        (nijimi.FileError, "4 bytes", lambda m: nijimi.open(b"GGUF")),
        (nijimi.UsageError, 'device "tpu"', lambda m: nijimi.open("digits", device="tpu")),
        (nijimi.UsageError, 'weight_type "q3"', lambda m: nijimi.open("digits", weight_type="q3")),
        (nijimi.FileError, "no-such-lora", lambda m: nijimi.open("emoji", loras=["no-such-lora.safetensors"])),
    ],
)
def test_errors(digits, error, says, call):
    with pytest.raises(error, match=re.escape(says)):
        call(digits)


def test_classes_of_errors():
    assert issubclass(nijimi.UsageError, ValueError) and issubclass(nijimi.UsageError, nijimi.Error)
    assert issubclass(nijimi.FileError, nijimi.Error) and issubclass(nijimi.DeviceError, nijimi.Error)


# Seen red: weights and peak exchanged.
def test_a_plan(digits, emoji):
    plan = digits.plan("7", steps=3)
    assert plan.steps == 3 and plan.evaluations == 3 and plan.peak_bytes > plan.weight_bytes > 1 << 20
    small, large = emoji.plan("x"), emoji.plan("x", width=512, height=512)
    assert large.peak_bytes > small.peak_bytes > small.weight_bytes > 20 << 20
    assert isinstance(nijimi.devices(), list)


# Seen red with the lock held.
def test_others_go_on_while_it_draws(emoji):
    expected = emoji.draw("a cat", seed=1, steps=8)
    drawn = []
    threads = [threading.Thread(target=lambda: drawn.append(emoji.draw("a cat", seed=1, steps=8))) for _ in range(2)]
    ticks = 0
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        ticks += 1
        time.sleep(0.001)
    assert len(drawn) == 2 and all((picture == expected).all() for picture in drawn)
    assert ticks > 30


# Seen red: another seed in the README.
def test_the_readmes_program(tmp_path, emoji):
    readme = (HERE.parent / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", readme, re.S).group(1)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    picture = np.asarray(Image.open(tmp_path / "apple.png"))
    if nijimi.open("emoji").device == "CPU":
        assert (picture == emoji.draw("a red apple", seed=1)).all()
