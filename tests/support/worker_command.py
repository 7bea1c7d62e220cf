"""The minilora command as one of several workers: `python worker_command.py FOLDER train ...`.

It writes its process id into FOLDER/<rank>.pid. With FAIL=R in the environment worker R fails in step 3.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from minilora import cli
from minilora.errors import MiniloraError
from minilora.launcher import launched
from minilora.training import loop

launch = launched()
rank = launch.rank if launch else 0
folder = Path(sys.argv.pop(1))
(folder / f"{rank}.pid").write_text(str(os.getpid()), encoding="utf-8")
add_gradients = loop.add_gradients


def failing(run, micro_batches):
    if run.step == 3 and os.environ.get("FAIL") == str(rank):
        (folder / "failed").touch()
        raise MiniloraError("the disk of this machine is full")
    return add_gradients(run, micro_batches)


loop.add_gradients = failing
cli.main()
