"""`python -m benchmarks.readme`: run the tour, and put its output and figures into the README."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from minilora.files.atomic import write_text

from .options import OneLine

ROOT = Path(__file__).parents[1]
MARK = "<!-- tour output -->"


@click.command(cls=OneLine)
def main():
    """Run the tour, and put its output and figures into the README."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "minilora", "tour"], cwd=folder, check=True, capture_output=True, text=True,
            encoding="utf-8",
        )  # fmt: skip
        for picture in Path(folder).glob("minilora-tour/*.png"):
            shutil.copy(picture, ROOT / "lessons" / "figures" / picture.name)
    output = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip()
    output = re.sub(r"\n\n\n+", "\n\n", output)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, after = readme.partition(MARK)
    after = re.sub(r"\A\s*```text\n.*?\n```", "", after, flags=re.DOTALL)
    write_text(ROOT / "README.md", f"{before}{MARK}\n```text\n{output}\n```{after}")


if __name__ == "__main__":
    main()
