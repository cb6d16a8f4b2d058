#!/usr/bin/env python3
"""Compares `tailor benchmark` with PyTorch, Keras and ONNX Runtime on this machine: one table, one picture, ratios of medians.

    pip install torch tensorflow-cpu onnx onnxruntime          # in an environment of its own
    cargo build --release
    python benchmarks/compare.py target/release/tailor --rounds 3
    python benchmarks/compare.py target/release/tailor --rounds 3 --larger          # the networks of networks.py; needs torchvision as well

The programs run in turn, round after round, so that a machine whose speed drifts treats them alike; all train with Adam. Writes
benchmarks/comparison.json (every single measurement), comparison.md and comparison.svg, or larger.json and so on. Nothing else should run meanwhile.
"""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from peers import LARGER, RECIPES
from processor import processor

HERE = Path(__file__).parent
COLORS = {"tailor": "#2563a8", "best peer": "#c4c9d1"}


def lines(command):
    """The JSON objects that a command prints, one a line."""
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def measure(tailor, recipe, seconds):
    """One round: every program once."""
    peer = lambda name: lines([sys.executable, str(HERE / "peers.py"), name, recipe, "--seconds", str(seconds)])
    ours = lines([tailor, "benchmark", recipe, "--set", "train.optimizer=adam", "--json", "--quiet", "--seconds", str(max(1, round(seconds)))])[0]
    rows = [{"program": "tailor", "train": ours["train_images_per_second"], "infer": ours["inference_images_per_second"],
             "one": ours["latency_p50_microseconds"]}]
    for row in peer("torch"):
        rows.append({"program": f"PyTorch {row['version'].split('+')[0]} {row['mode']}", "train": row["train"], "infer": row["infer"]})
    for row in peer("keras") if recipe in RECIPES else []:
        rows.append({"program": f"Keras {row['version']}", "train": row["train"], "infer": row["infer"]})
    for row in peer("onnxruntime"):
        rows.append({"program": f"ONNX Runtime {row['version']}", "infer": row["infer"], "one": row["one_image_us_p50"]})
    return [{"recipe": recipe, **row} for row in rows]


def medians(measured):
    """{recipe: {program: {quantity: median}}}"""
    table = {}
    for recipe in dict.fromkeys(row["recipe"] for row in measured):
        programs = table.setdefault(recipe, {})
        for program in dict.fromkeys(row["program"] for row in measured if row["recipe"] == recipe):
            rows = [row for row in measured if row["recipe"] == recipe and row["program"] == program]
            programs[program] = {q: statistics.median(row[q] for row in rows) for q in ("train", "infer", "one") if q in rows[0]}
    return table


def best_peer(programs, quantity, better):
    peers = {name: figures[quantity] for name, figures in programs.items() if name != "tailor" and quantity in figures}
    name = better(peers, key=peers.get)
    return name, peers[name]


def markdown(table):
    rows = ["| recipe | training, images/s | best peer | ratio | inference, batch 500 | best peer | ratio | one image, p50 | ONNX Runtime |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for recipe, programs in table.items():
        ours = programs["tailor"]
        (trainer, train), (inferrer, infer) = best_peer(programs, "train", max), best_peer(programs, "infer", max)
        one = best_peer(programs, "one", min)[1]
        rows.append(f"| `{recipe}` | {ours['train']:,.0f} | {train:,.0f} ({trainer}) | **{ours['train'] / train:.2f} ×** | {ours['infer']:,.0f} "
                    f"| {infer:,.0f} ({inferrer}) | **{ours['infer'] / infer:.2f} ×** | {ours['one']:.1f} µs | {one:.1f} µs |")
    return "\n".join(rows) + "\n"


def picture(table):
    """Training speed relative to the best peer, a pair of bars a recipe, as SVG."""
    longest = max(programs["tailor"]["train"] / best_peer(programs, "train", max)[1] for programs in table.values())
    left, width, row = 170, 620, 56
    unit = (width - 150) / longest
    parts, y = [], 34
    for recipe, programs in table.items():
        name, peer = best_peer(programs, "train", max)
        ours = programs["tailor"]["train"]
        parts.append(f'<text x="{left - 10}" y="{y + 24}" text-anchor="end" class="name">{recipe}</text>')
        for offset, length, color, label in ((0, ours / peer, COLORS["tailor"], f"{ours:,.0f}  ·  {ours / peer:.1f} ×"),
                                             (20, 1.0, COLORS["best peer"], f"{peer:,.0f}  {name}")):
            parts.append(f'<rect x="{left}" y="{y + offset}" width="{length * unit:.1f}" height="17" rx="2" fill="{color}"/>')
            parts.append(f'<text x="{left + length * unit + 8:.1f}" y="{y + offset + 13}" class="value">{label}</text>')
        y += row
    style = "text{font:13px system-ui,sans-serif;fill:#1f2937}.value{font-size:12px;fill:#4b5563}.title{font-weight:600}"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 20} {y + 6}" role="img" '
            f'aria-label="Training images per second, tailor and the best of PyTorch and Keras"><style>{style}</style>'
            f'<rect width="100%" height="100%" fill="#fff"/><text x="{left}" y="20" class="title">Training, images/s, batch 64: '
            f'tailor and the best of PyTorch and Keras</text>{"".join(parts)}</svg>\n')


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tailor", help="the program, built with --release")
    parser.add_argument("--larger", action="store_true", help="the larger networks")
    parser.add_argument("--recipes", nargs="+", choices=[*RECIPES, *LARGER], help="only these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    arguments = parser.parse_args()
    name, measured = "larger" if arguments.larger else "comparison", []
    for turn in range(arguments.rounds):
        for recipe in arguments.recipes or (LARGER if arguments.larger else RECIPES):
            print(f"round {turn + 1} of {arguments.rounds}: {recipe}", file=sys.stderr)
            measured += measure(arguments.tailor, recipe, arguments.seconds)
            # Written each time: a comparison that is stopped keeps what it has.
            table = medians(measured)
            (HERE / f"{name}.json").write_text(json.dumps({"processor": processor(), "measured": measured}, indent=1) + "\n")
            (HERE / f"{name}.md").write_text(markdown(table))
            (HERE / f"{name}.svg").write_text(picture(table))
    print(markdown(table))
