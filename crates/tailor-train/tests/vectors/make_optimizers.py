#!/usr/bin/env python3
"""Makes optimizers.json: three weights after each of ten steps of PyTorch's optimizers along fixed gradients.

    pip install torch
    python make_optimizers.py
"""
import json
from pathlib import Path

import torch

START = [0.5, -1.25, 2.0]
LR, DECAY = 0.01, 0.1
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=LR, weight_decay=DECAY),
    "momentum": lambda p: torch.optim.SGD(p, lr=LR, momentum=0.9, weight_decay=DECAY),
    "nesterov": lambda p: torch.optim.SGD(p, lr=LR, momentum=0.9, nesterov=True, weight_decay=DECAY),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=LR, weight_decay=DECAY),
    "adam": lambda p: torch.optim.Adam(p, lr=LR, weight_decay=DECAY),
    "adamw": lambda p: torch.optim.AdamW(p, lr=LR, weight_decay=DECAY),
}

torch.manual_seed(1)
gradients = torch.randn(10, 3)
steps = {}
for name, make in OPTIMIZERS.items():
    weights = torch.tensor(START, requires_grad=True)
    optimizer = make([weights])
    steps[name] = []
    for gradient in gradients:
        weights.grad = gradient.clone()
        optimizer.step()
        steps[name].append(weights.tolist())
content = {"start": START, "lr": LR, "weight_decay": DECAY, "gradients": gradients.tolist(), "steps": steps}
(Path(__file__).parent / "optimizers.json").write_text(json.dumps(content, indent=1) + "\n")
