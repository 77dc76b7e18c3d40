"""Whether exported adapters do in other programs what they do here.

Needs diffusers, peft, transformers, safetensors and a built program; takes about a minute:

    python .ci/adapters.py [PROGRAM]

Adapters of every kind are made up on the miniature model in the names of the trainers that write them, exported in
every form, and loaded by diffusers and peft themselves and by ComfyUI's and kohya's rules in numpy. What each adds to
the weights is compared with the adapters' formulas in f64.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import diffusers
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from peft import LoraConfig, get_peft_model
from peft.utils import set_peft_model_state_dict
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "target/release/sargent"
LIMIT = 1e-6
SWAPPED = ("norm_out.linear", "transformer_blocks.3.norm1_context.linear")
diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()
random = np.random.default_rng(7)
failures = []

# diffusers' layers and the rows that they are of the single-file layout's weights, from the published conversion script.
IN_BLOCK = {
    "attn.to_q": ("x_block.attn.qkv", 0), "attn.to_k": ("x_block.attn.qkv", 1), "attn.to_v": ("x_block.attn.qkv", 2),
    "attn.add_q_proj": ("context_block.attn.qkv", 0), "attn.add_k_proj": ("context_block.attn.qkv", 1),
    "attn.add_v_proj": ("context_block.attn.qkv", 2), "attn.to_out.0": ("x_block.attn.proj", None),
    "attn.to_add_out": ("context_block.attn.proj", None), "ff.net.0.proj": ("x_block.mlp.fc1", None),
    "ff.net.2": ("x_block.mlp.fc2", None), "ff_context.net.0.proj": ("context_block.mlp.fc1", None),
    "ff_context.net.2": ("context_block.mlp.fc2", None), "norm1.linear": ("x_block.adaLN_modulation.1", None),
    "norm1_context.linear": ("context_block.adaLN_modulation.1", None),
}
OUTSIDE = {"norm_out.linear": "final_layer.adaLN_modulation.1", "proj_out": "final_layer.linear"}


def original(path):
    """The single-file weight of a diffusers layer, and which third of its rows it is."""
    if path in OUTSIDE:
        return OUTSIDE[path], None
    _, block, layer = path.split(".", 2)
    weight, part = IN_BLOCK[layer]
    return f"joint_blocks.{block}.{weight}", part


def swapped(rows):
    return np.roll(rows, len(rows) // 2, axis=0)


def values(*shape):
    return torch.from_numpy(random.standard_normal(shape).astype(np.float32) * 0.2)


def f64(tensor):
    return tensor.double().numpy()


# --- adapters: {path: (delta in f64, tensors under LyCORIS' names, scale)} ---------------------------------------


def lora(shapes, ranks=(4,), scales=(0.5,)):
    adapter = {}
    for i, (path, (outputs, inputs)) in enumerate(shapes.items()):
        rank, scale = ranks[i % len(ranks)], scales[i % len(scales)]
        a, b = values(rank, inputs), values(outputs, rank)
        adapter[path] = (scale * f64(b) @ f64(a), {"lora_down.weight": a, "lora_up.weight": b}, scale * rank)
    return adapter


def loha(shapes):
    adapter = {}
    for path, (outputs, inputs) in shapes.items():
        w = [values(outputs, 3), values(3, inputs), values(outputs, 3), values(3, inputs)]
        delta = 0.5 * (f64(w[0]) @ f64(w[1])) * (f64(w[2]) @ f64(w[3]))
        names = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"]
        adapter[path] = (delta, dict(zip(names, w)), 1.5)
    return adapter


def lokr(shapes):
    adapter = {}
    for i, (path, (outputs, inputs)) in enumerate(shapes.items()):
        w1 = values(8, 8)
        if i % 2:
            w2 = values(outputs // 8, inputs // 8)
            adapter[path] = (np.kron(f64(w1), f64(w2)), {"lokr_w1": w1, "lokr_w2": w2}, 10000.0)
        else:
            a, b = values(outputs // 8, 4), values(4, inputs // 8)
            delta = 0.5 * np.kron(f64(w1), f64(a) @ f64(b))
            adapter[path] = (delta, {"lokr_w1": w1, "lokr_w2_a": a, "lokr_w2_b": b}, 2.0)
    return adapter


def lycoris_file(adapter):
    tensors = {}
    for path, (_, parts, alpha) in adapter.items():
        name = "lycoris_" + path.replace(".", "_")
        tensors |= {f"{name}.{part}": tensor for part, tensor in parts.items()}
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
    return tensors


def kohya_file(adapter):
    """q, k and v share A and alpha, as kohya trains them."""
    tensors, fused = {}, {}
    for path, (_, parts, alpha) in adapter.items():
        weight, part = original(path)
        up = parts["lora_up.weight"]
        if path in SWAPPED:
            up = torch.cat([up[len(up) // 2 :], up[: len(up) // 2]])
        fused.setdefault(weight, []).append((part or 0, parts["lora_down.weight"], up, alpha))
    for weight, parts in fused.items():
        parts.sort(key=lambda part: part[0])
        name = "lora_unet_" + weight.replace(".", "_")
        tensors[f"{name}.lora_down.weight"] = parts[0][1].clone()
        tensors[f"{name}.lora_up.weight"] = torch.cat([part[2] for part in parts])
        tensors[f"{name}.alpha"] = torch.tensor(parts[0][3])
    return tensors


def dora(adapter, weights):
    """The deltas of an adapter with magnitudes half as large again as those it would start with."""
    changed, magnitudes = {}, {}
    for path, (delta, parts, alpha) in adapter.items():
        weight = f64(weights[path])
        norm = np.linalg.norm(weight + delta, axis=1)
        magnitudes[path] = torch.from_numpy((1.5 * norm).astype(np.float32))
        new = (f64(magnitudes[path]) / norm)[:, None] * (weight + delta) - weight
        changed[path] = (new, parts, alpha)
    return changed, magnitudes


# --- readers: {path: what is added to its weight} ----------------------------------------------------------------


def by_diffusers(folder, file, weights):
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.load_lora_weights(file.parent, weight_name=file.name)
    pipeline.transformer.to(torch.float64)
    pipeline.fuse_lora(components=["transformer"])
    found = {}
    for name, module in pipeline.transformer.named_modules():
        if hasattr(module, "base_layer"):
            found[name] = module.base_layer.weight.detach().numpy() - f64(weights[name])
    return found


def by_peft(folder, file, weights):
    model = SD3Transformer2DModel.from_pretrained(folder, subfolder="transformer", torch_dtype=torch.float32)
    tensors = {key.removeprefix("transformer."): tensor for key, tensor in load_file(file).items()}
    ranks = {key.removesuffix(".lora_A.weight"): len(t) for key, t in tensors.items() if key.endswith("lora_A.weight")}
    has_magnitudes = any("magnitude" in key for key in tensors)
    config = LoraConfig(r=1, lora_alpha=1, target_modules=list(ranks), rank_pattern=ranks, alpha_pattern=ranks,
                        use_dora=has_magnitudes)
    model = get_peft_model(model, config)
    result = set_peft_model_state_dict(model, {f"base_model.model.{key}": t for key, t in tensors.items()})
    assert not result.unexpected_keys, result.unexpected_keys
    merged = model.to(torch.float64).merge_and_unload()
    state = merged.state_dict()
    return {path: state[f"{path}.weight"].numpy() - f64(weights[path]) for path in ranks}


def product(tensors, name):
    """An adapter of any kind under `name` without its scale, its rank, and the keys; nothing if it is not there."""
    get = lambda part: tensors.get(f"{name}.{part}")
    for up, down in [("lora_up.weight", "lora_down.weight"), ("lora_B.weight", "lora_A.weight")]:
        if get(up) is not None:
            return f64(get(up)) @ f64(get(down)), len(get(down))
    if get("hada_w1_a") is not None:
        one, other = (f64(get(f"hada_w{i}_a")) @ f64(get(f"hada_w{i}_b")) for i in (1, 2))
        return one * other, len(get("hada_w1_b"))
    if get("lokr_w1") is not None:
        rank = None
        second = get("lokr_w2")
        if second is None:
            rank = len(get("lokr_w2_b"))
            second = f64(get("lokr_w2_a")) @ f64(get("lokr_w2_b"))
        else:
            second = f64(second)
        return np.kron(f64(get("lokr_w1")), second), rank
    return None


def by_comfyui(_, file, weights):
    """comfy/lora.py: model_lora_keys_unet, load_lora; weight_adapter/base.py: weight_decompose."""
    tensors = load_file(file)
    found = {}
    for path, weight in weights.items():
        single, part = original(path)
        names = [f"transformer.{path}", "lycoris_" + path.replace(".", "_"), "lora_unet_" + single.replace(".", "_")]
        for name in names:
            result = product(tensors, name)
            if result is None:
                continue
            delta, rank = result
            if f"{name}.alpha" in tensors and rank is not None:
                delta = delta * (tensors[f"{name}.alpha"].item() / rank)
            if name.startswith("lora_unet_"):
                delta = delta if part is None else np.split(delta, 3)[part]
            elif path in SWAPPED:  # its weights are in the single file's order, and so it brings the change there
                delta = swapped(delta)
            if f"{name}.dora_scale" in tensors:
                scale, base = f64(tensors[f"{name}.dora_scale"]), f64(weight)
                base = swapped(base) if path in SWAPPED else base
                delta = (base + delta) * scale / np.linalg.norm(base, axis=1, keepdims=True) - base
            found[path] = swapped(delta) if path in SWAPPED else delta
    return found


def by_kohya(_, file, weights):
    """networks/lora_sd3.py: create_network_from_weights."""
    tensors = load_file(file)
    found = {}
    for path in weights:
        single, part = original(path)
        name = "lora_unet_" + single.replace(".", "_")
        if f"{name}.lora_down.weight" not in tensors:
            continue
        down, up = tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"]
        delta = f64(up) @ f64(down) * (tensors[f"{name}.alpha"].item() / len(down))
        delta = delta if part is None else np.split(delta, 3)[part]
        found[path] = swapped(delta) if path in SWAPPED else delta
    return found


def by_merging(folder, file, weights):
    with tempfile.TemporaryDirectory() as out:
        run("export", file, "--merge-into", folder, "--out", f"{out}/model")
        merged = load_file(f"{out}/model/transformer/diffusion_pytorch_model.safetensors")
    return {path: f64(merged[f"{path}.weight"]) - f64(weight) for path, weight in weights.items()}


# --- the check ---------------------------------------------------------------------------------------------------


def run(*arguments):
    result = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{arguments}: {result.stdout}{result.stderr}")
    return result.stdout


def compare(title, adapter, found, sums_of=None):
    """`sums_of` are the weights, where what was found is the difference of rounded sums."""
    worst = 0.0
    for path, (delta, *_) in adapter.items():
        if path not in found:
            worst = float("inf")
            continue
        rounding = 2.0**-24 * np.abs(f64(sums_of[path]) + delta).max() if sums_of else 0.0
        worst = max(worst, max(np.abs(found[path] - delta).max() - rounding, 0.0) / np.abs(delta).max())
    untouched = [path for path in found if path not in adapter and np.abs(found[path]).max() > 0]
    ok = worst <= LIMIT and not untouched
    print(f"{title:<52} {len(adapter):>3} modules  worst {worst:.1e}  {'ok' if ok else 'WRONG'}", flush=True)
    if not ok:
        failures.append(title)


def check(folder, work, title, source, adapter, weights, forms):
    for form, readers in forms.items():
        out = work / "export" / f"{form}.safetensors"
        form, _, alpha = form.partition(" ")
        where = ["--alpha", alpha] if alpha else []
        run("export", source, "--to", form, *where, "--out", out, "--dtype", "fp32", "--model", folder)
        for reader in readers:
            found = reader(folder, out, weights)
            compare(f"{title} as {form}{' ' * bool(alpha)}{alpha}, {reader.__name__.replace('_', ' ')}", adapter, found)
    compare(f"{title}, merged", adapter, by_merging(folder, source, weights), sums_of=weights)


def main():
    work = Path(tempfile.mkdtemp())
    (work / "export").mkdir()
    folder = work / "model"
    StableDiffusion3Pipeline.from_pretrained(ROOT / "assets/tiny-sd35", torch_dtype=torch.float32).save_pretrained(folder)
    state = load_file(folder / "transformer/diffusion_pytorch_model.safetensors")
    weights = {key.removesuffix(".weight"): tensor for key, tensor in state.items()
               if key.endswith(".weight") and tensor.ndim == 2 and "embed" not in key and "norm_" not in key.replace("norm_out", "")}
    shapes = {path: tuple(weight.shape) for path, weight in weights.items()}
    pairs = {"peft": [by_diffusers, by_peft, by_comfyui], "peft metadata": [by_diffusers],
             "kohya": [by_kohya, by_comfyui], "kohya folded": [by_kohya], "comfyui": [by_comfyui],
             "lycoris": [by_comfyui]}

    adapter = lora(shapes, ranks=(4, 2, 3), scales=(0.5, 2.0, 1.0, 0.7))
    source = work / "lycoris_lora.safetensors"
    save_file(lycoris_file(adapter), source)
    check(folder, work, "LoRA of mixed ranks and alphas", source, adapter, weights, pairs)

    adapter = lora(shapes, scales=(0.25,))
    for path, (_, parts, alpha) in adapter.items():
        if original(path)[1]:
            first = next(p for p in adapter if original(p) == (original(path)[0], 0))
            parts["lora_down.weight"] = adapter[first][1]["lora_down.weight"]
            adapter[path] = (0.25 * f64(parts["lora_up.weight"]) @ f64(parts["lora_down.weight"]), parts, alpha)
    source = work / "kohya.safetensors"
    save_file(kohya_file(adapter), source)
    compare("kohya's file, by kohya", adapter, by_kohya(folder, source, weights))
    check(folder, work, "kohya's file", source, adapter, weights, pairs)

    config = LoraConfig(r=4, lora_alpha=2, target_modules=["to_q", "to_k", "to_v", "ff.net.2"], rank_pattern={"to_k": 2},
                        alpha_pattern={"1.attn.to_q": 5}, use_rslora=True, init_lora_weights=False)
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.transformer.add_adapter(config)
    from diffusers.training_utils import _collate_lora_metadata
    from peft.utils import get_peft_model_state_dict
    state = get_peft_model_state_dict(pipeline.transformer)
    metadata = _collate_lora_metadata({"transformer": pipeline.transformer})
    StableDiffusion3Pipeline.save_lora_weights(work, transformer_lora_layers=state, **metadata)
    source = work / "pytorch_lora_weights.safetensors"
    adapter = {}
    for name, module in pipeline.transformer.named_modules():
        if hasattr(module, "lora_A") and len(module.lora_A):
            a, b = module.lora_A["default"].weight.detach(), module.lora_B["default"].weight.detach()
            adapter[name] = (module.scaling["default"] * f64(b) @ f64(a),)
    compare("diffusers' file, by diffusers", adapter, by_diffusers(folder, source, weights))
    check(folder, work, "diffusers' file with patterns and rslora", source, adapter, weights, pairs)

    plain = lora(shapes, scales=(0.5,))
    adapter, magnitudes = dora(plain, weights)
    tensors = lycoris_file(plain)
    tensors |= {"lycoris_" + path.replace(".", "_") + ".dora_scale": m[:, None] for path, m in magnitudes.items()}
    source = work / "dora.safetensors"
    save_file(tensors, source)
    check(folder, work, "DoRA", source, adapter, weights, {"peft": [by_diffusers, by_peft], "comfyui": [by_comfyui]})

    for title, make in [("LoHa", loha), ("LoKr", lokr)]:
        adapter = make(shapes)
        source = work / f"{title}.safetensors"
        save_file(lycoris_file(adapter), source)
        check(folder, work, title, source, adapter, weights, {"comfyui": [by_comfyui], "lycoris": [by_comfyui]})

    report = json.loads(run("inspect", source, "--json"))
    assert len(report["modules"]) == len(shapes) and report["kinds"] == ["LoKr"], report["kinds"]
    if failures:
        raise SystemExit(f"{len(failures)} comparisons are wrong")
    print("all comparisons hold")


main()
