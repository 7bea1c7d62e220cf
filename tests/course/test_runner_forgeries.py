"""A submission forges no verdict, however it tries: it answers calls, and is judged elsewhere."""

import os
import sys
import time

import pytest

from minilora.course.runner import check

pytestmark = pytest.mark.slow

WRONG = "    return 0.0 * eps\n"
DEF = "def central_difference(f, x, eps):\n"


@pytest.fixture
def submit(tmp_path):
    def run(text, **limits):
        (tmp_path / "lesson_01.py").write_text(text, encoding="utf-8")
        return check("1.1", tmp_path, **limits)

    return run


WRITE_M_INTO_EVERY_PIPE = (
    "    for fd in range(3, 30):\n        try:\n            os.write(fd, struct.pack('>Q', len(m)) + m)\n"
    "        except OSError:\n            pass\n"
)
REPORT = '{"state": "passed", "passed": ["a", "b"], "failing": "", "message": "", "paste": [], "error": null}'
FORGERIES = {
    "numpy says that nothing differs": "import numpy as np\nnp.abs = lambda *a, **k: np.zeros(1)\n" + DEF + WRONG,
    "allclose is always true": "import numpy as np\nnp.allclose = lambda *a, **k: True\n" + DEF + WRONG,
    "the comparison is replaced": (
        "import minilora.course.compare as C\nimport minilora.course.checks.lesson_01 as L\n"
        "C.same = L.same = lambda *a, **k: None\nL.as_array = lambda *a: 0.0\n" + DEF + WRONG
    ),
    "the judge is replaced": (
        "import sys\nimport minilora.course.judge as J\n"
        "J.judge = sys.modules['__main__'].judge = lambda *a: J.Verdict('passed', ['a'] * 5)\n" + DEF + WRONG
    ),
    "inputs seem unchanged": (
        "import minilora.course.judge as J\nJ._same_bits = lambda a, b: True\nJ.Guarded.wrote = None\n" + DEF + WRONG
    ),
    "a report is written and the process ends": (
        f"import sys, os\nfor name in sys.argv[1:]:\n    open(name, 'w').write({REPORT!r})\nos._exit(0)\n"
    ),
    "a report is written in the call": (
        "import sys, os\n" + DEF + f"    for name in sys.argv[1:]:\n        open(name, 'w').write({REPORT!r})\n"
        "    os._exit(0)\n"
    ),
    "the right value is looked for in the frames of the callers": (
        "import sys\n" + DEF + "    frame = sys._getframe()\n    while frame:\n"
        "        for name in ('slope', 'expected', 'numeric'):\n"
        "            if name in frame.f_locals:\n                return frame.f_locals[name]\n"
        "        frame = frame.f_back\n    return 0.0\n"
    ),
    "the objects of the process are searched for the judge": (
        "import gc\n" + DEF + "    for o in gc.get_objects():\n"
        "        if type(o).__name__ in ('Verdict', 'Exercise', 'Guarded'):\n            return 3.0\n    return 0.0\n"
    ),
    "an object equal to everything": (
        "class Equal(float):\n    __eq__ = __ge__ = __le__ = __gt__ = __lt__ = lambda *a: True\n"
        "    __sub__ = __rsub__ = __abs__ = lambda *a: Equal()\n    __hash__ = None\n" + DEF + "    return Equal()\n"
    ),
    "an array that lies about differences": (
        "import numpy as np\nclass Liar(np.ndarray):\n    def __array_ufunc__(self, *a, **k):\n        return True\n"
        + DEF + "    return np.zeros(()).view(Liar)\n"
    ),
    "an answer is written into every open pipe": (
        "import os, json, struct\n" + DEF
        + f"    m = json.dumps({REPORT}).encode()\n" + WRITE_M_INTO_EVERY_PIPE + "    return 0.0\n"
    ).replace("null", "None"),
    "answers of another form are written into every open pipe": (
        "import os\n" + DEF + "    for fd in range(3, 30):\n        try:\n            os.write(fd, b'passed' * 99)\n"
        "        except OSError:\n            pass\n    return 0.0\n"
    ),
    "a value that names a type to load": (
        "import os, json, struct\n" + DEF
        + "    m = json.dumps({'value': ['array', 'O', [1], 'AAAAAAAAAAA=']}).encode()\n"
        + WRITE_M_INTO_EVERY_PIPE + "    return 0.0\n"
    ),
    "a result too large for the judge": "import numpy as np\n" + DEF + "    return np.zeros(10**7)\n",
    "a result too deep for the judge": DEF + "    v = []\n    for _ in range(10**5):\n        v = [v]\n    return v\n",
    "the parent is stopped": (
        "import os, signal\n" + DEF + "    os.kill(os.getppid(), signal.SIGKILL)\n    while True: pass\n"
    ),
    "an exit in the name of success": DEF + "    raise SystemExit(0)\n",
    "the stub is called not started after two answers": (
        "n = [0]\n" + DEF + "    n[0] += 1\n    if n[0] > 1: raise NotImplementedError\n    return 3.0\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_is_never_passed(submit, text):
    if os.name == "nt" and "SIGKILL" in text:
        pytest.skip("a signal that Windows does not have")
    verdict = submit(text, seconds=5)
    assert verdict.state in ("failed", "stopped", "does not load")
    assert len(verdict.passed) < 2
    assert verdict.message


def test_what_a_submission_says_cannot_change_the_terminal(submit):
    escape = "\\x1b[2J\\x1b[32mpassed"
    for code in (f"print('{escape}')\n    return 0.0\n", f"raise ValueError('{escape}')\n"):
        message = submit(DEF + "    " + code).message
        assert "[32mpassed" in message and "\x1b" not in message


def test_a_verdict_has_all_properties_of_its_exercise(submit):
    verdict = submit(DEF + "    return (f(x + eps) - f(x - eps)) / (2 * eps)\n")
    assert (verdict.state, len(verdict.passed)) == ("passed", 6)


def test_a_submission_finds_neither_the_folder_nor_the_neighbours_files(tmp_path, submit):
    (tmp_path / "other.txt").write_text("mine", encoding="utf-8")
    submit(
        "import shutil, pathlib\n" + DEF + "    shutil.rmtree(pathlib.Path(__file__).parent, ignore_errors=True)\n"
        "    pathlib.Path('lesson_01.py').write_text('gone')\n    return 0.0\n"
    )
    assert {p.name for p in tmp_path.iterdir()} == {"lesson_01.py", "other.txt"}
    assert "shutil" in (tmp_path / "lesson_01.py").read_text(encoding="utf-8")


ESCAPES = {
    "fork and setsid": "if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            beat()",
    "a program in its own session": (
        "subprocess.Popen([sys.executable, '-c', CODE], start_new_session=True, env={})\n    time.sleep(1)"
    ),
    "the keeper is killed": ("if os.fork() == 0:\n        os.setsid()\n        os.kill(PARENT, 9)\n        beat()"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="processes that leave their group are found on Linux only")
@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_a_process_that_leaves_its_group_does_not_outlive_the_check(tmp_path, submit, escape):
    beats = tmp_path / "beats"
    code = f"import time\nwhile True:\n    open({str(beats)!r}, 'a').write('.')\n    time.sleep(0.02)\n"
    submit(
        f"import os, sys, time, subprocess\nCODE = {code!r}\nPARENT = os.getppid()\ndef beat():\n    exec(CODE)\n"
        + DEF + f"    {escape}\n    time.sleep(1)\n    return 0.0\n",
        seconds=4,
    )  # fmt: skip
    assert beats.stat().st_size
    before = beats.stat().st_size
    time.sleep(0.3)
    assert beats.stat().st_size == before
