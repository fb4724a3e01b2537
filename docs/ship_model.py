"""Make a trained network the one that ships: `python docs/ship_model.py MODEL`.

It is written to `src/impasto/data/any_style.safetensors` with the text of `docs/model_card.md` in its header. Without
MODEL the shipped network is given the card anew, after a change of its text.
"""

from __future__ import annotations

import sys
from pathlib import Path

from impasto.nets.any_style import SHIPPED, load_any_style

CARD = Path(__file__).with_name("model_card.md")


def main() -> int:
    network = load_any_style(sys.argv[1] if len(sys.argv) > 1 else SHIPPED)
    network.save(SHIPPED, {"card": CARD.read_text(encoding="utf-8"), "licence": "Apache-2.0"})
    print(f"{SHIPPED}: {SHIPPED.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
