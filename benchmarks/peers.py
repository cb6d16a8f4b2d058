#!/usr/bin/env python3
"""Measures what a user would run instead, on the same machine: images per second in training (forward, backward, Adam) and inference.

    pip install torch tensorflow-cpu onnx onnxruntime          # in an environment of its own
    python peers.py torch  cnn-32-64-64 --batch 64             # default layout, channels-last, and the better of both
    python peers.py keras  cnn-32-64-64 --batch 64
    python peers.py onnxruntime cnn-32-64-64                   # inference: batch 500 and one image

Prints one JSON object a line. Data are random: the arithmetic is what is timed. `compare.py` beside it runs it in turn with `tailor` and
quotes ratios of medians: absolute figures drift with the machine. Larger networks are in `networks.py`.
"""
import argparse
import json
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# each layer: ("conv", filters) · "bn" · "pool" · ("drop", p) · "flat" · ("dense", units); ReLU follows a conv and every dense but the last
RECIPES = {
    "ann-256-128": ["flat", ("dense", 256), ("drop", 0.3), ("dense", 128), ("drop", 0.3), ("dense", 10)],
    "cnn-32-64": [("conv", 32), "pool", ("conv", 64), "pool", "flat", ("dense", 128), ("drop", 0.5), ("dense", 10)],
    "cnn-32-64-64": [("conv", 32), "pool", ("conv", 64), "pool", ("conv", 64), "flat", ("dense", 64), ("dense", 10)],
    "cnn-bn-32-64-128": [("conv", 32), "bn", "pool", ("conv", 64), "bn", "pool", ("conv", 128), "bn", "flat", ("dense", 128), ("drop", 0.5), ("dense", 10)],
    "cnn-64-64-128-128": [("conv", 64), ("conv", 64), "pool", ("drop", 0.25), ("conv", 128), ("conv", 128), "pool", ("drop", 0.25), "flat", ("dense", 256), ("drop", 0.5), ("dense", 10)],
}
# The networks of networks.py: PyTorch and ONNX Runtime only.
LARGER = ["lenet-5", "cnn-bn-skip", "vgg-11", "resnet-18", "resnet-20", "efficientnet-b0", "vit-tiny"]


def out(**row):
    print(json.dumps(row), flush=True)


def torch_model(recipe):
    import torch.nn as nn
    if recipe not in RECIPES:
        from networks import NETWORKS
        return NETWORKS[recipe]()
    layers, channels, side, features = [], 1, 28, None
    spec = RECIPES[recipe]
    for i, layer in enumerate(spec):
        if layer == "flat":
            layers.append(nn.Flatten())
            features = channels * side * side
        elif layer == "pool":
            layers.append(nn.MaxPool2d(2))
            side //= 2
        elif layer == "bn":
            layers.append(nn.BatchNorm2d(channels))
        elif layer[0] == "conv":
            layers += [nn.Conv2d(channels, layer[1], 3), nn.ReLU()]
            channels, side = layer[1], side - 2
        elif layer[0] == "drop":
            layers.append(nn.Dropout(layer[1]))
        else:
            layers.append(nn.Linear(features, layer[1]))
            features = layer[1]
            if i < len(spec) - 1:
                layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def run_torch(recipe, batch, seconds, compile_too):
    import torch
    import torch.nn as nn
    modes = [("default", False, False), ("channels-last", True, False)] + ([("compiled", True, True)] if compile_too else [])
    for mode, last, compiled in modes:
        model = torch_model(recipe)
        layout = torch.channels_last if last else torch.contiguous_format
        model = model.to(memory_format=layout)
        run = torch.compile(model) if compiled else model
        optimiser, loss = torch.optim.Adam(model.parameters(), 1e-3), nn.CrossEntropyLoss()
        x = torch.rand(batch, 1, 28, 28).contiguous(memory_format=layout)
        y = torch.randint(0, 10, (batch,))

        def step():
            optimiser.zero_grad(set_to_none=True)
            loss(run(x), y).backward()
            optimiser.step()

        train = rate(step, batch, seconds)
        model.eval()
        big = torch.rand(500, 1, 28, 28).contiguous(memory_format=layout)
        with torch.inference_mode():
            infer = rate(lambda: run(big), 500, seconds)
        out(peer="torch", version=torch.__version__, mode=mode, recipe=recipe, batch=batch, train=round(train), infer=round(infer))


def keras_model(recipe):
    import keras
    from keras import layers as l
    spec, built = RECIPES[recipe], [l.Input((28, 28, 1))]
    for i, layer in enumerate(spec):
        if layer == "flat":
            built.append(l.Flatten())
        elif layer == "pool":
            built.append(l.MaxPooling2D(2))
        elif layer == "bn":
            built.append(l.BatchNormalization())
        elif layer[0] == "conv":
            built.append(l.Conv2D(layer[1], 3, activation="relu"))
        elif layer[0] == "drop":
            built.append(l.Dropout(layer[1]))
        else:
            built.append(l.Dense(layer[1], activation="relu" if i < len(spec) - 1 else None))
    return keras.Sequential(built)


def run_keras(recipe, batch, seconds):
    import keras
    import numpy as np
    model = keras_model(recipe)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    n = batch * 100
    x, y = np.random.rand(n, 28, 28, 1).astype("f"), np.random.randint(0, 10, n)
    train = rate(lambda: model.fit(x, y, batch_size=batch, verbose=0), n, seconds)
    infer = rate(lambda: model.predict(x[: n // 500 * 500], batch_size=500, verbose=0), n // 500 * 500, seconds)
    out(peer="keras", version=keras.__version__, recipe=recipe, batch=batch, train=round(train), infer=round(infer))


def run_onnxruntime(recipe, seconds):
    import numpy as np
    import onnxruntime as ort
    import torch
    path = os.path.join(tempfile.mkdtemp(), f"{recipe}.onnx")
    torch.onnx.export(torch_model(recipe).eval(), torch.rand(1, 1, 28, 28), path, input_names=["x"], dynamic_axes={"x": {0: "n"}}, dynamo=False)
    options = ort.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    os.remove(path)
    big, one = np.random.rand(500, 1, 28, 28).astype("f"), np.random.rand(1, 1, 28, 28).astype("f")
    infer = rate(lambda: session.run(None, {"x": big}), 500, seconds)
    times = []
    for _ in range(2000):
        t = time.perf_counter()
        session.run(None, {"x": one})
        times.append((time.perf_counter() - t) * 1e6)
    times.sort()
    out(peer="onnxruntime", version=ort.__version__, recipe=recipe, infer=round(infer), one_image_us_p50=round(times[1000], 1), one_image_us_p99=round(times[1980], 1))


def rate(work, images, seconds):
    """Median images/s over five stretches, after a warm-up."""
    for _ in range(3):
        work()
    rates = []
    for _ in range(5):
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / 5:
            work()
            done += images
        rates.append(done / (time.perf_counter() - start))
    return statistics.median(rates)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("peer", choices=["torch", "keras", "onnxruntime"])
    p.add_argument("recipe", choices=[*RECIPES, *LARGER, "all"], help="`all` is all but the larger networks, which Keras does not have here")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--seconds", type=float, default=5.0)
    p.add_argument("--compile", action="store_true", help="torch: also torch.compile (slow to start)")
    a = p.parse_args()
    if a.peer == "keras" and a.recipe in LARGER:
        p.error(f"{a.recipe} is not written in Keras here; take torch or onnxruntime")
    for r in RECIPES if a.recipe == "all" else [a.recipe]:
        if a.peer == "torch":
            run_torch(r, a.batch, a.seconds, a.compile)
        elif a.peer == "keras":
            run_keras(r, a.batch, a.seconds)
        else:
            run_onnxruntime(r, a.seconds)
