"""Fetch what the tests of the site need into a folder: python .ci/pyodide.py DIR

Pyodide's core is the package `pyodide` of npm; its wheels of NumPy and matplotlib are in a wheel of PyPI, open-webui.
npm and pip fetch both, as they are set up on this machine. Every file is compared with its SHA-256 in
lessons/live/pyodide.json. Exit code 1 and one line when a file cannot be fetched.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

CARRIER = "open-webui==0.12.4"
PINNED = json.loads(Path("lessons/live/pyodide.json").read_text(encoding="utf-8"))
WHEELS = {p["file_name"]: p["sha256"] for p in PINNED["lock"]["packages"].values()}


def fetch(temporary):  # -> {name: content} of every file that pyodide.json names
    npm = ["npm", "pack", "--silent", f"pyodide@{PINNED['version']}"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    pip += ["--python-version", "3.12", CARRIER]  # the Python for which the carrier is made; nothing of it is installed
    for command in (npm, pip):
        subprocess.run(command, cwd=temporary, check=True, timeout=600)
    (core,) = temporary.glob("pyodide-*.tgz")
    (carrier,) = temporary.glob("open_webui-*.whl")
    with tarfile.open(core) as archive:
        found = {name: archive.extractfile(f"package/{name}").read() for name in PINNED["sha256"]}
    with zipfile.ZipFile(carrier) as archive:
        inside = {Path(name).name: name for name in archive.namelist()}
        return found | {name: archive.read(inside[name]) for name in WHEELS}


def main(folder):
    with tempfile.TemporaryDirectory() as temporary:
        files = fetch(Path(temporary))
    for name, digest in (PINNED["sha256"] | WHEELS).items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ValueError(f"{name} is another file than lessons/live/pyodide.json names")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
        sys.exit(f"Pyodide cannot be fetched: {error}")
