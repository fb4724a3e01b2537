"""What the machine has: device, arithmetic, memory."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from pathlib import Path
from typing import Literal

import psutil
import torch

from impasto.errors import JobError

CGROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

KEPT_BLOCKS = 1.5

# mallopt's parameters in glibc's malloc.h: keep freed memory, and take blocks under 1 GiB from it.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
# Blocks that the allocator keeps even where it gives big ones back.
SMALL_BLOCK_BYTES = 1 << 22


def keep_big_blocks() -> None:
    """Let glibc reuse big blocks instead of giving them back and faulting them in again at every iteration.

    Faster, and up to KEPT_BLOCKS times what is in use is held, since blocks of other sizes leave gaps.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.mallopt(M_TOP_PAD, 1 << 26)


def return_big_blocks() -> None:
    """Let glibc give back what is freed, but for small blocks, so that little more is held than is in use; slower."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, SMALL_BLOCK_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 26)
        libc.mallopt(M_TOP_PAD, 1 << 17)
        give_back()


def give_back() -> None:
    """Let glibc give back what is free now."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


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


def cgroup_limit() -> int | None:
    """Bytes that this process's control groups may hold (a container's limit, say); None where there is no limit."""
    limits = [file.read_text().strip() for file in limit_files()]
    # Version 1 writes "no limit" as a number near 2^63, version 2 as a word.
    return min((int(limit) for limit in limits if limit.isdigit() and int(limit) < 1 << 60), default=None)


def limit_files() -> list[Path]:
    """Where the limits of this process's memory groups are told, its own and those it lies in."""
    if not OWN_GROUPS.is_file():
        return []
    found: list[Path] = []
    for line in OWN_GROUPS.read_text().splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds in ("", "memory"):
            top, name = (CGROUPS / "memory", "memory.limit_in_bytes") if kinds else (CGROUPS, "memory.max")
            group = top / path.lstrip("/")
            found += [folder / name for folder in (group, *group.parents) if folder.is_relative_to(top)]
    return [file for file in found if file.is_file()]


def held_bytes(device: torch.device) -> int:
    """The memory of the device, of the machine for the CPU, that this process holds and cannot give back now."""
    if device.type == "cuda":
        return int(torch.cuda.memory_reserved(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    give_back()
    return int(psutil.Process().memory_info().rss)


def free_bytes(device: torch.device) -> int:
    """What this process may still take of the device's memory, on the CPU within its control group's limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return max(0, int(torch.mps.recommended_max_memory()) - held_bytes(device))
    free, limit = int(psutil.virtual_memory().available), cgroup_limit()
    return free if limit is None else min(free, max(0, limit - held_bytes(device)))


def in_words(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / 2**30:.1f} GiB" if count >= 1 << 30 else f"{count / 2**20:.0f} MiB"


def peak_bytes() -> int:
    """The most resident memory this process has held so far."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        # What the kernel counts for getrusage begins with what the process held that started this one.
        found = re.search(rb"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_bytes())
        if found:
            return int(found[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
