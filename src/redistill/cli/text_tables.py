"""Tables of the terminal: as wide as what stands in them, so that no name runs into its neighbour."""

from collections.abc import Sequence


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 2) -> list[str]:
    """A table as lines: the first `names` columns and intervals to the left, figures to the right, two spaces between."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    to_left = [index < names or "interval" in title for index, title in enumerate(head)]
    return [
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(row, widths, to_left, strict=True)
        ).rstrip()
        for row in (head, *rows)
    ]
