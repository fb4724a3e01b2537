"""The notebook runs from its first cell to its last, shows what it says, and is kept with its pictures."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "pathology.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_every_cell_runs(capsys: pytest.CaptureFixture[str]) -> None:
    matplotlib.use("Agg")
    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(CELLS):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)  # noqa: S102 - our own notebook
    told = capsys.readouterr().out
    assert "background changed by 0 levels" in told
    assert "tile equals the whole: True" in told
    assert told.index("the tissue is unchanged") < told.index("the tissue may be changed")


def test_it_is_kept_with_its_pictures() -> None:
    outputs = [output for cell in CELLS for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 6
    assert not any(output["output_type"] == "error" for output in outputs)
    assert NOTEBOOK.stat().st_size < 3_000_000
