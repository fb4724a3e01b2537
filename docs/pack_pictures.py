"""Makes a small copy of a training's folders, to be carried to a machine with a GPU.

    python docs/pack_pictures.py CONTENT_DIR STYLE_DIR OUT_DIR [--side 320] [--most-mib 40]

Every picture's shortest side is brought to `--side` px and written as JPEG, at the best quality with which all fit into
`--most-mib`. Names keep their order, so that the same pictures are held out. On the other machine, for as many slices
of ten minutes as there are, each going on where the last one stopped:

    impasto train-any OUT_DIR/content OUT_DIR/style -o any.safetensors --time-budget 10m
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from PIL import Image

from impasto.train.data import Folder

QUALITIES = (92, 85, 75, 65, 50)


def encoded(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def small(root: Path, side: int) -> dict[str, Image.Image]:
    """The pictures of a folder that can be read, by the name they are to have."""
    folder = Folder(root, side_px=side)
    pictures = {f"{number:05}.jpg": folder.get(file) for number, file in enumerate(folder.files)}
    for reason in folder.skipped.values():
        print(f"left out: {reason}", file=sys.stderr)
    return {name: Image.fromarray(p.permute(1, 2, 0).numpy()) for name, p in pictures.items() if p is not None}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs=2, type=Path, metavar="DIR")
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--most-mib", type=float, default=40)
    asked = parser.parse_args()
    pictures = {
        kind: small(folder, asked.side) for kind, folder in zip(("content", "style"), asked.folders, strict=True)
    }
    for quality in QUALITIES:
        files = {
            asked.out / kind / name: encoded(image, quality)
            for kind, found in pictures.items()
            for name, image in found.items()
        }
        mib = sum(map(len, files.values())) / 2**20
        if mib <= asked.most_mib:
            break
    else:
        print(f"{mib:.0f} MiB at the least: use a smaller --side or a larger --most-mib.", file=sys.stderr)
        return 2
    for file, data in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    print(f"{len(files)} pictures, {mib:.1f} MiB at quality {quality}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
