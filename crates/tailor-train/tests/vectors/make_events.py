#!/usr/bin/env python3
"""Makes events.bin: the event file of two epochs, written by TensorBoard's own classes.

    pip install tensorboard
    python make_events.py
"""
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

EPOCHS = [
    (1, 1e-3, 0.5, 0.75, 0.4375, 0.8125, 2.5, 22000.0),
    (2, 5e-4, 0.25, 0.875, None, None, 1.5, 36000.0),
]
STARTED = 1700000000.0

path = Path(__file__).parent / "events.bin"
with open(path, "wb") as file:
    writer = RecordWriter(file)
    writer.write(Event(wall_time=STARTED, file_version="brain.Event:2").SerializeToString())
    time = STARTED
    for epoch, rate, train_loss, train_accuracy, loss, accuracy, seconds, throughput in EPOCHS:
        time += seconds
        scalars = {"loss/train": train_loss, "loss/validation": loss, "accuracy/train": train_accuracy,
                   "accuracy/validation": accuracy, "learning_rate": rate, "images_per_second": throughput}
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items() if value is not None]
        writer.write(Event(wall_time=time, step=epoch, summary=Summary(value=values)).SerializeToString())
    writer.flush()
