"""Tables as text: columns under their heads, footnotes where a number needs one, sentences about an order."""

import statistics


def columns(head, rows):
    """Align cells; the first column to the left, the others to the right.

    Parameters
    ----------
    head : sequence of str
    rows : sequence of sequence of str
        As many cells each.

    Returns
    -------
    list of str
        A line for the head and for each row.
    """
    widths = [max(map(len, cells)) for cells in zip(head, *rows, strict=True)]
    lines = []
    for cells in (head, *rows):
        first, *others = zip(cells, widths, strict=True)
        line = first[0].ljust(first[1]) + "".join("  " + cell.rjust(width) for cell, width in others)
        lines.append(line.rstrip())
    return lines


class Footnotes:
    """Numbers the notes of a table in the order in which they are needed; the same note has the same number."""

    def __init__(self):
        self._notes = []

    def mark(self, note):
        """Return the mark of a note, "[1]"; of none, nothing."""
        if not note:
            return ""
        if note not in self._notes:
            self._notes.append(note)
        return f"[{self._notes.index(note) + 1}]"

    def lines(self):
        """Return a line for each note."""
        return [f"[{number}] {note}" for number, note in enumerate(self._notes, start=1)]


def number(value, digits=1):
    """Write a number with thousands separators, or a dash for none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def speed(value):
    """Write images a second with three digits that say something."""
    return number(value, 0 if value is None or value >= 100 else 1 if value >= 10 else 2)


def mean_and_deviation(accuracies):
    """Write the mean of accuracies from 0 to 1 and, of more than one, their deviation in points; a dash for none."""
    if not accuracies or None in accuracies:
        return "-"
    spread = f" +- {100 * statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    return f"{statistics.fmean(accuracies):.2%}{spread}"


def order_lines(order, place):
    """Write the pairs that are ordered differently.

    Parameters
    ----------
    order : dict of str to list of str
        From `analysis.disagreements`.
    place : str
        Where the second order was found: "here".

    Returns
    -------
    list of str
    """
    return [f"{name} is faster {place} than {', '.join(those)}" for name, those in order.items()]
