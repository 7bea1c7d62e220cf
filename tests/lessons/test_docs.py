"""The pages around the lessons are right: the table, the plans, sections that teachers are sent to, links and paths."""

import re
from pathlib import Path

import pytest

from minilora.course.runner import LESSONS, exercises
from minilora.files.shipped import shipped
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel

FOLDER = Path(__file__).parents[2] / "lessons"
SOURCES = {int(p.name[:2]): p for p in sorted(FOLDER.glob("[0-9][0-9]_*.py"))}
PAGES = [FOLDER / name for name in ("README.md", "TEACHING.md", "glossary.md")]


def text(name):
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.fixture
def build(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import build

    return build


def rows(page, columns):  # -> cells of the rows of all tables with so many columns, without the heads
    found = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| ")]
    return [[c.strip() for c in row] for row in found if len(row) == columns and "---" not in row[0]]


def test_there_is_a_lesson_for_every_number():
    assert tuple(SOURCES) == LESSONS


def test_the_table_says_what_the_lessons_say(build):
    table = text("README.md").partition("<!-- table -->\n")[2].partition("\n<!-- end of table -->")[0]
    took = [int(row[2]) for row in rows(table, 6)[1:]]
    assert table == build.table(dict(zip(SOURCES.values(), took, strict=True)))


def test_no_lesson_takes_longer_than_promised():
    took = sorted(int(row[2]) for row in rows(text("README.md"), 6)[1:])
    assert took[-1] <= 60 and sum(took) <= 480


def test_the_ninety_minutes_are_ninety_and_have_no_gap():
    spans = [row[0].split("-") for row in rows(text("README.md"), 3) if re.fullmatch(r"\d+-\d+", row[0])]
    starts, ends = zip(*[(int(a), int(b)) for a, b in spans], strict=True)
    assert (starts[0], ends[-1], starts[1:]) == (0, 90, ends[:-1])


def test_a_teacher_is_sent_to_sections_that_exist():
    sent = rows(text("TEACHING.md"), 3)[1:]
    assert sent
    for says, lesson, section in sent:
        assert f"# ## {section}\n" in SOURCES[int(lesson)].read_text(encoding="utf-8"), (says, section)


ROOT = FOLDER.parent
PATH = r"`((?:minilora|tests|lessons|benchmarks|data)/[^` ]*)`"


@pytest.mark.parametrize("page", [*SOURCES.values(), *PAGES, FOLDER / "peft.md"], ids=lambda p: p.name)
def test_every_file_that_a_page_names_exists(page):
    paths = re.findall(PATH, page.read_text(encoding="utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("lesson", SOURCES)
def test_every_name_of_the_code_is_in_a_file_that_the_lesson_names_beside_it(lesson):
    section = (
        SOURCES[lesson].read_text(encoding="utf-8").split("## Where this lives in the code\n")[1].split("# ## ")[0]
    )
    files = [ROOT / path for path in re.findall(PATH, section)]
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    names = [part for name in re.findall(r"`([A-Za-z0-9_.]+)(?:\(|`)", section) for part in name.split(".")]
    assert files
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []


def test_every_lesson_dispels_a_misconception():
    assert {int(row[1]) for row in rows(text("TEACHING.md"), 3)[1:]} == set(LESSONS)


def test_an_exam_question_about_the_rank_is_answered_right():
    n_out, n_in = map(int, re.search(r"W is \((\d+), (\d+)\)", text("TEACHING.md")).groups())
    r = int(re.search(r"LoRA of rank (\d+) train", text("TEACHING.md"))[1])
    assert f"{r * (n_out + n_in):,}" in text("TEACHING.md")
    assert f"so r is about {n_out * n_in / (n_out + n_in):.0f}" in text("TEACHING.md")
    assert f"that takes r = {min(n_out, n_in)}" in text("TEACHING.md")


def test_an_exam_question_about_sizes_is_answered_right():
    from minilora.counting.architectures.catalog import load
    from minilora.counting.count import count

    llama = count(load("llama-3-8b"), "q_proj,v_proj", 16)
    assert round(4 * llama.trainable / 1e6, 1) == 27.3 and round(llama.trainable / 1e6, 1) == 6.8
    assert "27.3 MB" in text("TEACHING.md") and "6.8 million" in text("TEACHING.md")
    assert round(load("llama-3-70b").base * 4 / 8 / 1e9) == 35 and "35 GB" in text("TEACHING.md")


@pytest.mark.parametrize("page", [FOLDER / "README.md", FOLDER / "glossary.md"], ids=lambda p: p.name)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert links
    assert [u for u in links if not (FOLDER / u).exists()] == []


def test_the_glossary_is_in_order_and_has_the_words_of_the_field():
    words = [re.sub(r"\*", "", row[0]) for row in rows(text("glossary.md"), 3)[1:]]
    assert words == sorted(words, key=str.lower)
    wanted = (
        "fine-tuning",
        "PEFT",
        "rank",
        "adapter",
        "merging",
        "stacking",
        "multi-tenant serving",
        "quantization",
        "QLoRA",
        "DoRA",
        "AdaLoRA",
        "prefix tuning",
        "instruction tuning",
        "model merging",
        "mixed precision",
        "distillation",
        "embeddings",
        "RAG",
    )
    assert set(wanted) <= set(words)


def test_every_entry_of_the_glossary_is_one_sentence_and_leads_to_a_place_or_says_why_not():
    entries = rows(text("glossary.md"), 3)[1:]
    assert entries
    for word, sentence, where in entries:
        assert sentence.endswith(".") and sentence.count(". ") == 0, word
        assert re.search(r"lessons? \d|\]\(|`minilora|not in this project|`LoraConfig|not a lesson", where), word
        for number in re.findall(r"(?<=lesson )\d+", where):
            assert int(number) in SOURCES, word


PART = re.compile(
    r"^# # Part ([ab]): .+\n#\n# \*(\d+) minutes to read, (\d+) for exercises? ([\d. and]+)\. "
    r"New symbols: ([^.;]+)",
    re.MULTILINE,
)


@pytest.mark.parametrize("lesson", [2, 4, 6])
def test_a_lesson_in_two_parts_takes_45_minutes_and_three_symbols_a_part(lesson):
    known = {e.number: e for e in exercises(lesson)}
    source = SOURCES[lesson].read_text(encoding="utf-8")
    parts = PART.findall(source)
    assert [part[0] for part in parts] == ["a", "b"]
    for name, read, practise, numbers, symbols in parts:
        assert int(practise) == sum(known.pop(n).minutes for n in numbers.split(" and ")), name
        assert int(read) + int(practise) <= 45, name
        assert len(re.findall(r"\$[^$]+\$", symbols)) <= 3, name
    assert not known
    assert f"*{sum(int(part[1]) for part in parts)} minutes to read, in two parts" in source


def test_the_exercises_named_in_a_lesson_are_those_it_shows():
    for lesson, source in SOURCES.items():
        shown = re.findall(r'"(\d+\.\d+)"', "".join(re.findall(r"cards\([^)]*\)", source.read_text(encoding="utf-8"))))
        assert sorted(shown) == [e.number for e in exercises(lesson)]


@pytest.mark.slow
@pytest.mark.parametrize("lesson", SOURCES)
def test_a_lesson_runs_as_a_script_within_a_minute(build, lesson, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert build.seconds(SOURCES[lesson]) <= 60


@pytest.fixture(params=["llama", "gpt2"])
def a_model_on_disk(request, tmp_path):
    if request.param == "llama":
        return shipped("base")
    config = GPT2Config(vocab_size=1024, n_positions=64, n_embd=24, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).init(seed=0).save_pretrained(tmp_path, tokenizer_from=shipped("base"))
    return tmp_path


@pytest.mark.slow
def test_lesson_12_trains_a_model_that_the_reader_has(build, a_model_on_disk, tmp_path, monkeypatch):
    monkeypatch.setenv("MINILORA_LESSON_MODEL", str(a_model_on_disk))
    build.seconds(SOURCES[12])
