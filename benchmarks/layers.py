#!/usr/bin/env python3
"""Times single layers in PyTorch and in our kernels, in turn, and prints ratios: how many times faster ours are.

    pip install torch
    cargo build --release -p tailor-kernels --example one_layer
    python benchmarks/layers.py [--threads 1] [--only NAME] [--rounds 3] [--binary target/release/examples/one_layer]

PyTorch runs each layer in its default layout and channels-last; the better one counts. Each figure is the fastest of many runs, over all
rounds: other work on the machine only ever adds time. With one thread it is the processor's time, with more the wall clock's. "training"
is forward and backward, with all gradients (but for images of one or three channels, whose gradient nobody needs).
"""
import argparse
import json
import subprocess
import time

import torch
import torch.nn.functional as F

BUDGET = 0.25  # seconds for each measurement, as in `one_layer`


def mobilenet(size, batch):
    """MobileNetV2's layers for images of `size`: name and arguments of `conv` (see one_layer.rs)."""
    s = size // 2
    for at, channels, kernel, stride in [(s, 32, 3, 1), (s, 96, 3, 2), (s // 2, 144, 3, 1), (s // 2, 144, 3, 2), (s // 4, 192, 3, 1), (s // 8, 384, 3, 1),
                                         (s // 8, 576, 3, 1), (s // 8, 576, 3, 2), (s // 16, 960, 3, 1)]:
        yield "conv", (batch, at, channels, channels, kernel, stride, channels)
    for at, ci, co in [(s, 32, 16), (s, 16, 96), (s // 2, 24, 144), (s // 2, 144, 24), (s // 4, 192, 32), (s // 8, 64, 384), (s // 8, 384, 64),
                       (s // 8, 96, 576), (s // 16, 960, 160), (s // 16, 320, 1280)]:
        yield "conv", (batch, at, ci, co, 1, 1, 1)
    yield "conv", (batch, size, 3, 32, 3, 2, 1)


def layers():
    yield from mobilenet(96, 32)
    for kind, n in mobilenet(96, 32):
        yield "infer", n
    for kind, n in mobilenet(96, 32):
        yield "block", n
    yield from mobilenet(160, 32)
    # LeNet-5; strides and shortcuts of residual networks; EfficientNet's 5×5.
    for n in [(64, 28, 1, 6, 5, 1, 1), (64, 14, 6, 16, 5, 1, 1), (64, 32, 16, 16, 3, 1, 1), (64, 32, 16, 32, 3, 2, 1), (64, 16, 32, 64, 3, 2, 1),
              (64, 32, 16, 32, 1, 2, 1), (64, 16, 32, 64, 1, 2, 1), (64, 28, 64, 128, 3, 2, 1), (64, 28, 64, 128, 1, 2, 1), (32, 14, 144, 144, 5, 2, 144),
              (32, 14, 240, 240, 5, 1, 240), (32, 7, 672, 672, 5, 1, 672)]:
        yield "conv", n
    for kind, n in [("norm-relu6", (32 * 48 * 48, 96, 0)), ("norm-relu6", (32 * 6 * 6, 576, 0)), ("norm-relu", (64 * 32 * 32, 16, 1)),
                    ("norm-relu", (64 * 8 * 8, 64, 1)), ("norm-silu", (32 * 14 * 14, 240, 0)), ("add-relu", (64 * 32 * 32 * 16,)),
                    ("max-pool", (32, 48, 64, 3, 2)), ("max-pool", (64, 14, 64, 3, 2)), ("average", (32, 7, 1280)), ("excite", (32, 14, 240)),
                    ("silu", (32 * 14 * 14 * 240,)), ("gelu", (64 * 50 * 768,)), ("layer-norm", (64 * 50, 192)), ("layer-norm", (64 * 197, 192)),
                    ("attention", (64, 50, 3, 64)), ("attention", (16, 197, 3, 64)), ("attention", (64, 17, 4, 16))]:
        yield kind, n


def attention(qkv, heads, width):
    n, tokens, _ = qkv.shape
    q, k, v = qkv.view(n, tokens, 3, heads, width).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, heads * width)


def torch_layer(kind, n, layout):
    """A function of its inputs, and these."""
    def image(batch, channels, size, scale=1.):
        return (scale * torch.randn(batch, channels, size, size)).contiguous(memory_format=layout)

    if kind in ("conv", "infer", "block"):
        batch, size, ci, co, kernel, stride, groups = n
        weight = (torch.randn(co, ci // groups, kernel, kernel) * .1).contiguous(memory_format=layout)
        if kind == "conv":
            return lambda x, w: F.conv2d(x, w, None, stride, kernel // 2, 1, groups), [image(batch, ci, size), weight]
        if kind == "block":
            function = lambda x, w, gamma, beta: F.relu6(F.batch_norm(F.conv2d(x, w, None, stride, kernel // 2, 1, groups), None, None, gamma, beta, True))
            return function, [image(batch, ci, size), weight, torch.ones(co), torch.zeros(co)]
        bias = torch.randn(co)
        return lambda x: F.relu6(F.conv2d(x, weight, bias, stride, kernel // 2, 1, groups), inplace=True), [image(batch, ci, size)]
    if kind.startswith("norm-"):
        rows, channels, shortcut = n
        activation = {"relu": F.relu, "relu6": F.relu6, "silu": F.silu}[kind[5:]]
        x, *others = [image(rows // 4, channels, 2) for _ in range(1 + shortcut)]
        norm = lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, True)
        parameters = [torch.ones(channels), torch.zeros(channels)]
        if shortcut:
            return lambda x, gamma, beta, r: activation(norm(x, gamma, beta) + r), [x, *parameters, *others]
        return lambda x, gamma, beta: activation(norm(x, gamma, beta)), [x, *parameters]
    if kind == "layer-norm":
        return lambda x, gamma, beta: F.layer_norm(x, (n[1],), gamma, beta), [torch.randn(*n), torch.ones(n[1]), torch.zeros(n[1])]
    if kind == "attention":
        batch, tokens, heads, width = n
        return lambda qkv: attention(qkv, heads, width), [torch.randn(batch, tokens, 3 * heads * width)]
    if kind in ("silu", "gelu"):
        return getattr(F, kind), [torch.randn(*n)]
    if kind == "add-relu":
        return lambda a, b: F.relu(a + b), [torch.randn(*n), torch.randn(*n)]
    if kind == "max-pool":
        batch, size, channels, window, stride = n
        return lambda x: F.max_pool2d(x, window, stride, (window - 1) // 2), [image(batch, channels, size)]
    batch, size, channels = n
    if kind == "average":
        return lambda x: F.adaptive_avg_pool2d(x, 1), [image(batch, channels, size)]
    return lambda x, s: x * s, [image(batch, channels, size), torch.randn(batch, channels, 1, 1)]


def fastest(f):
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start, best, runs = time.perf_counter(), float("inf"), 0
    while runs < 5 or time.perf_counter() - start < BUDGET:
        run = clock()
        f()
        best = min(best, clock() - run)
        runs += 1
    return best


def torch_times(kind, n):
    times = {"forward": float("inf"), "training": None if kind == "infer" else float("inf")}
    for layout in (torch.contiguous_format, torch.channels_last):
        function, inputs = torch_layer(kind, n, layout)
        if kind in ("infer", "attention", "silu", "gelu", "average", "excite", "add-relu"):
            with torch.inference_mode():
                times["forward"] = min(times["forward"], fastest(lambda: function(*inputs)))
        is_image = kind in ("conv", "block") and n[2] in (1, 3)
        inputs = [x.requires_grad_(not (is_image and i == 0)) for i, x in enumerate(inputs)]
        if times["training"] is not None:
            times["forward"] = min(times["forward"], fastest(lambda: function(*inputs)))
            dy = torch.randn_like(function(*inputs).detach())

            def step():
                for x in inputs:
                    x.grad = None
                function(*inputs).backward(dy)

            times["training"] = min(times["training"], fastest(step))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="layers whose description contains this")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--binary", default="target/release/examples/one_layer")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ours = subprocess.Popen([arguments.binary, str(arguments.threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(f"PyTorch {torch.__version__}, {arguments.threads} thread(s); µs\n")
    print("| layer | forward: PyTorch | ours | ratio | training: PyTorch | ours | ratio |\n|---|---|---|---|---|---|---|")
    for kind, n in layers():
        name = " ".join([kind, *map(str, n)])
        if arguments.only not in name:
            continue
        best = {}
        for _ in range(arguments.rounds):
            ours.stdin.write(name + "\n")
            ours.stdin.flush()
            times = {"ours": json.loads(ours.stdout.readline()), "torch": torch_times(kind, n)}
            for who, passes in times.items():
                for what, seconds in passes.items():
                    if seconds is not None:
                        best[who, what] = min(best.get((who, what), float("inf")), seconds)
        cells = []
        for what in ("forward", "training"):
            if ("torch", what) in best:
                torch_time, our_time = best["torch", what], best["ours", what]
                cells += [f"{torch_time * 1e6:.0f}", f"{our_time * 1e6:.0f}", f"{torch_time / our_time:.2f}"]
            else:
                cells += ["", "", ""]
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
