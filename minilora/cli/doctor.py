"""`minilora doctor`: what this machine has, how fast minilora is on it, and what that means. All times are measured."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from .. import launcher
from ..display.numbers import GIB
from ..display.tables import show_facts
from ..errors import MiniloraError
from ..files.atomic import check_writable
from .common import device_option, quantize_option

THREADS = {  # part of a BLAS library's name -> the variable that sets how many threads it uses
    "openblas": "OPENBLAS_NUM_THREADS", "mkl": "MKL_NUM_THREADS", "blis": "BLIS_NUM_THREADS",
    "accelerate": "VECLIB_MAXIMUM_THREADS", "": "OMP_NUM_THREADS",
}  # fmt: skip
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a Linux container: "200000 100000" is two cores' worth of time
MATRIX = 1024  # side of the product that is timed
SLOW = 10  # billion operations a second: loops without a tuned BLAS stay below, one core with one is far above
WARM_UP, TIMED = 3, 15  # steps
UNEVEN = 1.5  # the slowest step against the median one
CROWDED = 0.8  # of a core: what a process gets that never waits, when others want the cores too
FASTER = 1.2  # steps with one thread against steps with those there are, when that is worth a word
LESSON, TOUR = 60, 120  # seconds that a lesson and the tour may take
ROOM = 100 * 2**20  # bytes free on a disk, below which to warn


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts: everything as one JSON object.")
@click.option("--fits", metavar="MODEL", help="Say whether MODEL, named as in `minilora params`, can be trained here.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1, 10**6), help="With --fits: sequences.")
@click.option(
    "--length", default=512, show_default=True, type=click.IntRange(1, 10**8), help="With --fits: tokens of each."
)
@quantize_option
@device_option
def doctor(as_json, fits, batch, length, quantize, device):
    """Versions, devices and threads; how long a training step takes here, so how long the tour and the lessons.

    With --fits the command only says what can be trained here: with minilora in the memory of this machine (with
    --quantize on a base in fewer bits), with transformers and PEFT on each card. It takes a few seconds, changes
    nothing and needs no network.
    """
    if fits is not None:
        from . import doctor_fits

        found = doctor_fits.fits(fits, batch, length, devices(), quantize)
        click.echo(json.dumps(found, indent=2)) if as_json else doctor_fits.show(found)
        return
    report = {
        "versions": versions(),
        "optional": optional_packages(),
        "cores": cores(),
        "blas": blas(),
        "devices": devices(),
    }
    try:
        report["step"] = reference_step(device)
        report["estimates"] = estimates(report["step"])
        report["step_with_one_thread"] = None if report["blas"]["threads_asked"] == 1 else step_with_one_thread(device)
        problem = None
    except MiniloraError as error:  # a doctor looks at what is there
        report["step"] = report["estimates"] = report["step_with_one_thread"] = None
        problem = str(error)
    report["warnings"] = warnings_about(report, problem)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        show(report)


# ---- what is installed


def versions():
    from .. import __version__

    found = {"minilora": __version__, "Python": platform.python_version(), "system": platform.platform(terse=True)}
    return found | {name: version_of(name) for name, extra in requirements() if extra is None}


def optional_packages():  # -> {extra: {package: version or None}}
    found = {}
    for name, extra in requirements():
        if extra is not None:
            found.setdefault(extra, {})[name] = version_of(name)
    return found


def requirements():  # -> list of (package, extra or None), as the installed project declares them
    try:
        lines = importlib.metadata.requires("minilora") or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    return [(re.split(r"[^\w.-]", line, maxsplit=1)[0], _extra(line)) for line in lines]


def _extra(line):
    found = re.search(r"""extra == ['"](.+?)['"]""", line)
    return found and found[1]


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# ---- what the machine has


def cores():
    """How many this process sees, so how many threads a BLAS starts by itself, and for how many it is given time."""
    seen = launcher.cores()
    words = QUOTA.read_text(encoding="utf-8").split() if QUOTA.is_file() else []
    has_quota = len(words) == 2 and all(w.isdigit() for w in words)
    return {"seen": seen, "usable": min(seen, max(1, int(words[0]) // int(words[1]))) if has_quota else seen}


def blas():
    """The library behind `x @ y`, the threads that it was asked to use, and what it does with them."""
    built = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    library = built.get("name", "unknown")
    setting = next(variable for part, variable in THREADS.items() if part in library.lower())
    asked = os.environ.get(setting, os.environ.get("OMP_NUM_THREADS", ""))
    gflops, busy = product_speed()
    return {
        "library": library,
        "version": built.get("version", "unknown"),
        "setting": setting,
        "threads_asked": int(asked) if asked.isdigit() else None,
        "cores_busy": busy,
        "gflops": gflops,
    }


def product_speed(n=MATRIX, seconds=0.4):  # -> billion float32 operations a second, cores busy
    """A product of two (n, n) matrices, repeated for a while. Cores busy: CPU seconds per second of that while."""
    x = np.random.default_rng(0).standard_normal((n, n), dtype=np.float32)
    y = x @ x  # the first one starts the threads
    began, used, took = time.perf_counter(), time.process_time(), []
    while not took or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        np.matmul(x, x, out=y)
        took.append(time.perf_counter() - start)
    busy = (time.process_time() - used) / (time.perf_counter() - began)
    return 2 * n**3 / float(np.median(took)) / 1e9, busy


def devices():  # -> list of {"device": "cuda:0", "name": ..., "bytes": ...}, or of {"problem": ...}
    if importlib.util.find_spec("cupy") is None:
        return []
    try:
        import cupy  # pyright: ignore[reportMissingImports]

        found = [cupy.cuda.runtime.getDeviceProperties(i) for i in range(cupy.cuda.runtime.getDeviceCount())]
    except Exception as error:  # no driver, a driver that is too old, a broken installation: CuPy has a class for each
        return [{"problem": f"CuPy is installed but finds no device: {(str(error) or repr(error)).splitlines()[0]}"}]
    return [
        {"device": f"cuda:{i}", "name": p["name"].decode(), "bytes": p["totalGlobalMem"]} for i, p in enumerate(found)
    ]


# ---- how fast it is


def reference_step(device):
    """Steps of the tour's first adapter on the shipped base, timed one by one; one round of the tour's questions."""
    from ..models.pretrained import load_base
    from ..tasks.shipped import get_task
    from ..text.batches import PairBatches
    from ..training.loop import train
    from ..training.optim import AdamW
    from .tour import BATCH_SIZE, LEARNING_RATE, TASKS, ask, wrap

    model, tokenizer = load_base(device=device)
    model, _ = wrap(model, seed=0)
    task = get_task(TASKS[0])
    context = model.config.max_position_embeddings
    batches = PairBatches(task.examples("train"), tokenizer, BATCH_SIZE, context, np.random.default_rng(0))
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE)
    ends = []

    def clock(run):
        if run.loss is not None:
            float(run.loss)  # waits for a GPU
        ends.append(time.perf_counter())

    run = train(model, batches, optimizer, WARM_UP + TIMED, callbacks=[clock])
    took = np.diff(ends)[WARM_UP:]
    began = time.perf_counter()
    ask(model, tokenizer, task, task.examples("test"))
    return {
        "device": model.device,
        "seconds": float(np.median(took)),
        "fastest": float(took.min()),
        "slowest": float(took.max()),
        "timed": TIMED,
        "tokens": run.tokens / run.step,
        "questions_seconds": time.perf_counter() - began,
    }


def step_with_one_thread(device):  # -> seconds
    """The same step in a process of its own, where every BLAS library gets one thread.

    Threads help with large matrices; with small ones, or when other programs want the cores, they wait for each other.
    """
    code = "import sys; from minilora.cli.doctor import reference_step; print(reference_step(sys.argv[1])['seconds'])"
    environment = os.environ | dict.fromkeys(THREADS.values(), "1")
    done = subprocess.run([sys.executable, "-c", code, device], env=environment, capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else None


def estimates(step):
    """What the measured step and round of questions mean in seconds, for what takes a known number of them."""
    from .tour import STEPS, TASKS
    from .train import train

    rounds = len(TASKS) + 2  # the base, each adapter, and the merged model answer all test questions
    default = next(p.default for p in train.params if p.name == "steps")
    return {
        "tour_seconds": len(TASKS) * STEPS * step["seconds"] + rounds * step["questions_seconds"],
        "tour_steps": len(TASKS) * STEPS,
        "train_seconds": default * step["seconds"],
        "train_steps": default,
        "steps_in_a_lesson": int(LESSON / step["seconds"]),
    }


# ---- what to say about it


def warnings_about(report, problem):  # -> list of str
    said = []
    if problem:
        said.append(f"no training step could be timed: {problem}")
    setting, usable = report["blas"]["setting"], report["cores"]["usable"]
    threads = report["blas"]["threads_asked"] or report["cores"]["seen"]
    if threads > usable:
        said.append(f"{threads} threads on {usable} core(s) get in each other's way: set {setting}={usable}")
    if (alone := report["step_with_one_thread"]) and report["step"]["seconds"] > FASTER * alone:
        times = report["step"]["seconds"] / alone
        said.append(f"steps are {times:.1f} times faster with one thread, {alone:.4f} s: set {setting}=1")
    busy, step = report["blas"]["cores_busy"], report["step"]
    if busy < CROWDED:
        said.append(f"other programs are busy: this one got {busy:.1f} of a core; it will be faster when it has one")
    elif report["blas"]["gflops"] < SLOW:
        said.append(
            f"matrix products are slow, {report['blas']['gflops']:.1f} billion operations a second: is this a NumPy "
            f"without a tuned BLAS? (its library: {report['blas']['library']}; the NumPy that pip installs has one)"
        )
    if step and step["slowest"] > UNEVEN * step["seconds"]:
        said.append("step times vary a lot, so the estimates may be off")
    if report["estimates"] and report["estimates"]["tour_seconds"] > TOUR:
        said.append(f"the tour will take longer than the {TOUR} seconds that it should")
    said += [d["problem"] for d in report["devices"] if "problem" in d]
    return said + disk_warnings(Path.cwd(), Path(tempfile.gettempdir()))


def disk_warnings(*folders):
    said = []
    for folder in dict.fromkeys(folders):
        try:
            check_writable(folder)
        except MiniloraError as error:
            said.append(str(error))
        if (free := shutil.disk_usage(folder).free) < ROOM:
            said.append(f"{folder} has only {free / 2**20:.0f} MiB free")
    return said


def show(report):
    blas, step, about = report["blas"], report["step"], report["estimates"]
    asked = f"{blas['setting']} " + ("not set" if blas["threads_asked"] is None else f"{blas['threads_asked']}")
    cards = [d for d in report["devices"] if "name" in d]
    facts = [*report["versions"].items()]
    for extra, packages in report["optional"].items():
        found = (f"{name} {version or 'missing'}" for name, version in packages.items())
        facts.append((f"minilora[{extra}]", ", ".join(found)))
    facts += [
        ("cores", f"{report['cores']['usable']} usable of {report['cores']['seen']} that are seen"),
        ("BLAS", f"{blas['library']} {blas['version']}, {asked}"),
        ("matrix products", f"{blas['gflops']:.0f} billion operations a second, {blas['cores_busy']:.1f} cores busy"),
        ("GPU", ", ".join(f"{d['device']} {d['name']}, {d['bytes'] / GIB:.0f} GiB" for d in cards) or "none (CuPy)"),
    ]
    if step:
        facts += [
            ("one LoRA step", f"{step['seconds']:.4f} s on {step['device']}: the median of {step['timed']}, "
             f"{step['fastest']:.4f} to {step['slowest']:.4f} s, {step['tokens']:,.0f} tokens each"),
            ("minilora tour", f"about {about['tour_seconds']:.0f} s: {about['tour_steps']} steps, and the answers"),
            ("minilora train", f"about {about['train_seconds']:.0f} s for {about['train_steps']} steps, its default"),
            ("a lesson", f"may run {LESSON} s: room for {about['steps_in_a_lesson']:,} such steps"),
        ]  # fmt: skip
    show_facts(*facts)
    for warning in report["warnings"]:
        click.echo(f"warning: {warning}")
    if not report["warnings"]:
        click.echo("nothing to warn about")
