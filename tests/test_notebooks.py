"""The notebooks run from beginning to end, in a kernel of their own, and what is stored in them is of this code."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def words(notebook: nbformat.NotebookNode) -> str:
    """What the cells print; a kernel may tell it in any number of pieces."""
    return "".join(output.text for output in outputs(notebook) if output.get("name") == "stdout")


def test_there_are_notebooks() -> None:
    assert "fluorescence" in {file.stem for file in NOTEBOOKS}


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_and_shows_pictures(file: Path, tmp_path: Path) -> None:
    stored = nbformat.read(file, as_version=4)
    fresh = nbformat.read(file, as_version=4)
    NotebookClient(fresh, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert pictures(fresh) == pictures(stored) >= 2
    assert words(fresh) == words(stored)
