#!/usr/bin/env python3
"""Says how large a model file is, for `tailor compare`, which cannot see that of a result that is kept without its model.

    results/size.py runs/starter-001/model.safetensors > results/starter/seed-1/size.json
"""
import json
import math
import sys
from pathlib import Path

model = Path(sys.argv[1])
with model.open("rb") as file:
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
values = sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
print(json.dumps({"values": values, "bytes": model.stat().st_size}))
