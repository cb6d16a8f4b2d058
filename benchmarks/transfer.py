#!/usr/bin/env python3
"""Times MobileNetV2 in `tailor` and in PyTorch, in turn: transfer learning and inference, images a second, ratios of medians.

    pip install torch                       # in an environment of its own; torch.compile needs a C++ compiler as well
    cargo build --release
    python benchmarks/transfer.py target/release/tailor [--sizes 96 160 224] [--rounds 2] [--modes channels-last compiled]

    head       the base is frozen, a dense layer on its pooled features is trained
    through    as the reference system (recipe `mobilenet-v2`): a trained convolution, the frozen base, a trained head
    all        every layer is trained
    inference  batches as large as in training

Same layers, batch and optimizer (AdamW), f32 and random pixels on both sides; ours through the whole program, with reading, shuffling and
normalizing. PyTorch runs with its batch norms folded where they are frozen, in each mode that works: in its default layout, channels-last,
and channels-last after torch.compile; the best counts. A mode that is a fifth slower than the best in the first round is not measured again.
torch.compile takes minutes the first time, and keeps what it made: `--warm` has it do so and measures nothing. Writes transfer.json (every
measurement) and transfer.md beside this file. Nothing else should run meanwhile.
"""
import argparse
import itertools
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from processor import processor

HERE = Path(__file__).parent
CLASSES = 10
TASKS = ["head", "through", "all", "inference"]
MODES = ["eager", "channels-last", "compiled"]
TITLES = {"head": "training a head on the frozen base", "through": "training through the frozen base", "all": "training all layers",
          "inference": "inference"}

# Expansion, channels, blocks, first stride: Sandler et al. 2018, table 2.
BLOCKS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def convolution(before, after, kernel=3, stride=1, groups=1, activation=True):
    layers = [nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(after)]
    return nn.Sequential(*layers, nn.ReLU6(inplace=True)) if activation else nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    def __init__(self, before, after, stride, expansion):
        super().__init__()
        inner = before * expansion
        self.is_residual = stride == 1 and before == after
        self.body = nn.Sequential(*([convolution(before, inner, 1)] if expansion > 1 else []), convolution(inner, inner, 3, stride, inner),
                                  convolution(inner, after, 1, activation=False))

    def forward(self, x):
        return x + self.body(x) if self.is_residual else self.body(x)


def base():
    """MobileNetV2 up to its last convolution, [N, 1280, H/32, W/32]."""
    layers, before = [convolution(3, 32, stride=2)], 32
    for expansion, after, blocks, stride in BLOCKS:
        for block in range(blocks):
            layers.append(InvertedResidual(before, after, stride if block == 0 else 1, expansion))
            before = after
    return nn.Sequential(*layers, convolution(before, 1280, 1))


def folded(module):
    """Convolutions with the batch norms after them folded in, for inference."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential) and len(child) > 1 and isinstance(child[1], nn.BatchNorm2d):
            setattr(module, name, nn.Sequential(fuse_conv_bn_eval(child[0], child[1]), *child[2:]))
        else:
            folded(child)
    return module


def frozen(module):
    module = folded(module.eval())
    return module.requires_grad_(False)


class Head(nn.Module):
    """What `mobilenet-v2-finetune` has behind the base."""
    def __init__(self, base):
        super().__init__()
        self.base = base
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, CLASSES))

    def forward(self, x):
        return self.head(self.base(x))


class Through(nn.Module):
    """The recipe `mobilenet-v2`, with images made larger to `size`."""
    def __init__(self, base, size):
        super().__init__()
        self.size = size
        self.before = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU())
        self.base = base
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(1280 * (size // 32) ** 2, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, CLASSES))

    def forward(self, x):
        x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return self.head(self.base(self.before(x)))


def torch_work(task, size, mode, batch):
    """A function that takes one batch through one step."""
    layout = torch.contiguous_format if mode == "eager" else torch.channels_last
    x = torch.rand(batch, *((1, 28, 28) if task == "through" else (3, size, size))).contiguous(memory_format=layout)
    y = torch.randint(0, CLASSES, (batch,))
    model = {"head": lambda: Head(frozen(base())), "through": lambda: Through(frozen(base()), size), "all": lambda: Head(base()),
             "inference": lambda: folded(Head(base()).eval())}[task]().to(memory_format=layout)
    options = {"freezing": True} if task == "inference" else None
    run = torch.compile(model, dynamic=False, options=options) if mode == "compiled" else model
    if task == "inference":
        def infer():
            with torch.no_grad():
                run(x)
        return infer
    optimizer, loss = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-3), nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss(run(x), y).backward()
        optimizer.step()
    return step


def rate(work, batch, seconds):
    """The median of five stretches, images/s; what was compiled must have run before."""
    work()
    rates = []
    for _ in range(5):
        start, done = time.perf_counter(), 0
        while done == 0 or time.perf_counter() - start < seconds / 5:
            work()
            done += batch
        rates.append(done / (time.perf_counter() - start))
    return statistics.median(rates)


class PyTorch:
    """All tasks in all modes, each built and compiled when it is first asked for."""
    def __init__(self, arguments):
        torch.set_num_threads(arguments.threads)
        # Each task and size is another program of the same class; beyond the limit they would silently not be compiled.
        torch._dynamo.config.recompile_limit = 100
        self.batch, self.seconds, self.work = arguments.batch, arguments.seconds, {}

    def prepare(self, task, size, mode):
        if (task, size, mode) not in self.work:
            print(f"preparing PyTorch, {mode}: {task} at {size} pixels", file=sys.stderr)
            try:
                work = torch_work(task, size, mode, self.batch)
                work()
                self.work[task, size, mode] = work
            except Exception as error:  # whatever torch.compile may fail with: the other modes go on
                print(f"  it does not work here: {str(error).splitlines()[0]}", file=sys.stderr)
                self.work[task, size, mode] = None
        return self.work[task, size, mode]

    def measure(self, task, size, mode):
        work = self.prepare(task, size, mode)
        return work and rate(work, self.batch, self.seconds)


RECIPE = """
name = "{task}"
[model]
layers = ["mobilenet-v2", "global-average-pool", {{ type = "dropout", rate = 0.2 }}]
[data]
source = "{folder}"
size = {size}
channels = 3
cache = false
validation = {held_out}
normalize = "imagenet"
[train]
optimizer = "adamw"
{groups}
"""


class Tailor:
    """`tailor benchmark` on photographs of random pixels."""
    def __init__(self, arguments, scratch):
        self.program, self.scratch, self.folders = arguments.tailor, scratch, {}
        self.batch, self.options = arguments.batch, ["--threads", str(arguments.threads), "--seconds", str(max(1, round(arguments.seconds)))]

    def photographs(self, size):
        if size not in self.folders:
            folder = self.folders[size] = self.scratch / str(size)
            # An epoch of twenty steps, and one batch held out; BMP, which any program writes.
            for index in range(21 * self.batch):
                path = folder / f"class {index % CLASSES}" / f"{index}.bmp"
                path.parent.mkdir(parents=True, exist_ok=True)
                stride = (3 * size + 3) // 4 * 4
                header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54 + stride * size, 0, 0, 54, 40, size, size, 1, 24, 0, stride * size, 0, 0, 0, 0)
                path.write_bytes(header + os.urandom(stride * size))
        return self.folders[size]

    def measure(self, task, size):
        """{task: images/s}: a benchmark times training and inference."""
        if task == "through":
            return self.benchmark(["mobilenet-v2", "--set", f"model.layers.0.size={size}", "--set", "train.optimizer=adamw"], task)
        recipe = self.scratch / f"{task}-{size}.toml"
        groups = 'groups = [{ match = "base1.*", frozen = true }]' if task == "head" else ""
        recipe.write_text(RECIPE.format(task=task, folder=self.photographs(size), size=size, held_out=max(self.batch, CLASSES), groups=groups))
        return self.benchmark([str(recipe)], task, "inference")

    def benchmark(self, what, training, inference=None):
        batch = str(self.batch)
        command = [self.program, "benchmark", *what, "--json", "--quiet", "--batch-size", batch, "--inference-batch", batch, *self.options]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        rates = {training: found["train_images_per_second"]}
        return rates | ({inference: found["inference_images_per_second"]} if inference else {})


def rounds(arguments, scratch):
    """Every measurement so far, {size, task, program, mode, images_per_second}, after each task."""
    ours, theirs, measured, slow = Tailor(arguments, scratch), PyTorch(arguments), [], set()
    for turn in range(arguments.rounds):
        for size in arguments.sizes:
            for task in TASKS:
                print(f"round {turn + 1} of {arguments.rounds}: {task} at {size} pixels", file=sys.stderr)
                rates = {} if task == "inference" else ours.measure(task, size)
                measured += [{"size": size, "task": done, "program": "tailor", "images_per_second": rate} for done, rate in rates.items()]
                rates = {mode: theirs.measure(task, size, mode) for mode in arguments.modes if (size, task, mode) not in slow}
                rates = {mode: rate for mode, rate in rates.items() if rate}
                measured += [{"size": size, "task": task, "program": "PyTorch", "mode": mode, "images_per_second": rate} for mode, rate in rates.items()]
                slow |= {(size, task, mode) for mode, rate in rates.items() if rate < 0.8 * max(rates.values())}
                yield measured


def markdown(measured):
    lines = ["| pixels | what | tailor, images/s | PyTorch, images/s | ratio |", "|--:|---|--:|--:|--:|"]
    for size, task in dict.fromkeys((row["size"], row["task"]) for row in sorted(measured, key=lambda row: (row["size"], TASKS.index(row["task"])))):
        rates = {}
        for row in measured:
            if (row["size"], row["task"]) == (size, task):
                rates.setdefault(row.get("mode", "tailor"), []).append(row["images_per_second"])
        medians = {program: statistics.median(found) for program, found in rates.items()}
        ours, peers = medians.pop("tailor"), medians
        if peers:
            mode = max(peers, key=peers.get)
            lines.append(f"| {size} | {TITLES[task]} | {ours:,.1f} | {peers[mode]:,.1f} ({mode}) | **{ours / peers[mode]:.2f} ×** |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tailor", help="the program, built with --release")
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 160, 224], help="multiples of 32")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--warm", action="store_true", help="only build and compile what PyTorch will run")
    arguments = parser.parse_args()
    if arguments.warm:
        torch_side = PyTorch(arguments)
        for size, task, mode in itertools.product(arguments.sizes, TASKS, arguments.modes):
            torch_side.prepare(task, size, mode)
        return
    about = {"processor": processor(), "threads": arguments.threads, "batch": arguments.batch, "pytorch": torch.__version__.split("+")[0]}
    with tempfile.TemporaryDirectory() as scratch:
        for measured in rounds(arguments, Path(scratch)):
            # Written each time: a comparison that is stopped keeps what it has.
            (HERE / "transfer.json").write_text(json.dumps({**about, "measured": measured}, indent=1) + "\n")
            (HERE / "transfer.md").write_text(markdown(measured))
    print(markdown(measured))


if __name__ == "__main__":
    main()
