"""Makes color.json and crops.json, with Pillow: what it makes of two small images.

Run in this folder: python3 pillow.py
"""

import json
import random

from PIL import Image, ImageEnhance, ImageOps

HEIGHT, WIDTH = 7, 9


def turned(image, part):
    """As torchvision's adjust_hue for PIL images."""
    h, s, v = image.convert("HSV").split()
    h = h.point([(value + round(part * 255)) % 256 for value in range(256)])
    return Image.merge("HSV", (h, s, v)).convert("RGB")


CHANGES = {
    "brightness": lambda image, amount: ImageEnhance.Brightness(image).enhance(amount),
    "contrast": lambda image, amount: ImageEnhance.Contrast(image).enhance(amount),
    "saturation": lambda image, amount: ImageEnhance.Color(image).enhance(amount),
    "hue": turned,
    "sharpness": lambda image, amount: ImageEnhance.Sharpness(image).enhance(amount),
    "posterize": lambda image, amount: ImageOps.posterize(image, amount),
    "solarize": lambda image, amount: ImageOps.solarize(image, amount),
    "auto-contrast": lambda image, _: ImageOps.autocontrast(image),
}
# Pillow cuts off where we round; its hues have 8 bits.
CASES = [
    ("brightness", 0.6, 1), ("brightness", 1.5, 1), ("contrast", 0.3, 1), ("contrast", 1.7, 1),
    ("saturation", 0.0, 1), ("saturation", 0.5, 1), ("saturation", 1.8, 1), ("hue", 0.1, 5), ("hue", -0.3, 5),
    ("sharpness", 0.2, 1), ("sharpness", 1.9, 1), ("posterize", 4, 0), ("posterize", 7, 0), ("solarize", 128, 0),
    ("solarize", 256, 0), ("auto-contrast", 0, 1),
]
BOXES = [(0, 0, WIDTH, HEIGHT), (1.5, 0.25, 8.5, 6.0), (2, 3, 5, 5), (0, 0, 4.5, 7)]
SIZES = [(4, 3), (9, 7), (13, 5)]


def main():
    numbers = random.Random(1)
    # Values that do not fill the range, and some that repeat, so that stretching and equalizing do something.
    gray = [20 + 5 * (x * y) // 2 + numbers.randrange(40) for y in range(HEIGHT) for x in range(WIDTH)]
    color = [min(255, value + numbers.randrange(80) * channel) for value in gray for channel in range(3)]
    images = {
        "gray": Image.frombytes("L", (WIDTH, HEIGHT), bytes(gray)),
        "color": Image.frombytes("RGB", (WIDTH, HEIGHT), bytes(color)),
    }
    common = {"height": HEIGHT, "width": WIDTH, "gray": gray, "color": color}
    cases = []
    for name, amount, tolerance in CASES:
        case = {"name": name, "amount": amount, "tolerance": tolerance}
        for kind, image in images.items():
            if kind == "color" or name not in ("saturation", "hue"):
                case[kind] = list(CHANGES[name](image, amount).tobytes())
        cases.append(case)
    # Fewer than 255 pixels cannot be equalized.
    many = bytes(numbers.randrange(30, 90) + numbers.randrange(60) for _ in range(900))
    equalized = [list(many), list(ImageOps.equalize(Image.frombytes("L", (30, 30), many)).tobytes())]
    write("color.json", {**common, "cases": cases, "equalized": equalized})
    crops = []
    for box in BOXES:
        for width, height in SIZES:
            crop = {"box": box, "height": height, "width": width}
            for kind, image in images.items():
                crop[kind] = list(image.resize((width, height), Image.Resampling.BILINEAR, box=box).tobytes())
            crops.append(crop)
    write("crops.json", {**common, "cases": crops})


def write(name, content):
    with open(name, "w") as file:
        json.dump(content, file, separators=(",", ":"))
        file.write("\n")


main()
