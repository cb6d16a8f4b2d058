#!/usr/bin/env python3
"""Makes the vectors that `reference.rs` compares with: explanations of networks in PyTorch, and maps by scikit-learn.

    pip install torch numpy scikit-learn safetensors
    python make.py

Networks have their weights under PyTorch's names, `input` [N, C, H, W] and the class that is explained of each image as
`classes`. Activations and gradients are taken by hooks; the formulas are those of the papers, written again:

    grad-cam.LAYER, grad-cam++.LAYER    [N, H, W]: Selvaraju et al. 2017, equations 1 and 2; Chattopadhay et al. 2018,
                                        equations 15 and 19
    integrated-gradients                [N, C, H, W]: Sundararajan et al. 2017, equation 3, by midpoints, from `baseline`
    occlusion                           [N, H, W]: Zeiler & Fergus 2014, section 4.2, of ln p, with a patch of 3×3 moved by 2, of the
                                        color `cover`; of the network of `convolutions`, for pixels of 0 to 255
    rollout                             [N, T, T]: Abnar & Zuidema 2020, section 3, in NumPy from PyTorch's attention weights

`neighbors.safetensors`: points [N, D], their joint probabilities P [N, N] at a perplexity of 10, and scikit-learn's map at a
perplexity of 30 from the same start.
"""
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = Path(__file__).parent
STEPS = 16


def save(name, tensors):
    save_file({key: value.detach().float().contiguous() for key, value in tensors.items()}, HERE / f"{name}.safetensors")


def weights(network):
    return {key: value.clone() for key, value in network.state_dict().items() if "num_batches" not in key}


def hooked(network, layer, x, classes):
    """Activations of a layer and the gradient of the classes' logits with respect to them."""
    kept = {}

    def keep(_, __, output):
        kept["activations"] = output
        output.register_hook(lambda gradient: kept.update(gradients=gradient))
    handle = dict(network.named_modules())[layer].register_forward_hook(keep)
    logits = network(x)
    logits.gather(1, classes[:, None]).sum().backward()
    handle.remove()
    return kept["activations"].detach(), kept["gradients"].detach()


def grad_cam(a, g):
    return F.relu((g.mean((2, 3), keepdim=True) * a).sum(1))


def grad_cam_plus_plus(a, g):
    denominator = 2 * g ** 2 + a.sum((2, 3), keepdim=True) * g ** 3
    alpha = torch.where(g != 0, g ** 2 / torch.where(denominator != 0, denominator, torch.ones_like(g)), torch.zeros_like(g))
    return F.relu(((alpha * F.relu(g)).sum((2, 3), keepdim=True) * a).sum(1))


def integrated_gradients(network, x, baseline, classes):
    total = torch.zeros_like(x)
    for step in range(STEPS):
        point = (baseline + (step + 0.5) / STEPS * (x - baseline)).requires_grad_(True)
        network(point).gather(1, classes[:, None]).sum().backward()
        total += point.grad
    return (x - baseline) * total / STEPS


def small_network():
    return nn.Sequential(OrderedDict([
        ("conv1", nn.Conv2d(2, 6, 3)), ("r1", nn.ReLU()), ("pool1", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(6, 8, 3, padding=1, bias=False)), ("bn1", nn.BatchNorm2d(8)), ("r2", nn.ReLU()),
        ("pool2", nn.AvgPool2d(2)), ("flatten", nn.Flatten()), ("fc1", nn.Linear(32, 9)), ("r3", nn.ReLU()),
        ("fc2", nn.Linear(9, 4))]))


def convolutions(seed):
    """The tensors, unless a map is nearly empty and nothing could be compared with it."""
    torch.manual_seed(seed)
    network = small_network()
    with torch.no_grad():
        network.conv1.weight *= 3  # maps of a size that errors show in
        network.conv2.weight *= 3
        for tensor in (network.bn1.weight, network.bn1.bias, network.bn1.running_mean):
            tensor.uniform_(-1, 1)
        network.bn1.running_var.uniform_(0.5, 2)
    network.eval()
    tensors = weights(network)
    x, baseline, classes = torch.randn(4, 2, 11, 11), torch.randn(4, 2, 11, 11), torch.tensor([0, 1, 2, 3])
    tensors |= {"input": x, "baseline": baseline, "classes": classes, "logits": network(x), "logits.baseline": network(baseline)}
    for ours, theirs in {"conv1": "r1", "pool1": "pool1", "bn1": "r2"}.items():
        a, g = hooked(network, theirs, x, classes)
        tensors[f"grad-cam.{ours}"] = grad_cam(a, g)
        tensors[f"grad-cam++.{ours}"] = grad_cam_plus_plus(a, g)
    tensors["integrated-gradients"] = integrated_gradients(network, x, baseline, classes)
    is_full = all(heat.max() > 0.01 for name, heat in tensors.items() if name.startswith("grad-cam"))
    return tensors if is_full else None


def occlusion(convolutions):
    network = small_network()
    network.load_state_dict(convolutions, strict=False)
    network.eval()
    torch.manual_seed(4)
    images, classes, cover = torch.randint(0, 256, (4, 2, 11, 11)), torch.tensor([3, 0, 2, 1]), torch.tensor([30, 200])

    def log_p(x):
        with torch.no_grad():
            return F.log_softmax(network(x / 255), 1).gather(1, classes[:, None])[:, 0].double()
    falls, patches = torch.zeros(4, 11, 11, dtype=torch.double), torch.zeros(11, 11)
    for top in range(0, 9, 2):
        for left in range(0, 9, 2):
            covered = images.clone()
            covered[:, :, top:top + 3, left:left + 3] = cover[:, None, None]
            falls[:, top:top + 3, left:left + 3] += (log_p(images) - log_p(covered))[:, None, None]
            patches[top:top + 3, left:left + 3] += 1
    save("occlusion", {"input": images, "classes": classes, "cover": cover, "occlusion": falls / patches})


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
        y, self.maps = self.attention1(y, y, y, need_weights=True, average_attn_weights=False)
        return x + y


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


class First(nn.Module):
    def forward(self, x):
        return x[:, 0]


def transformer():
    torch.manual_seed(2)
    network = nn.Sequential(OrderedDict([
        ("conv1", nn.Conv2d(1, 12, 4, 4)), ("tokens1", Tokens(9, 12)), ("block1", Transformer(12, 3, 20)),
        ("block2", Transformer(12, 2, 20)), ("ln1", nn.LayerNorm(12, eps=1e-6)), ("first", First()), ("fc1", nn.Linear(12, 5))]))
    network.eval()
    with torch.no_grad():
        for block in (network.block1, network.block2):
            block.block1.attention1.in_proj_weight *= 4  # attention that differs from token to token
    tensors = weights(network)
    x = torch.randn(3, 1, 12, 12)
    tensors |= {"input": x, "logits": network(x)}
    maps = [block.block1.maps.detach().numpy() for block in (network.block1, network.block2)]
    joined = np.eye(10)[None].repeat(3, 0)
    for layer in maps:
        joined = (0.5 * layer.mean(1) + 0.5 * np.eye(10)) @ joined
    tensors["rollout"] = torch.from_numpy(joined)
    save("transformer", tensors)


def neighbors():
    from sklearn.manifold import _t_sne, TSNE
    from sklearn.metrics import pairwise_distances
    random = np.random.default_rng(3)
    centers = random.normal(size=(5, 6)) * 3
    points = (centers[np.arange(120) % 5] + random.normal(size=(120, 6))).astype(np.float32)
    p = _t_sne._joint_probabilities(pairwise_distances(points, metric="sqeuclidean").astype(np.float32), 10, 0)
    square = np.zeros((120, 120))
    square[np.triu_indices(120, 1)] = p
    centered = points - points.mean(0)
    start = centered @ np.linalg.svd(centered, full_matrices=False)[2][:2].T
    start = (start / start[:, 0].std() * 1e-4).astype(np.float32)
    # As many steps as ours; with 30 neighbors that count, as there.
    theirs = TSNE(perplexity=30, init=start, max_iter=750, learning_rate="auto", random_state=0, min_grad_norm=0)
    theirs.fit(points)
    save("neighbors", {"points": torch.from_numpy(points), "p": torch.from_numpy(square + square.T),
                       "start": torch.from_numpy(start), "map": torch.from_numpy(theirs.embedding_)})


of_convolutions = next(filter(None, map(convolutions, range(1000))))
save("convolutions", of_convolutions)
occlusion(of_convolutions)
transformer()
neighbors()
