"""`python -m impasto`."""

from impasto.cli.main import entry_point

entry_point()
