"""The log of a training as a table: a line for every step, which spreadsheets and plotting tools read."""

import csv
import io
from pathlib import Path

from ..files.atomic import write_text
from .callbacks import History

LOG = "history.csv"  # beside history.json
COLUMNS = ("step", "loss", "learning_rate", "grad_norm", "valid_loss")


def write_log(folder: Path, history: History) -> None:
    """Write LOG: the losses so far. grad_norm and valid_loss are empty at steps at which they were not measured."""
    norm, valid = (dict(map(tuple, pairs)) for pairs in (history.norm, history.valid))
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(COLUMNS)
    if 0 in valid:
        rows.writerow((0, None, None, None, valid[0]))
    for step, (loss, rate) in enumerate(zip(history.loss, history.lr, strict=False), start=1):
        rows.writerow((step, loss, rate, norm.get(step), valid.get(step)))
    write_text(folder / LOG, table.getvalue())
