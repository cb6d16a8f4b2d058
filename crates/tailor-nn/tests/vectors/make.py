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


def normed(inputs, filters, kernel, stride=1, groups=1):
    return nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(filters)


class PadShortcut(nn.Module):
    """He et al. 2016, option A."""

    def __init__(self, missing, stride):
        super().__init__()
        self.missing, self.stride = missing, stride

    def forward(self, x):
        return F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.missing))


class BasicBlock(nn.Module):
    def __init__(self, inputs, filters, stride=1, pad=False):
        super().__init__()
        self.conv1, self.bn1 = normed(inputs, filters, 3, stride)
        self.conv2, self.bn2 = normed(filters, filters, 3)
        if pad:
            self.shortcut = PadShortcut(filters - inputs, stride)
        elif stride > 1 or inputs != filters:
            conv, norm = normed(inputs, filters, 1, stride)
            self.shortcut = sequential(("conv1", conv), ("bn1", norm))
        else:
            self.shortcut = nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class SqueezeExcite(nn.Module):
    def __init__(self, channels, units):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, units), nn.Linear(units, channels)

    def forward(self, x):
        factors = torch.sigmoid(self.fc2(F.silu(self.fc1(x.mean((2, 3))))))
        return x * factors[:, :, None, None]


class InvertedResidual(nn.Module):
    def __init__(self, inputs, filters, expand, kernel, stride, activation, squeeze):
        super().__init__()
        width, layers, count = inputs * expand, [], 0

        def add(name, layer, norm, activation=None):
            layers.extend([(f"conv{name}", layer), (f"bn{name}", norm)] + ([(f"a{name}", activation)] if activation else []))
        if expand > 1:
            count += 1
            add(count, *normed(inputs, width, 1), activation())
        count += 1
        add(count, *normed(width, width, kernel, stride, groups=width), activation())
        if squeeze:
            layers.append(("se1", SqueezeExcite(width, inputs // squeeze)))
        count += 1
        add(count, *normed(width, filters, 1))
        self.adds = stride == 1 and inputs == filters
        for name, layer in layers:
            self.add_module(name, layer)
        self.order = [name for name, _ in layers]

    def forward(self, x):
        y = x
        for name in self.order:
            y = getattr(self, name)(y)
        return x + y if self.adds else y


class Tokens(nn.Module):
    def __init__(self, tokens, width):
        super().__init__()
        self.class_token = nn.Parameter(torch.randn(width))
        self.positions = nn.Parameter(torch.randn(tokens + 1, width))

    def forward(self, x):
        pixels = x.flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(x), 1, -1), pixels], 1) + self.positions


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln1 = nn.LayerNorm(width, eps=1e-6)
        self.attention1 = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        y = self.ln1(x)
        return x + self.attention1(y, y, y, need_weights=False)[0]


class TokenNetwork(nn.Module):
    def __init__(self, width, units):
        super().__init__()
        self.ln1 = nn.LayerNorm(width, eps=1e-6)
        self.fc1, self.fc2 = nn.Linear(width, units), nn.Linear(units, width)

    def forward(self, x):
        return x + self.fc2(F.gelu(self.fc1(self.ln1(x))))


class Transformer(nn.Module):
    def __init__(self, width, heads, units):
        super().__init__()
        self.block1, self.block2 = Attention(width, heads), TokenNetwork(width, units)

    def forward(self, x):
        return self.block2(self.block1(x))


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def residual():
    conv, norm = nn.Conv2d(3, 6, 7, 2, 3, bias=False), nn.BatchNorm2d(6)
    return sequential(
        ("conv1", conv), ("bn1", norm), ("r1", nn.ReLU()), ("pool1", nn.MaxPool2d(3, 2, 1)),
        ("block1", BasicBlock(6, 6)), ("block2", BasicBlock(6, 10, 2)), ("block3", BasicBlock(10, 16, 2, pad=True)),
        ("pool2", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc1", nn.Linear(16, 4)))


def inverted():
    conv, norm = normed(3, 9, 3, groups=3)
    return sequential(
        ("conv1", conv), ("bn1", norm), ("a1", nn.SiLU()),
        ("block1", InvertedResidual(9, 8, 1, 3, 2, nn.ReLU6, None)), ("block2", InvertedResidual(8, 8, 3, 5, 1, nn.SiLU, 4)),
        ("conv2", nn.Conv2d(8, 12, 1)), ("a2", nn.GELU()), ("pool1", nn.AvgPool2d(2)), ("a3", nn.Sigmoid()),
        ("pool2", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(12, 6)), ("a4", nn.SiLU()), ("fc2", nn.Linear(6, 3)))


def transformer():
    return sequential(
        ("conv1", nn.Conv2d(1, 12, 4, 4)), ("tokens1", Tokens(9, 12)), ("block1", Transformer(12, 3, 20)),
        ("ln1", nn.LayerNorm(12, eps=1e-6)), ("first", Lambda(lambda x: x[:, 0])), ("fc1", nn.Linear(12, 5)))


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
    "residual": (3, 33, 4, 0.0, residual),
    "inverted": (3, 9, 3, 0.0, inverted),
    "transformer": (1, 12, 5, 0.1, transformer),
}

for name, (channels, side, classes, smoothing, build) in NETWORKS.items():
    torch.manual_seed(1)
    network = build()
    with torch.no_grad():
        for module in network.modules():
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
