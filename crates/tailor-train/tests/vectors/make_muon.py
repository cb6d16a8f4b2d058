#!/usr/bin/env python3
"""Makes muon.json: a wide and a tall matrix after each of ten steps of Muon along fixed gradients.

The update is that of https://github.com/KellerJordan/Muon (muon.py, `muon_update` and `zeropower_via_newtonschulz5`)
on matrices, in float32 instead of bfloat16. PyTorch's own torch.optim.Muon, which rounds to bfloat16, must agree roughly.

    pip install torch
    python make_muon.py
"""
import json
from pathlib import Path

import torch

LR, DECAY, MOMENTUM, ITERATIONS = 0.02, 0.1, 0.95, 5


def orthogonalized(gradient):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = gradient.T if gradient.size(0) > gradient.size(1) else gradient
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if gradient.size(0) > gradient.size(1) else x


def step(weights, gradient, mean, nesterov):
    mean.lerp_(gradient, 1 - MOMENTUM)
    update = gradient.lerp(mean, MOMENTUM) if nesterov else mean
    update = orthogonalized(update) * max(1, weights.size(0) / weights.size(1)) ** 0.5
    weights.mul_(1 - LR * DECAY).sub_(LR * update)


torch.manual_seed(1)
content = {"lr": LR, "weight_decay": DECAY, "momentum": MOMENTUM, "iterations": ITERATIONS, "cases": []}
for rows, columns in [(3, 8), (5, 2)]:
    for nesterov in [True, False]:
        start = torch.randn(rows, columns)
        gradients = torch.randn(10, rows, columns)
        weights, mean, steps = start.clone(), torch.zeros_like(start), []
        theirs = start.clone().requires_grad_()
        torchs = torch.optim.Muon([theirs], lr=LR, weight_decay=DECAY, momentum=MOMENTUM, nesterov=nesterov)
        for gradient in gradients:
            step(weights, gradient, mean, nesterov)
            steps.append(weights.flatten().tolist())
            theirs.grad = gradient.clone()
            torchs.step()
        assert (weights - theirs).abs().max() < 0.01, (weights - theirs).abs().max()
        content["cases"].append({
            "rows": rows, "columns": columns, "nesterov": nesterov, "start": start.flatten().tolist(),
            "gradients": gradients.flatten(1).tolist(), "steps": steps,
        })
text = json.dumps(content, indent=None).replace("], [", "],\n[").replace("}, {", "},\n{")
(Path(__file__).parent / "muon.json").write_text(text + "\n")
