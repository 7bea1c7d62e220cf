"""The ledger: every row is recomputed, its verdict follows from the numbers, and no verdict changes unnoticed."""

import ast
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from checkpoints import GOLDEN
from hypothesis import given
from hypothesis import strategies as st

from minilora.counting.ledger.formulas import evaluate
from minilora.counting.ledger.judge import (
    ASSUMING,
    CONSISTENT,
    MEASURED,
    NOT,
    REPRODUCES,
    ROUNDING,
    SMALL,
    UNTESTED,
    VERDICTS,
    judge,
    parse,
)
from minilora.counting.ledger.ledger import claims
from minilora.counting.ledger.measured import best_rate, card_rows, seeds_where, share, where
from minilora.errors import FormatError, MiniloraError
from minilora.files import shipped as shipped_data
from minilora.files.shipped import shipped

EXPECTED = json.loads((GOLDEN / "ledger_verdicts.json").read_text(encoding="utf-8"))
ROW = {"id": "a", "says": "b", "source": "c", "published": "128x", "note": "d"}
CASE = {"when": "x", "formula": "128"}


@pytest.fixture(scope="module")
def rows():
    return {c.id: c for c in claims()}


def test_no_verdict_has_changed(rows):
    assert {name: claim.verdict for name, claim in rows.items()} == EXPECTED


def test_every_verdict_occurs(rows):
    assert set(Counter(c.verdict for c in rows.values())) == set(VERDICTS)


def test_no_verdict_is_written_in_the_ledger():
    text = shipped("ledger.toml").read_text(encoding="utf-8")
    assert not re.search(r"^(verdict|value|holds)\b", text, re.M)


def test_every_row_names_its_source_and_what_it_claims(rows):
    for claim in rows.values():
        assert claim.says and claim.source and claim.published
        if not claim.cases:
            assert claim.note, f"{claim.id}: a row that is not tested says why"


def test_an_assumption_is_stated_wherever_one_is_made(rows):
    for claim in rows.values():
        assert claim.assumption or claim.verdict != ASSUMING, claim.id
        assert claim.assumption or not claim.results, claim.id


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lora-table2-roberta-base", 294_912),
        ("lora-table4-ft", 174_604_259_328),
        ("lora-table3-gpt2-medium", 393_216),
        ("lora-table15-adapter-h-304.4m", 304_361_472),
        ("lora-table15-lora-pl-52.8m", 51_904_512),
        ("lora-table4-bitfit", 12_988_416),
        ("lora-10000x-checkpoint", 350e9 / 37_748_736),
        ("loralib-roberta-base-file", 3_551_244),
        ("matrix-120x", 128),
        ("qlora-780gb", 783_427_928_064),
        ("dora-lora-0.83", 100 * 56_098_816 / (6_738_415_616 + 56_098_816)),
    ],
)
def test_the_first_case_computes_the_known_number(rows, name, value):
    assert rows[name].cases[0].value == pytest.approx(value, rel=1e-12)


def test_every_step_can_be_redone_by_hand_from_what_is_printed(rows):
    steps = [s for claim in rows.values() for case in (*claim.cases, *claim.evidence) for s in case.steps]
    assert len(steps) > 50
    for step in steps:
        _, working, value = step.rsplit(" = ", 2)
        assert redone(working) == pytest.approx(float(value.replace(",", "")), rel=1e-5), step


def redone(working):
    working = working.partition(", measured on")[0]
    if working.startswith("lowest of "):
        return float(min(re.findall(r"([\d.]+) at ([\d.]+)", working), key=lambda pair: float(pair[0]))[1])
    return eval(re.sub("[A-Za-wyz,]", "", working).replace("x", "*"))  # words such as "tokens" taken out


def test_what_was_measured_names_its_file_and_the_command_that_made_it(rows):
    measured = [c for c in rows.values() if c.results]
    assert len(measured) >= 8
    for claim in measured:
        made_by = json.loads(shipped(f"benchmarks/results/{claim.results}.json").read_text(encoding="utf-8"))["made_by"]
        assert f"made by `{made_by['command']}`" in where(claim.results)
        assert all(f"'{claim.results}'" in case.formula for case in claim.cases)
    for claim in rows.values():
        formulas = " ".join(c.formula for c in claim.cases)
        assert bool(claim.results) == any(f"{f.__name__}(" in formulas for f in (share, best_rate, seeds_where)), (
            claim.id
        )


@pytest.mark.parametrize(
    ("holds", "assumption", "verdict"),
    [
        ([], "", UNTESTED),
        ([False, False], "", NOT),
        ([False], "granted", NOT),
        ([True, True], "", REPRODUCES),
        ([True], "granted", ASSUMING),
        ([True, False], "", ASSUMING),
    ],
)
def test_the_verdict_follows_from_the_cases(holds, assumption, verdict):
    cases = [type("Case", (), {"holds": h, "source": False, "off": None if h else 50}) for h in holds]
    assert judge(cases, "rounded", assumption, in_small=False) == verdict


def ledger(tmp_path, **row):
    """The one claim of a ledger with these keys."""
    text = "[[claim]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in (ROW | row).items())
    (tmp_path / "ledger.toml").write_text(text, encoding="utf-8")
    return claims(tmp_path / "ledger.toml")[0]


def toml(value):
    if isinstance(value, list):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        ({"cases": [CASE | {"source": True}]}, CONSISTENT),
        ({"cases": [CASE | {"source": True}], "assumption": "granted"}, CONSISTENT),
        ({"cases": [CASE | {"source": True}, CASE]}, REPRODUCES),
        ({"cases": [{"when": "x", "formula": "12", "source": True}]}, NOT),
        ({"cases": [{"when": "x", "formula": "129.9"}]}, ROUNDING),
        ({"cases": [{"when": "x", "formula": "126.1"}]}, ROUNDING),
        ({"cases": [{"when": "x", "formula": "130"}]}, NOT),
        ({"cases": [{"when": "x", "formula": "126"}]}, NOT),
        ({"cases": [{"when": "x", "formula": "12"}, {"when": "x", "formula": "129"}]}, ROUNDING),
        ({"cases": [{"when": "x", "formula": "129"}], "compare": "at most"}, NOT),
        ({"cases": [{"when": "x", "formula": "100"}], "compare": "footprint", "factor": 1.3}, MEASURED),
        ({"cases": [{"when": "x", "formula": "98"}], "compare": "footprint", "factor": 1.3}, NOT),
        ({"cases": [{"when": "x", "formula": "129"}], "compare": "footprint", "factor": 1.3}, NOT),
        ({"cases": [{"when": "x", "formula": "12"}], "results": "rank", "assumption": "small"}, SMALL),
        ({"cases": [CASE], "results": "rank", "assumption": "small"}, ASSUMING),
    ],
)
def test_a_verdict_is_in_proportion(tmp_path, row, verdict):
    assert ledger(tmp_path, **row).verdict == verdict


@pytest.mark.parametrize(
    ("row", "off"),
    [
        ({"cases": [{"when": "x", "formula": "12"}, {"when": "x", "formula": "160"}]}, 25),
        ({"cases": [{"when": "x", "formula": "160"}], "compare": "at most"}, 25),
        ({"cases": [{"when": "x", "formula": "96"}], "compare": "at least"}, 25),
        ({"cases": [{"when": "x", "formula": "5"}], "published": "10-100x", "compare": "between"}, 50),
        ({"cases": [{"when": "x", "formula": "150"}], "published": "10-100x", "compare": "between"}, 50),
        ({"cases": [{"when": "x", "formula": "12"}], "published": "0%"}, None),
        ({"cases": [CASE]}, None),
        ({}, None),
    ],
)
def test_a_row_that_does_not_hold_says_by_how_much(tmp_path, row, off):
    assert ledger(tmp_path, **row).off == (off and pytest.approx(off))


@pytest.mark.parametrize(("formula", "verdict"), [("23e9", REPRODUCES), ("25e9", NOT)])
def test_words_are_counted_as_the_figure_that_is_stated(tmp_path, formula, verdict):
    row = {"published": "a consumer GPU", "counted": "24 GB", "compare": "at most"}
    assert ledger(tmp_path, cases=[{"when": "x", "formula": formula}], **row).verdict == verdict


@pytest.mark.parametrize(("formulas", "ours"), [(("12", "128", "129"), "128x"), (("12", "129"), "129x"), ((), "")])
def test_our_number_is_that_of_the_case_that_holds_or_is_nearest(tmp_path, formulas, ours):
    assert ledger(tmp_path, cases=[{"when": "x", "formula": f} for f in formulas]).ours == ours


@pytest.mark.parametrize(
    ("published", "formula", "options", "holds"),
    [
        ("0.3M", "294912", {}, True),
        ("0.35M", "393216", {}, False),
        ("175,255.8M", "175255849999", {}, True),
        ("175,255.8M", "175255850001", {}, False),
        ("301.9M", "301989888", {}, False),
        ("301.9M", "301989888", {"truncated": True}, True),
        ("18M", "18874368", {"binary": True}, True),
        ("35 MB", "36 * 2**20", {"binary": True}, False),
        ("0.25B", "251985920", {}, True),
        ("25%", "24.6", {}, True),
        ("10 ms", "9.6", {}, True),
        ("0.127 bit", "0.12695", {}, True),
    ],
)
def test_a_figure_reproduces_when_ours_rounds_to_the_digits_printed(tmp_path, published, formula, options, holds):
    made = ledger(tmp_path, published=published, cases=[{"when": "x", "formula": formula} | options])
    assert made.cases[0].holds is holds


@pytest.mark.parametrize(
    ("compare", "published", "formula", "holds"),
    [
        ({"compare": "within", "factor": 1.1}, "10,000x", "9251", True),
        ({"compare": "within", "factor": 1.1}, "10,000x", "9000", False),
        ({"compare": "within", "factor": 1.1}, "10,000x", "11001", False),
        ({"compare": "at most"}, "48 GB", "48e9", True),
        ({"compare": "at most"}, "48 GB", "48.1e9", False),
        ({"compare": "at least"}, "780 GB", "783e9", True),
        ({"compare": "between"}, "0.1-1%", "0.52", True),
        ({"compare": "between"}, "0.1-1%", "1.2", False),
        ({"compare": "between"}, "10-100x", "1.5", False),
    ],
)
def test_a_bound_and_a_loose_claim_are_compared_as_they_say(tmp_path, compare, published, formula, holds):
    made = ledger(tmp_path, published=published, cases=[{"when": "x", "formula": formula}], **compare)
    assert made.cases[0].holds is holds


TRAININGS = [  # two seeds; at the second the larger rate overflowed
    {"seed": seed, "r": r, "lr": lr, "test_loss": loss, "score": score, "tuning": False}
    for seed, r, lr, loss, score in (
        (0, 0, 1e-3, 0.2, 0.8), (1, 0, 1e-3, 0.4, 0.9), (0, 8, 1e-2, 0.5, 0.4), (1, 8, 1e-2, 0.3, 0.45),
        (0, 8, 5e-2, 0.1, 0.5), (1, 8, 5e-2, None, None),
    )
]  # fmt: skip
SMALL, LARGE, FULL = {"r": 8, "lr": 1e-2}, {"r": 8, "lr": 5e-2}, {"r": 0}


@pytest.fixture
def trainings(monkeypatch):
    monkeypatch.setattr("minilora.counting.ledger.measured.rows", lambda name: TRAININGS)


@pytest.mark.usefixtures("trainings")
def test_what_is_measured_is_the_arithmetic_of_the_rows():
    assert share("x", SMALL, FULL) == (pytest.approx(50), "100 x (0.4 + 0.45) / (0.8 + 0.9)")
    assert seeds_where("x", "test_loss", SMALL, FULL) == (50, "100 x ((0.5 > 0.2) + (0.3 > 0.4)) / 2")
    assert seeds_where("x", "score", FULL, SMALL, SMALL, FULL)[0] == 100


@pytest.mark.usefixtures("trainings")
def test_a_learning_rate_that_overflowed_at_a_seed_is_not_the_best():
    assert best_rate("x", {"r": 8}) == (1e-2, "lowest of 0.4000 at 0.01")


@pytest.mark.usefixtures("trainings")
@pytest.mark.parametrize("which", [{"r": 8}, {"r": 3}])
def test_settings_that_choose_no_row_or_several_for_a_seed_are_refused(which):
    with pytest.raises(FormatError, match="chooses no row or several"):
        share("x", which, FULL)


@pytest.mark.usefixtures("trainings")
@pytest.mark.parametrize("formula", ["share('x', {0}, {1})", "seeds_where('x', 'score', {0}, {1})"])
def test_a_measure_that_overflowed_is_no_number(formula):
    with pytest.raises(FormatError, match="x: a training of .* overflowed, so it has no score"):
        evaluate(formula.format("{'r': 8, 'lr': 0.05}", "{'r': 0}"))


@pytest.mark.usefixtures("trainings")
def test_a_finding_in_words_holds_when_it_is_seen_at_every_seed(tmp_path):
    formula = "seeds_where('x', 'test_loss', {'r': 8, 'lr': 0.01}, {'r': 0})"
    finding = {"published": "worse", "compare": "every seed"}
    made = ledger(tmp_path, cases=[{"when": "x", "formula": formula}], **finding)
    assert (made.cases[0].holds, made.cases[0].shown) == (False, "50% of seeds")
    assert ledger(tmp_path, cases=[{"when": "x", "formula": "100"}], **finding).cases[0].holds is True


def test_our_figure_is_written_as_the_published_one(tmp_path):
    cases = [{"when": "x", "formula": "36 * 2**20", "binary": binary} for binary in (True, False)]
    assert [c.shown for c in ledger(tmp_path, published="35 MB", cases=cases).cases] == ["36 MiB", "37.75 MB"]


def test_evidence_informs_and_does_not_decide(tmp_path):
    made = ledger(tmp_path, evidence=[{"when": "x", "formula": "128"}])
    assert (made.verdict, made.evidence[0].holds, made.evidence[0].shown) == (UNTESTED, None, "128x")


@pytest.fixture
def from_a_card(tmp_path, monkeypatch):
    """from_a_card([row, ...]) is the evidence of a row of the ledger where a card measured these; None: no file."""

    def made(rows):
        folder = tmp_path / "benchmarks" / "results"
        folder.mkdir(parents=True)
        if rows is not None:
            (folder / "gpu.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        monkeypatch.setattr(shipped_data, "places", lambda: [tmp_path])
        evidence = [
            {"when": "x", "formula": "2 * on_card('resident', 'switch_ms', {'targets': ['q_proj'], 'rank': 16})"}
        ]
        return ledger(tmp_path, published="10 ms", evidence=evidence).evidence[0]

    card_rows.cache_clear()
    yield made
    card_rows.cache_clear()


CARD = {"what": "resident", "card": "H0", "small": False, "targets": ["q_proj"], "rank": 16, "switch_ms": 0.25}


@pytest.mark.parametrize(
    "rows", [None, [], [CARD | {"small": True}], [CARD | {"rank": 8}], [CARD | {"targets": "all-linear"}]]
)
def test_what_no_card_has_measured_is_shown_as_that(from_a_card, rows):
    case = from_a_card(rows)
    assert (case.shown, case.value, case.steps) == ("not measured on a card", None, [])


def test_what_a_card_measured_is_the_latest_row_and_names_the_card(from_a_card):
    case = from_a_card([CARD | {"switch_ms": 7.0}, CARD, CARD | {"what": "adapters"}, CARD | {"small": True}])
    assert (case.shown, case.holds) == ("0.5 ms", None)
    assert case.steps[0].endswith(" = 0.25, measured on H0 = 0.25")


def test_a_measured_figure_has_six_digits_in_the_arithmetic(from_a_card):
    assert " = 0.491241, measured on" in from_a_card([CARD | {"switch_ms": 0.491240993142128}]).steps[0]


def test_a_figure_below_zero_is_shown(from_a_card):
    assert from_a_card([CARD | {"switch_ms": -0.0125}]).shown == "-0.02500 ms"


@pytest.mark.parametrize("name", ["hundreds-of-adapters", "switched-in-milliseconds"])
def test_rows_about_many_adapters_carry_what_a_card_measures(rows, name):
    from benchmarks.gpu import resident

    formulas = " ".join(case.formula for case in rows[name].evidence)
    asked = set(re.findall(r"on_card\('resident', '(\w+)'", formulas))
    assert asked and asked <= set(re.findall(r'"(\w+)":', Path(resident.__file__).read_text(encoding="utf-8")))
    settings = [ast.literal_eval(text) for text in re.findall(r"\{.*?\}", formulas)]
    assert all(any(which.items() <= case.items() for case in resident.RESIDENT.cases) for which in settings)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (
            {"cases": [CASE | {"formula": "on_card('resident', 'switch_ms', {'rank': -1})"}]},
            "what a card measured is evidence, not a case",
        ),
        ({"published": "about ten", "cases": [CASE]}, "'about ten' is not a figure"),
        ({"compare": "roughly"}, "compare is one of"),
        ({"compare": "within"}, "`factor` belongs to within and footprint"),
        ({"factor": 1.1}, "`factor` belongs to within and footprint"),
        ({"compare": "footprint"}, "`factor` belongs to within and footprint"),
        ({"counted": "many", "cases": [CASE]}, "'many' is not a figure"),
        ({"results": "rank", "cases": [CASE]}, "results of a small model need an `assumption`"),
        ({"note": ""}, "a row without `cases` says in its `note` why"),
        ({"verdict": "reproduces"}, "unknown .'verdict'"),
        ({"cases": [{"formula": "1"}]}, "a case has .*; found formula$"),
        ({"cases": [{"when": "x", "formula": "1", "holds": True}]}, "a case has .*; found formula, holds, when"),
        ({"cases": [{"when": "x", "formula": "__import__('os')"}]}, "no function '__import__'"),
        ({"cases": [{"when": "x", "formula": "base('no-such-model')"}]}, "no model 'no-such-model'"),
        ({"cases": [{"when": "x", "formula": "1 / 0"}]}, "division by zero"),
    ],
)
def test_a_malformed_row_is_refused(tmp_path, row, line):
    with pytest.raises(MiniloraError, match=line):
        ledger(tmp_path, **row)


def test_the_same_id_twice_is_refused(tmp_path):
    (tmp_path / "ledger.toml").write_text(2 * ("[[claim]]\n" + "".join(f'{k} = "{v}"\n' for k, v in ROW.items())),
                                          encoding="utf-8")  # fmt: skip
    with pytest.raises(FormatError, match="'a' is there twice"):
        claims(tmp_path / "ledger.toml")


@given(st.text(max_size=40))
def test_a_formula_is_arithmetic_or_refused(text):
    try:
        assert isinstance(evaluate(text)[0], int | float)
    except MiniloraError:
        pass


@pytest.mark.parametrize("text", ["(1).__class__", "[1][0]", "lambda: 1", "1 if 1 else 2", "True", "base"])
def test_a_formula_cannot_do_more_than_arithmetic(text):
    with pytest.raises(MiniloraError, match=r"a formula has numbers, \+ - \* / \*\* and functions"):
        evaluate(text)


def test_a_formula_cannot_make_a_number_that_fills_the_memory():
    with pytest.raises(MiniloraError, match="an exponent of 1000000000"):
        evaluate("2**10**9")


def test_a_printed_figure_is_read_with_its_digits_and_unit():
    made = parse("175,255.8M", "here")
    assert (str(made.low), made.decimals, made.prefix, made.unit) == ("175255.8", 1, "M", "")
    assert parse("10-100 MB", "here").high == 100
