#!/usr/bin/env python3
"""Makes the vectors that `reference.rs` compares with: networks in PyTorch, in the file format of the program.

    pip install torch safetensors
    python make.py

Each file holds the weights under PyTorch's names, `input` [N, C, H, W], `labels`, the training `loss` of one batch
(batch norm in training mode, no dropout), the gradient of every weight as `grad.<name>`, the running statistics after
that step as `after.<name>`, and the inference `logits` before it.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from collections import OrderedDict
from pathlib import Path
from safetensors.torch import save_file


class SamePad(nn.Module):
    """Keras' "same": the odd zero at the bottom and right."""

    def __init__(self, kernel, stride):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        def amounts(n):
            total = max((-(-n // self.stride) - 1) * self.stride + self.kernel - n, 0)
            return total // 2, total - total // 2
        (top, bottom), (left, right) = amounts(x.shape[2]), amounts(x.shape[3])
        return F.pad(x, (left, right, top, bottom))


def sequential(*layers):
    return nn.Sequential(OrderedDict(layers))


NETWORKS = {
    # channels, side, classes, smoothing, network
    "bn_after_relu": (1, 12, 4, 0.0, lambda: sequential(
        ("conv1", nn.Conv2d(1, 8, 3)), ("r1", nn.ReLU()), ("bn1", nn.BatchNorm2d(8)), ("pool1", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(8, 6, 3)), ("r2", nn.ReLU()),
        ("flatten", nn.Flatten()), ("fc1", nn.Linear(54, 7)), ("r3", nn.ReLU()), ("fc2", nn.Linear(7, 4)))),
    "padded_strided": (3, 11, 3, 0.1, lambda: sequential(
        ("pad1", SamePad(5, 2)), ("conv1", nn.Conv2d(3, 4, 5, stride=2)), ("r1", nn.Tanh()),
        ("pool1", nn.AvgPool2d(2)), ("conv2", nn.Conv2d(4, 5, 1)), ("r2", nn.ReLU6()),
        ("flatten", nn.Flatten()), ("fc1", nn.Linear(45, 3)))),
}

for name, (channels, side, classes, smoothing, build) in NETWORKS.items():
    torch.manual_seed(1)
    network = build()
    with torch.no_grad():
        for module in network:
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.uniform_(-1, 1)
                module.running_var.uniform_(0.5, 2)
    tensors = {key: value.clone() for key, value in network.state_dict().items() if "num_batches" not in key}
    tensors["input"] = torch.randn(5, channels, side, side)
    labels = torch.randint(classes, (5,))
    tensors["labels"] = labels.float()
    network.eval()
    tensors["logits"] = network(tensors["input"]).detach()
    network.train()
    loss = F.cross_entropy(network(tensors["input"]), labels, label_smoothing=smoothing)
    loss.backward()
    tensors["loss"] = loss.detach().reshape(1)
    for key, parameter in network.named_parameters():
        tensors[f"grad.{key}"] = parameter.grad.clone()
    for key, value in network.state_dict().items():
        if "running" in key:
            tensors[f"after.{key}"] = value.clone()
    save_file({key: value.contiguous() for key, value in tensors.items()}, Path(__file__).parent / f"{name}.safetensors")
