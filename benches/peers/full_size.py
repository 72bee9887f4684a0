"""Z-Image and FLUX.2-klein at full size without their weights: folders of holes, and random numbers in our file.

    python benches/peers/full_size.py folder z-image|flux2-klein FOLDER TOKENIZER
    nijimi convert FOLDER --type q4_k -o FILE.gguf
    python benches/peers/full_size.py fill FILE.gguf

A folder has the published sizes (diffusers and transformers make the shapes on no device), and `.safetensors` files of holes, which
take no room on a disk. `fill` puts random numbers into each tensor of a file of ours: weights of a spread that keeps a network's states
finite, scales of norms near 1. So memory and time can be measured, and no picture is worth looking at. TOKENIZER is a folder with
Qwen's vocabulary. Made with diffusers 0.42.1 and transformers 5.24.0.
"""
import json
import shutil
import struct
import sys
from pathlib import Path

QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "head_dim": 128, "hidden_act": "silu", "hidden_size": 2560,
    "intermediate_size": 9728, "max_position_embeddings": 40960, "model_type": "qwen3", "num_attention_heads": 32,
    "num_hidden_layers": 36, "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "rope_theta": 1000000, "tie_word_embeddings": True,
    "use_sliding_window": False, "vocab_size": 151936,
}
Z_IMAGE = {
    "all_f_patch_size": [1], "all_patch_size": [2], "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512], "cap_feat_dim": 2560,
    "dim": 3840, "in_channels": 16, "n_heads": 30, "n_kv_heads": 30, "n_layers": 30, "n_refiner_layers": 2, "norm_eps": 1e-5,
    "qk_norm": True, "rope_theta": 256.0, "t_scale": 1000.0,
}
FLUX2 = {
    "attention_head_dim": 128, "axes_dims_rope": [32, 32, 32, 32], "eps": 1e-6, "guidance_embeds": False, "in_channels": 128,
    "joint_attention_dim": 7680, "mlp_ratio": 3.0, "num_attention_heads": 24, "num_layers": 5, "num_single_layers": 20,
    "out_channels": None, "patch_size": 1, "rope_theta": 2000, "timestep_guidance_channels": 256,
}
VAE = {
    "act_fn": "silu", "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4, "force_upcast": True,
    "in_channels": 3, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3, "sample_size": 1024,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
VAES = {
    "z-image": {"latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_post_quant_conv": False, "use_quant_conv": False},
    "flux2-klein": {"latent_channels": 32, "batch_norm_eps": 1e-4, "patch_size": [2, 2]},
}
SCHEDULERS = {
    "z-image": {"num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": False},
    "flux2-klein": {
        "base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15, "num_train_timesteps": 1000,
        "shift": 3.0, "time_shift_type": "exponential", "use_dynamic_shifting": True,
    },
}
CLASSES = {
    "z-image": ("ZImagePipeline", "ZImageTransformer2DModel", "AutoencoderKL"),
    "flux2-klein": ("Flux2KleinPipeline", "Flux2Transformer2DModel", "AutoencoderKLFlux2"),
}


def holes(path, shapes):
    """A .safetensors file of f16 zeros, none of which is written."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)


def folder(kind, out, tokenizer):
    import diffusers
    import torch
    import transformers

    pipeline, transformer, vae = CLASSES[kind]
    configs = {
        "transformer": Z_IMAGE if kind == "z-image" else FLUX2,
        "vae": VAE | VAES[kind],
        "text_encoder": QWEN3,
    }
    with torch.device("meta"):
        networks = {
            "transformer": getattr(diffusers, transformer)(**configs["transformer"]),
            "vae": getattr(diffusers, vae)(**configs["vae"]),
            "text_encoder": transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**QWEN3)),
        }
    classes = {"transformer": transformer, "vae": vae}
    for part, network in networks.items():
        place = out / part
        place.mkdir(parents=True)
        named = {"_class_name": classes[part]} if part in classes else {}
        (place / "config.json").write_text(json.dumps(named | configs[part]))
        states = {name: tuple(value.shape) for name, value in network.state_dict().items() if not name.startswith("lm_head")}
        states = {name: shape for name, shape in states.items() if not name.endswith("num_batches_tracked")}
        name = "model" if part == "text_encoder" else "diffusion_pytorch_model"
        holes(place / f"{name}.safetensors", states)
    (out / "scheduler").mkdir()
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler"} | SCHEDULERS[kind]
    (out / "scheduler/scheduler_config.json").write_text(json.dumps(scheduler))
    shutil.copytree(tokenizer, out / "tokenizer")
    index = {
        "_class_name": pipeline, "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"], "text_encoder": ["transformers", "Qwen3Model"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"], "transformer": ["diffusers", transformer], "vae": ["diffusers", vae],
    }
    (out / "model_index.json").write_text(json.dumps(index))


def fill(path):
    import gguf
    import numpy as np

    rng = np.random.default_rng(0)
    kinds = gguf.GGMLQuantizationType
    reader = gguf.GGUFReader(path, "r+")
    for tensor in reader.tensors:
        data = tensor.data.reshape(-1).view(np.uint8)
        row = int(tensor.shape[0])
        taps = int(np.prod(tensor.shape[1:-1])) if len(tensor.shape) == 4 else 1
        spread = 1 / (row * taps) ** 0.5
        if tensor.tensor_type in (kinds.F32, kinds.F16):
            values = rng.standard_normal(int(tensor.n_elements), np.float32)
            vector = len(tensor.shape) == 1
            values = 1 + 0.1 * values if vector and tensor.name.endswith("weight") else values * (0.02 if vector else spread)
            data[:] = values.astype(np.float32 if tensor.tensor_type == kinds.F32 else np.float16).view(np.uint8)
            continue
        block, size = gguf.GGML_QUANT_SIZES[tensor.tensor_type]
        blocks = data.reshape(-1, size)
        # So that there is no second copy of a large one.
        for at in range(0, len(blocks), 1 << 18):
            some = blocks[at:at + (1 << 18)]
            some[:] = rng.integers(0, 256, some.shape, np.uint8)
            def scale(column, value):
                some[:, column:column + 2] = np.full((len(some), 1), value, np.float16).view(np.uint8)
            if tensor.tensor_type == kinds.Q8_0:
                scale(0, spread / 74)
            elif tensor.tensor_type == kinds.Q4_0:
                scale(0, spread / 4.6)
            elif tensor.tensor_type == kinds.Q4_K:
                # Scales and minima of six bits, which are half of their largest on average; codes are 7.5 on average.
                scale(0, spread / (4.6 * 32))
                scale(2, 7.5 * spread / (4.6 * 32))
            else:
                raise SystemExit(f"{tensor.name}: numbers of {tensor.tensor_type.name} are not made here")
    reader.data.flush()


def main():
    match sys.argv[1:]:
        case ["folder", kind, out, tokenizer] if kind in CLASSES:
            folder(kind, Path(out), tokenizer)
        case ["fill", path]:
            fill(path)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
