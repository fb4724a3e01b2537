"""Thins the network for any style: fewer channels within its blocks, nearly the same pictures, in less time.

    python docs/thin_network.py PHOTOS STYLES OUT.safetensors [--start MODEL] [--inner 64] [--inner-last 96]

`impasto.train.thin` tells how; a core needs some minutes. What ships was thinned so from 192 and 96 channels.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from impasto.nets.any_style import SHIPPED, load_any_style
from impasto.train.any_style import folders
from impasto.train.thin import sample_of, thinned

# Side of the crops, px.
SIZE = 256


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("styles", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--start", type=Path, default=SHIPPED)
    parser.add_argument("--inner", type=int, default=64, help="channels within a block at an eighth of the size")
    parser.add_argument("--inner-last", type=int, default=96, help="and back at a quarter")
    parser.add_argument("--samples", type=int, default=400)
    asked = parser.parse_args()
    network = load_any_style(asked.start)
    source = folders(asked.photos, asked.styles, seed=0)
    samples = []
    for step in range(asked.samples):
        batch = source.batch(step, SIZE, range(1))
        with torch.no_grad():
            code = network.dialled(batch.mix[:1] @ network.encode(batch.styles), batch.strength[:1])
        samples.append(sample_of(network, batch.photos, code.expand(len(batch.photos), -1)))
    thinned(network, samples, asked.inner, asked.inner_last).save(asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
