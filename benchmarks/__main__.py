"""`python -m benchmarks`: every script in turn, and at the end which of them missed what they state."""

from __future__ import annotations

import platform
import subprocess
import sys

import torch

SCRIPTS = [
    "startup", "classic", "optimizers", "losses", "iteration", "textbook", "fewer", "precision", "budget", "estimates",
    "tiles", "any_style", "draft", "judges", "layers", "sizes", "artefacts", "stain", "learned_stain", "scans", "looks",
    "best_look",
]  # fmt: skip


def machine() -> str:
    """What the figures were taken on, for RESULTS.md."""
    capabilities = torch.cpu.get_capabilities()
    units = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if capabilities.get(name)]
    cores = capabilities.get("num_physical_cores")
    name = capabilities.get("cpu_name", platform.processor())
    return f"{name}, {cores} cores, {', '.join(units)}; torch {torch.__version__}"


def main() -> int:
    print(machine(), flush=True)
    missed = []
    for name in SCRIPTS:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            missed.append(name)
    print(f"\nmissed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
