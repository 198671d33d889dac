"""The command `rayspin apply`: its options as arguments of `apply_to`, and the files it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rayspin.application.apply import AUTO, apply_to
from rayspin.application.operations import operation
from rayspin.application.result import check_suffix
from rayspin.config import build
from rayspin.errors import InputError
from rayspin.imaging.levels import Levels

ESTIMATED = "estimated"
_DEFAULT_SUFFIXES = (".nc", ".png")


def run_all(
    what: str, sources: Sequence[Path], outputs: Sequence[Path], *, components: bool, options: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, str], list[Path]]]:
    """Apply a network or a method to inputs, one after the other, and write the results.

    Args:
        what: name of a network or of a method, or a file; see `operation`.
        sources: the inputs, or three images of one input.
        outputs: files of the result, for a single input; none for files named after the input, in the current folder.
        components: whether the inputs are images of S_x, S_y and S_z.
        options: options of the command by name; None where they were not given.

    Yields:
        the name of the input, figures of the result, and the files that were written.

    Raises:
        InputError: a file or an option is invalid.
        MachineError: the system refuses to write.
    """
    given = {name: value for name, value in options.items() if value is not None}
    levels = build(Levels, _levels(given), "levels")
    iterations, scale, hamiltonian = (given.pop(name, None) for name in ("iterations", "scale", "hamiltonian"))
    noise = _number("--noise", given.pop("noise"), ESTIMATED)
    applied = operation(
        what,
        iterations=iterations or 0,
        scale=scale,
        hamiltonian=hamiltonian,
        noise=None if noise == ESTIMATED else float(noise),
    )
    if "sites_per_pixel" in given:
        given["sites_per_pixel"] = _number("--sites-per-pixel", given["sites_per_pixel"], AUTO)
    inputs: list[Path | Sequence[Path]] = [sources] if components else list(sources)
    if outputs and len(inputs) > 1:
        raise InputError("--out", f"names a single result, and there are {len(inputs)} inputs", "leave it out")
    for output in outputs:
        check_suffix(output)
    named = [source if isinstance(source, Path) else source[0] for source in inputs]
    _check_distinct(named)
    for source, first in zip(inputs, named):
        files = list(outputs) or [Path(f"{first.stem}-result{suffix}") for suffix in _DEFAULT_SUFFIXES]
        for file in files:
            if file.exists() and any(file.samefile(path) for path in sources if path.exists()):
                raise InputError(str(file), "is one of the inputs", "give another file with --out")
        found = apply_to(source, applied, levels=levels, **given)
        for file in files:
            found.save(file)
        yield str(first), found.figures(), files


def _check_distinct(sources: Sequence[Path]) -> None:
    """Check that no two results have the same name."""
    seen: dict[str, Path] = {}
    for source in sources:
        other = seen.setdefault(source.stem, source)
        if other is not source:
            problem = f"its result would have the same name as that of {other}"
            raise InputError(str(source), problem, "apply to one input after the other, with --out")


def _levels(given: dict[str, Any]) -> dict[str, Any]:
    """Remove the options of gray levels, and return them as a table of `Levels`."""
    table: dict[str, Any] = {name: given.pop(name) for name in ("background", "smoothing") if name in given}
    for option, key in (("percentiles", "percentiles"), ("levels", "limits")):
        if option in given:
            table[key] = list(given.pop(option))
    return table | {"inverted": given.pop("inverted")}


def _number(option: str, text: str, word: str) -> float | str:
    """Return a number, or a word that is valid in its place."""
    if text == word:
        return word
    try:
        return float(text)
    except ValueError:
        raise InputError(option, f"{text!r} is not a number", f"give a number, or {word!r}") from None
