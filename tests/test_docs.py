"""What the documentation names is there: options, commands, layers, files; and its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import torch

from impasto import losses
from impasto.cli.main import COMMANDS, command
from impasto.evaluation.deep import NETWORKS
from impasto.evaluation.judges import JUDGES, RUN_FIGURES
from impasto.job import LOOKS
from impasto.nets.sources import SOURCES

ROOT = Path(__file__).parents[1]
NAMES = ["README.md", "README.zh.md", "CONTRIBUTING.md"]
NAMES += [f"docs/{name}.md" for name in ("losses", "networks", "control", "fast", "model_card", "evaluate", "medical")]
NAMES += ["docs/scans.md", "docs/looks.md"]
PAGES = [ROOT / name for name in NAMES]


def flags(found: click.Command) -> set[str]:
    """The options of a command and of the commands below it."""
    below = found.commands.values() if isinstance(found, click.Group) else ()
    own = {flag for parameter in found.params for flag in parameter.opts}
    return own.union(*map(flags, below))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_files_and_links_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = {"--help", "--index-url", "--nproc-per-node"}
    known |= set().union(*(flags(command(name)) for name in (None, *COMMANDS)))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES[:2], ids=lambda page: page.name)
def test_readmes_name_every_command_loss_and_source(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    group = command("weights")
    assert isinstance(group, click.Group)
    assert all(f"impasto {name}" in text for name in COMMANDS)
    assert all(name in text for name in group.commands)
    assert all(f"`{name}`" in text for name in SOURCES)
    assert "make demo" in text
    assert "make test" in text


def test_every_loss_is_explained() -> None:
    text = (ROOT / "docs" / "losses.md").read_text()
    for kind in ("content", "style"):
        section = text.partition(f"`--{kind}-loss`")[2].partition("##")[0]
        assert all(f"`{name}`" in section for name in losses.LOSSES[kind])


def test_every_look_is_explained() -> None:
    text = (ROOT / "docs" / "looks.md").read_text()
    for look, fields in LOOKS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{look}`"))
        for name, value in fields.items():
            assert f"--{name.replace('_', '-')} {','.join(value) if isinstance(value, dict) else value}" in row


def test_every_judge_is_explained() -> None:
    text = (ROOT / "docs" / "evaluate.md").read_text()
    assert all(f"`{name}`" in text for name in (*JUDGES, *RUN_FIGURES, *NETWORKS))


@pytest.mark.parametrize("page", PAGES[:2], ids=lambda page: page.name)
def test_the_network_of_the_readme_is_built(page: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    code = next(block for block in blocks if "conv(128, 5" in block)
    code = code.replace("photo.jpg", "photo.png").replace("style.jpg", "style.png").replace("seed=1)", "seed=1)", 1)
    code = code.replace('"block2_conv1": 2})', '"block2_conv1": 2}, num_iterations=2)')
    exec(compile(code, str(page), "exec"), {})  # noqa: S102 - our own documentation
    assert (files / "net.safetensors").stat().st_size > 1e6 / 2


def test_every_stain_method_is_explained() -> None:
    from impasto.medical.stains import METHODS

    text = (ROOT / "docs" / "medical.md").read_text()
    assert all(f"| `{name}`" in text for name in METHODS)
    assert "no medical device" in text


def test_every_option_of_harmonize_is_explained_and_its_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from impasto.medical.phantoms import head_phantom, nuclei_phantom
    from scan_files import nifti

    text = (ROOT / "docs" / "scans.md").read_text()
    long = {flag for flag in flags(command("harmonize")) if flag.startswith("--")} - {"--output"}
    assert all(flag in text for flag in long)
    assert "no medical device" in text
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a", "b", "scan")):
        nifti(tmp_path / f"{name}.nii.gz", head_phantom((6, 40, 40), seed=seed)[0])
    tiles = torch.from_numpy(nuclei_phantom()[0].astype("uint8"))[None].expand(3, -1, -1).contiguous()
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(block, "scans.md", "exec"), {"tiles": tiles})  # noqa: S102 - our own documentation
    assert (tmp_path / "out.nii.gz").stat().st_size > 1000
