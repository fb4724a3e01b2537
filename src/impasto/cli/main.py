"""`impasto`: which command is meant, and what becomes of errors.

Exit codes: 0 done; 2 what was asked is wrong; 1 it failed; 130 interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from impasto.errors import ImpastoError

COMMANDS = {
    "layers": ("impasto.cli.layers", "layers", "Show what each layer sees, and which are chosen."),
    "learn-layers": ("impasto.cli.learn_layers", "learn_layers", "Learn which layers auto uses with a network."),
    "texture": ("impasto.cli.texture", "texture", "Make a picture of a style's texture alone."),
    "stain": ("impasto.cli.stain", "stain", "Stains and scanners: fit, apply and check appearances of tissue."),
    "train": ("impasto.cli.train", "train", "Train a small network of one style."),
    "train-any": ("impasto.cli.train_any", "train_any", "Train a network for any style."),
    "export": ("impasto.cli.export", "export", "Write a network as ONNX."),
    "doctor": ("impasto.cli.doctor", "doctor", "Tell what this machine has, and measure how fast it is."),
    "evaluate": ("impasto.cli.evaluate", "evaluate", "Judge results by networks that they were not optimised against."),
    "compare": ("impasto.cli.compare", "compare", "Tell which of two settings is better, and how sure that is."),
    "harmonize": ("impasto.cli.harmonize", "harmonize", "Bring a scan's intensities to those of a reference."),
    "weights": ("impasto.cli.weights", "weights", "Fetch, list, import and check network weights."),
}
INTERRUPTED = 130


def command(name: str | None) -> click.Command:
    """The click command of a name; without one, the default that stylises a picture."""
    module, attribute = COMMANDS[name][:2] if name else ("impasto.cli.stylize", "stylize")
    found: click.Command = getattr(import_module(module), attribute)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given.pop(0) if given and given[0] in COMMANDS else None
    try:
        result = command(name).main(given, prog_name="impasto" + (f" {name}" if name else ""), standalone_mode=False)
        return result if isinstance(result, int) else 0
    except ImpastoError as error:
        return complain(str(error), error.exit_code)
    except click.ClickException as error:
        hint = "" if isinstance(error, click.FileError) else " See 'impasto --help'."
        return complain(error.format_message().rstrip(".") + "." + hint, 2)
    except (KeyboardInterrupt, click.Abort):
        return complain("Interrupted before there was a picture; nothing was written.", INTERRUPTED)
    except BrokenPipeError:
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return complain(f"It failed: {error.strerror or error}{where}.", 1)
    except MemoryError:
        return complain("There is not enough memory: use a smaller --size.", 1)
    except RuntimeError as error:
        if "allocate" not in str(error) and "out of memory" not in str(error):
            raise
        return complain("There is not enough memory: use a smaller --size.", 1)


def complain(message: str, code: int) -> int:
    click.echo(f"impasto: {message}", err=True)
    return code


def entry_point() -> None:
    """What the installed `impasto` runs."""
    if hasattr(signal, "SIGTERM"):
        # Until a run takes it over, SIGTERM ends the program as Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
