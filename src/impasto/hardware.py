"""What the machine has: device, arithmetic, memory."""

from __future__ import annotations

import ctypes
import platform
import sys
from typing import Literal

import psutil
import torch

from impasto.errors import JobError

# mallopt's parameters in glibc's malloc.h: keep freed memory, and take blocks under 1 GiB from it.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def keep_big_blocks() -> None:
    """Let glibc reuse big blocks instead of giving them back and faulting them in again at every iteration."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.mallopt(M_TOP_PAD, 1 << 26)


def choose_device(wanted: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """The device asked for, or the fastest there is; JobError for one that is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, found in there.items() if found))
    if not there[wanted]:
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise JobError(f"--device {wanted} is not on this machine, or torch was installed without it: use {found}.")
    return torch.device(wanted)


def has_bf16_units(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, as it says of itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "bf16"))
    return False


def choose_dtype(precision: Literal["auto", "bf16", "fp32"], device: torch.device) -> torch.dtype:
    """bfloat16 where it was asked for or is fast."""
    if precision == "auto":
        return torch.bfloat16 if has_bf16_units(device) else torch.float32
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def peak_bytes() -> int:
    """The most resident memory this process has held so far."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
