"""Pictures from small diffusion models, on the CPU or a GPU.

    import nijimi
    from PIL import Image

    model = nijimi.open("emoji")
    Image.fromarray(model.draw("a red apple", seed=1)).save("apple.png")

Pictures are NumPy arrays of bytes, ``(height, width, 3)``. Step by step, to show them as they form, or to stop:

    run = model.steps("a red apple", seed=1)
    for step in run:
        print(step.index + 1, "of", step.total)
        show(step.preview())
    picture = run.picture()

All of it works without Python's lock: other threads go on, and may draw with the same model.
"""

from __future__ import annotations

import secrets
from os import PathLike
from typing import Any, Iterator, NamedTuple, Optional, Sequence, Union

import numpy as np
from numpy.typing import NDArray

from . import _native
from .errors import DeviceError, Error, FileError, UsageError

__version__ = _native.VERSION
__all__ = [
    "Device", "DeviceError", "Error", "FileError", "Model", "Plan", "Run", "Step", "UsageError", "devices", "open",
]

Path = Union[str, "PathLike[str]"]
Lora = Union[Path, "tuple[Path, float]"]
Embedding = Union[Path, "tuple[Path, str]"]
Pixels = NDArray[np.uint8]


def open(
    model: Union[Path, bytes],
    device: str = "auto",
    loras: Sequence[Lora] = (),
    weight_type: str = "f16",
    cache: Optional[Path] = None,
    embeddings: Sequence[Embedding] = (),
) -> Model:
    """Opens a model: ``"emoji"`` (it reads prompts) or ``"digits"`` (labels 0 to 9), which are part of the package; a weight file
    (``.gguf``), or its bytes; a published model, as a folder of diffusers or one ``.safetensors`` file, which is converted to
    ``weight_type`` ("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q4_k" or "q4_0") on the way.

    ``device`` is "auto" (a real GPU if one works, else the CPU), "cpu", "gpu", or "gpu:0" and so on, as :func:`devices` counts them.
    ``loras`` are ``.safetensors`` files, each alone or with its strength. ``embeddings`` are textual inversions
    (``.safetensors``), each alone or with the word that stands for it in prompts, else the file's own or its name. ``cache`` is a folder for a GPU's compiled shaders.

    Raises :class:`FileError`, :class:`DeviceError` and :class:`UsageError`.
    """
    given = [lora if isinstance(lora, tuple) else (lora, 1.0) for lora in loras]
    words = [each if isinstance(each, tuple) else (each, None) for each in embeddings]
    return Model(_native.open(model, device, given, words, weight_type, cache))


class Plan(NamedTuple):
    """What a run would take."""

    weight_bytes: int
    """Of the model."""
    peak_bytes: int
    """The most at once, weights included."""
    steps: int
    evaluations: int
    """Of the network: some solvers make several in a step."""


class Device(NamedTuple):
    """A GPU."""

    name: str
    kind: str
    """discrete, integrated, virtual, cpu or other"""
    api: str
    """vulkan, metal or dx12"""
    driver: str
    software: bool
    """It runs shaders on the CPU: slower than nijimi's own kernels, and never chosen by "auto"."""


def devices() -> list[Device]:
    """The GPUs that there are."""
    return [Device(*found) for found in _native.devices()]


class Step(NamedTuple):
    """A step that was made."""

    index: int
    """From 0."""
    total: int
    timestep: float
    """The noise level, as the network knows it."""
    run: Run

    def preview(self) -> Pixels:
        """What the picture will be, as the run's last step guesses; shape as of :meth:`Run.picture`."""
        return self.run.preview()


class Run:
    """Pictures in the making: an iterator of steps. It can be left at any step."""

    def __init__(self, made: _native.Run, seed: int, alone: bool) -> None:
        self._made, self._alone = made, alone
        self.seed = seed
        """Of the first picture; the next ones have the next numbers."""

    def __iter__(self) -> Iterator[Step]:
        return self

    def __next__(self) -> Step:
        step = self._made.step()
        if step is None:
            raise StopIteration
        return Step(*step, run=self)

    def preview(self) -> Pixels:
        """What the picture will be, as the last step guesses; shape as of :meth:`picture`."""
        return self._array(self._made.preview())

    def picture(self) -> Pixels:
        """The picture, after the steps that are left: ``(height, width, 3)``, or ``(batch, height, width, 3)`` where a batch
        was asked for."""
        return self._array(self._made.pictures())

    def close(self) -> None:
        """Gives the run's memory back at once."""
        self._made.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _array(self, pixels: bytearray) -> Pixels:
        array = np.frombuffer(pixels, np.uint8).reshape(self._made.shape)
        if array.shape[3] == 1:
            array = np.repeat(array, 3, axis=3)
        return array[0] if self._alone else array


class Model:
    """A model in memory, from :func:`open`. Any number of threads may use it at once."""

    def __init__(self, native: _native.Model) -> None:
        self._native = native

    @property
    def kind(self) -> str:
        """"latent-diffusion" reads prompts, "ddpm" takes labels, "vae" and "hvae" draw without steps."""
        return self._native.kind

    @property
    def name(self) -> str:
        """As its file says, or empty."""
        return self._native.name

    @property
    def license(self) -> str:
        """Of the weights, as its file says, or empty."""
        return self._native.license

    @property
    def device(self) -> str:
        """The GPU's name, or "CPU"."""
        return self._native.device

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its pictures, if nothing else is asked."""
        return self._native.size

    @property
    def multiple(self) -> int:
        """Of which width and height must be multiples; 0 if they cannot be chosen."""
        return self._native.multiple

    @property
    def labels(self) -> list[str]:
        """What a prompt can be, of a model of labels."""
        return self._native.labels

    def __repr__(self) -> str:
        return f"<nijimi.Model {self.name!r} ({self.kind}) on {self.device}>"

    def draw(
        self,
        prompt: str = "",
        *,
        seed: Optional[int] = None,
        batch: Optional[int] = None,
        negative_prompt: Optional[str] = None,
        width: Optional[int] = None,
        height: Optional[int] = None,
        steps: Optional[int] = None,
        guidance_scale: Optional[float] = None,
        image_guidance_scale: Optional[float] = None,
        solver: Optional[str] = None,
        scheduler: Optional[str] = None,
        init_image: Any = None,
        strength: Optional[float] = None,
        mask: Any = None,
        clip_skip: int = 0,
        guidance_rescale: float = 0.0,
        guidance_normalization: Optional[float] = None,
        guidance_truncation: Optional[float] = None,
        hires: Union[float, tuple[int, int], None] = None,
        hires_strength: Optional[float] = None,
        hires_steps: Optional[int] = None,
        hires_upscaler: Optional[str] = None,
        depth: Any = None,
        references: Sequence[Any] = (),
        threads: int = 0,
        memory_limit: Optional[int] = None,
    ) -> Pixels:
        """Draws a picture: ``(height, width, 3)`` bytes; with a ``batch``, that many with the seeds ``seed``, ``seed + 1`` and
        so on: ``(batch, height, width, 3)``. The same seed gives the same picture, in a batch or alone.

        What is not said is as it suits the model. ``prompt`` is words, or the name of a label, or empty for any picture. Without a
        ``seed``, one is drawn. ``guidance_scale`` is the strength of classifier-free guidance, 1 for none, and
        ``image_guidance_scale`` how strongly a model that changes a picture by instruction keeps to it. ``solver`` ("ddim",
        "euler_a", "dpm++2m" and so on) and ``scheduler`` ("karras" and so on) are the program's names, which an unknown one lists.
        ``init_image`` is a picture to start from (an array of bytes, or of numbers in [0, 1]; or PIL's), of which ``strength``, 0 to 1,
        is replaced; where ``mask`` is white, or 1, or true, it is repainted, and elsewhere it is kept.

        ``hires`` draws over the picture once more at another size, ``(width, height)`` or so many times the first: ``hires_strength``
        (0.5) of it is replaced, in ``hires_steps`` (as many as before), after it was enlarged as ``hires_upscaler`` says, "latent" (the
        default) or "lanczos". ``depth`` is a picture of how near everything is, white near, of models that are led by it;
        ``references`` are pictures that FLUX.2 looks at, of sides that are multiples of :attr:`multiple`. ``clip_skip`` leaves out
        layers of the text encoders: 2 the last, 0 as trained. ``guidance_rescale``, 0 to 1, takes contrast of strong guidance back;
        ``guidance_normalization`` is the most that it may lengthen an answer, 1 for instance, and ``guidance_truncation``, 0 to 1, the
        share of the picture from which on there is none (of Z-Image). ``threads`` 0 is one a core;
        ``memory_limit`` is the bytes that a network may take while it works, weights not counted.

        Raises :class:`UsageError`, :class:`FileError` and :class:`DeviceError`.
        """
        asked = _given(locals())
        with self.steps(**asked) as run:
            return run.picture()

    def steps(self, prompt: str = "", **options: Any) -> Run:
        """Begins to draw, with the options of :meth:`draw`, and returns the run: an iterator of its steps."""
        asked = _asked(options, self.size)
        return Run(self._native.begin(prompt, asked), asked["seed"], options.get("batch") is None)

    def plan(self, prompt: str = "", **options: Any) -> Plan:
        """What :meth:`draw` with these options would take; nothing is drawn."""
        return Plan(*self._native.plan(prompt, _asked(options, self.size)))


_OPTIONS: dict[str, Any] = dict.fromkeys([
    "negative_prompt", "width", "height", "steps", "guidance_scale", "image_guidance_scale", "solver", "scheduler", "init_image",
    "strength", "mask", "memory_limit", "guidance_normalization", "guidance_truncation", "hires", "hires_strength", "hires_steps",
    "hires_upscaler", "depth",
])  # fmt: skip


def _given(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if name != "self" and value is not None}


def _asked(options: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """The options, as the native part takes them."""
    numbers = {"batch": 1, "threads": 0, "clip_skip": 0, "guidance_rescale": 0.0, "references": ()}
    unknown = options.keys() - _OPTIONS.keys() - numbers.keys() - {"seed"}
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    asked = {**_OPTIONS, **numbers, "seed": None, **_given(options)}
    if asked["seed"] is None:
        asked["seed"] = secrets.randbits(32)
    if not 0 <= asked["seed"] < 1 << 64:
        raise UsageError(f"seed is {asked['seed']}, must be 0 to 2**64 - 1")
    if asked["init_image"] is not None:
        image = _floats("init_image", asked["init_image"], "RGB", 3)
        if asked["width"] is None and asked["height"] is None:
            asked["height"], asked["width"] = image.shape[-3:-1]
        asked["init_image"] = image.tobytes()
    if asked["mask"] is not None:
        asked["mask"] = _floats("mask", asked["mask"], "L", 2).tobytes()
    if asked["depth"] is not None:
        asked["depth"] = _sized("depth", asked["depth"], "L", 2)
    asked["references"] = [_sized("references", image, "RGB", 3) for image in asked["references"]]
    asked["hires"] = _hires(asked, (asked["width"] or size[0], asked["height"] or size[1]))
    return asked


def _hires(asked: dict[str, Any], first: tuple[int, int]) -> Optional[tuple[int, int, float, Optional[int], str]]:
    """The second pass: width, height, strength, steps and upscaler, which are taken from the options."""
    hires = asked["hires"]
    strength, steps, upscaler = (asked.pop(f"hires_{name}") for name in ("strength", "steps", "upscaler"))
    if hires is None:
        for name, value in ("strength", strength), ("steps", steps), ("upscaler", upscaler):
            if value is not None:
                raise UsageError(f"hires_{name} needs hires")
        return None
    width, height = hires if isinstance(hires, tuple) else (round(side * hires) for side in first)
    return width, height, 0.5 if strength is None else strength, steps, upscaler or "latent"


def _sized(what: str, image: Any, mode: str, dims: int) -> tuple[bytes, int, int]:
    """One picture's values in [0, 1], its height and its width."""
    array = _floats(what, image, mode, dims)
    if array.ndim != dims:
        raise UsageError(f"{what} has the shape {array.shape}: one picture is read")
    return array.tobytes(), array.shape[0], array.shape[1]


def _floats(what: str, image: Any, mode: str, dims: int) -> NDArray[np.float32]:
    """A picture's values in [0, 1]."""
    if hasattr(image, "convert"):
        image = image.convert(mode)
    array = np.asarray(image)
    if array.dtype == np.uint8:
        array = array.astype(np.float32) / np.float32(255)
    elif array.dtype == np.bool_ or np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
    else:
        raise UsageError(f"{what} has numbers of type {array.dtype}: uint8, or numbers in [0, 1], are read")
    if dims == 3 and array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    shape = "(height, width, 3)" if dims == 3 else "(height, width)"
    if array.ndim not in (dims, dims + 1) or (dims == 3 and array.shape[-1] != 3):
        raise UsageError(f"{what} has the shape {array.shape}, must be {shape}, alone or of each picture")
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise UsageError(f"{what} has numbers outside of [0, 1]")
    return np.ascontiguousarray(array, dtype="<f4")
