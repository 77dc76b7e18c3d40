"""What `sargent prepare SRC DST --focus centre --threads 1` does, by Pillow: the measure of its speed.

    python .ci/pillow_prepare.py SRC DST [--format png|jpeg] [--quality 95] [--compress-level 1]

Of the eight sizes the nearest in shape, the largest window in the middle, one resize with Lanczos from the original.
Level 1 is the PNG compression nearest to that of `sargent`; Pillow's own default, 6, is several times slower.
"""

import argparse
import math
import pathlib

from PIL import Image, ImageOps

SIZES = [(1024, 1024), (1152, 896), (896, 1152), (1216, 832), (832, 1216), (1344, 768), (768, 1344), (1472, 704)]


def prepare(source, target, options):
    with Image.open(source) as picture:
        picture = ImageOps.exif_transpose(picture).convert("RGB")
    width, height = picture.size
    across, down = min(SIZES, key=lambda size: abs(math.log(width / height * size[1] / size[0])))
    unit = min(width / across, height / down)
    left, top = (width - across * unit) / 2, (height - down * unit) / 2
    box = (left, top, left + across * unit, top + down * unit)
    crop = picture.resize((across, down), Image.Resampling.LANCZOS, box=box)
    if options.format == "png":
        crop.save(target / f"{source.stem}.png", compress_level=options.compress_level)
    else:
        crop.save(target / f"{source.stem}.jpg", quality=options.quality)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("target", type=pathlib.Path)
    parser.add_argument("--format", choices=["png", "jpeg"], default="png")
    parser.add_argument("--quality", type=int, default=95)
    parser.add_argument("--compress-level", type=int, default=1)
    options = parser.parse_args()
    options.target.mkdir(parents=True, exist_ok=True)
    for source in sorted(options.source.glob("*.jpg")):
        prepare(source, options.target, options)


main()
