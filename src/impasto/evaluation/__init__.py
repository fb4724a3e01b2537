"""How good results are, told by figures that no run had worked towards, and which of two settings is better."""

from typing import Final

# Longest side at which networks, structure and colours are judged, where results are larger.
SIZE_PX: Final = 512
