#!/usr/bin/env python3
"""Makes the vectors that `pretrained.rs` compares with: logits of torchvision's own networks, and small files of weights.

    pip install torch torchvision safetensors
    python make_pretrained.py [mobilenet_v2.imagenet.safetensors]

`pretrained.safetensors` holds logits [1, 1000] of MobileNetV2 and ResNet-18 with weights by a formula that the test repeats, so
that no file of weights need be kept, and, if the file is given, of MobileNetV2 with ImageNet's weights. Images are by a
formula as well. `mobilenet_v2.names` and `resnet18.names` list the tensors of torchvision's files and their shapes. `tiny.pth`, `tiny_legacy.pth` and `tiny.whl` hold the same four tensors in both of PyTorch's formats and in an
archive.
"""
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent


def image(size):
    """Of three colors, as the networks take them, [1, 3, size, size]."""
    row, column, color = np.meshgrid(np.arange(size), np.arange(size), np.arange(3), indexing="ij")
    values = 1.5 * np.sin(0.05 * row * (color + 1) + 0.11 * column) + 0.3 * np.sin(0.9 * column - 0.7 * row)
    return torch.tensor(values.astype(np.float32)).permute(2, 0, 1)[None]


def by_formula(tensors):
    """Weights of any network: waves, of He's deviation in convolutions and dense layers, around 1 where 0 would be nothing."""
    filled = OrderedDict()
    for name, tensor in tensors.items():
        if name.endswith("num_batches_tracked"):
            filled[name] = tensor
            continue
        seed = sum(name.encode())
        position = np.arange(tensor.numel(), dtype=np.float64) % 10007
        wave = np.sin(0.37 * position * position + seed)
        if tensor.dim() > 1:
            wave *= np.sqrt(4 / tensor[0].numel())
        elif name.endswith("running_var") or name.endswith("weight"):
            wave = 1 + 0.3 * wave
        else:
            wave *= 0.1
        filled[name] = torch.tensor(wave.astype(np.float32).reshape(tensor.shape))
    return filled


@torch.no_grad()
def logits(network, tensors, size):
    network.load_state_dict(tensors)
    return network.eval()(image(size))[0]


def main():
    vectors = {}
    for name, network in [("mobilenet_v2", torchvision.models.mobilenet_v2()), ("resnet18", torchvision.models.resnet18())]:
        lines = [f"{tensor} {'x'.join(map(str, values.shape))}" for tensor, values in network.state_dict().items()
                 if not tensor.endswith("num_batches_tracked")]
        (HERE / f"{name}.names").write_text("\n".join(lines) + "\n")
        vectors[f"{name}.formula"] = logits(network, by_formula(network.state_dict()), 64)
    if len(sys.argv) > 1:
        imagenet = load_file(sys.argv[1])
        for size in [96, 160, 224]:
            vectors[f"mobilenet_v2.imagenet.{size}"] = logits(torchvision.models.mobilenet_v2(), imagenet, size)
    save_file(vectors, HERE / "pretrained.safetensors")

    storage = torch.arange(12, dtype=torch.float32) / 4
    tiny = OrderedDict([
        ("conv.weight", storage[:6].reshape(2, 3).t()),
        ("conv.bias", storage[6:9]),
        ("bn.num_batches_tracked", torch.tensor(7)),
        ("bn.weight", torch.nn.Parameter(torch.tensor([-1.5, 2.25]))),
    ])
    torch.save(tiny, HERE / "tiny.pth")
    torch.save(tiny, HERE / "tiny_legacy.pth", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(HERE / "tiny.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.write(HERE / "tiny_legacy.pth", "package/weights/tiny.pth")
        wheel.writestr("package/__init__.py", "")


if __name__ == "__main__":
    main()
