"""`minilora claims`: one line a row within 80 columns, details on asking, rows found by the words of a page."""

import csv
import io
import json
from dataclasses import replace

import pytest
from checkpoints import GOLDEN
from click.testing import CliRunner

from minilora.cli.claims import FIELDS, in_detail
from minilora.cli.claims import claims as command
from minilora.counting.ledger.judge import VERDICTS, Case
from minilora.counting.ledger.ledger import claims
from minilora.errors import ConfigError, UnknownNameError

EXPECTED = json.loads((GOLDEN / "ledger_verdicts.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows():
    return {c.id: c for c in claims()}


@pytest.fixture(autouse=True)
def computed_once(rows, monkeypatch):
    monkeypatch.setattr("minilora.counting.ledger.ledger.claims", lambda: list(rows.values()))


def run(*arguments):
    return CliRunner(env={"COLUMNS": "80"}).invoke(
        command, arguments, catch_exceptions=False, standalone_mode=False
    ).stdout  # fmt: skip


def found(*arguments):
    return {row["id"] for row in json.loads(run(*arguments, "--json"))}


@pytest.mark.slow
def test_every_row_is_one_line_of_80_columns(rows):
    lines = run().splitlines()
    assert lines[0].split() == ["verdict", "published", "ours", "what"]
    table = lines[1 : lines.index("")]
    assert len(table) == len(rows)
    for line, claim in zip(table, rows.values(), strict=True):
        assert line.startswith(VERDICTS[claim.verdict])
        assert line[42:].rstrip("…").rstrip() in claim.says
    assert max(map(len, lines)) <= 80


def test_the_tally_has_every_verdict(rows):
    text = run()
    for verdict, word in VERDICTS.items():
        assert f"{sum(c.verdict == verdict for c in rows.values()):4} {word:12} {verdict}" in text


def test_the_tally_leaves_out_what_was_not_found():
    lines = run("--verdict", "does-not").splitlines()
    assert [line for line in lines if line.startswith(" ")] == [f"{len(lines) - 5:4} does-not     does not reproduce"]


@pytest.mark.parametrize(
    ("typed", "row"),
    [
        ("100MB", "files-under-100-mb"), ("24GB", "70b-on-24gb"), ("gpu-hours", "72-times-less-gpu-time"),
        ("affordable", "10-to-100-times-cheaper"), ("laptop", "consumer-gpu"), ("frozen", "base-knowledge-unchanged"),
    ],
)  # fmt: skip
def test_a_row_is_found_however_its_words_are_written(typed, row):
    assert row in found(typed)


def test_details_have_the_arithmetic_of_every_row(rows):
    text = run("--details")
    for claim in rows.values():
        assert f"  id         {claim.id}\n" in text
    assert "8 x (24 x (768 + 768)) = 294,912" in " ".join(text.split())


def test_details_are_folded_at_80_columns():
    assert max(map(len, run("--details").splitlines())) <= 80


def test_a_row_that_is_alone_shows_its_details():
    text = run("120", "4096")
    assert text.startswith("DOES NOT REPRODUCE (6.7% off): A 4096 x 4096 matrix at rank 16: 120 times fewer")
    assert "note" in text and "source" in text


def test_a_long_sum_is_shown_once_in_a_row():
    text = run("lora-10000x-parameters")
    assert text.count("base('gpt3-175b') = ") == 1


def test_what_no_card_has_measured_has_no_arithmetic(rows):
    case = Case("a token with another adapter", "on_card('a', 'b', {})", None, [], "not measured on a card", None)
    text = in_detail(replace(rows["switched-in-milliseconds"], evidence=[case]))
    assert "besides    not measured on a card: a token with another adapter\n" in text and "on_card" not in text


def test_an_assumption_is_printed_whether_the_row_holds_or_not(rows):
    for claim in rows.values():
        if claim.own_assumption:
            assert "assuming" in run(claim.id), claim.id


def test_a_finding_that_a_small_model_does_not_show_is_not_blamed_on_its_source():
    text = run("without-regret-batch-size")
    assert text.startswith("NOT SEEN IN SMALL")
    assert "0.9 million parameters" in text


def test_json_has_one_object_per_row_with_the_verdict_and_what_was_computed():
    made = json.loads(run("--json"))
    assert {r["id"]: r["verdict"] for r in made} == EXPECTED
    for row in made:
        assert row.keys() >= {
            "says",
            "source",
            "published",
            "verdict",
            "assumption",
            "cases",
            "evidence",
            "note",
            "ours",
        }
        assert all(c.keys() >= {"when", "formula", "value", "steps", "holds", "off"} for c in row["cases"])


def test_csv_has_one_line_per_row(rows):
    made = list(csv.DictReader(io.StringIO(run("--csv"))))
    assert tuple(made[0]) == FIELDS
    assert {row["id"]: row["verdict"] for row in made} == EXPECTED
    assert next(r for r in made if r["id"] == "70b-on-24gb")["off_percent"].startswith(("3", "4", "5"))


def test_two_formats_at_once_are_refused():
    with pytest.raises(ConfigError, match="exclude each other"):
        run("--json", "--csv")


@pytest.mark.parametrize("word", VERDICTS.values())
def test_a_verdict_chooses_its_rows(rows, word):
    chosen = found("--verdict", word)
    assert chosen == {c.id for c in rows.values() if VERDICTS[c.verdict] == word}
    assert chosen


def test_several_verdicts_add_up():
    both = found("--verdict", "consistent", "--verdict", "measured")
    assert both == found("--verdict", "consistent") | found("--verdict", "measured")


def test_words_choose_the_rows_that_have_them_all(rows):
    assert found("Without REGRET") == {name for name in rows if name.startswith("without-regret")}
    assert found("regret", "rank 1") < found("regret")


@pytest.mark.parametrize(
    ("typed", "row"),
    [
        ("consumer GPU", "consumer-gpu"),
        ("consumer-grade hardware", "consumer-gpu"),
        ("cheaper", "10-to-100-times-cheaper"),
        ("fraction of the cost", "10-to-100-times-cheaper"),
        ("single GPU", "70b-on-one-gpu"),
        ("hours instead of weeks", "days-against-hours"),
        ("orders of magnitude", "memory-10-to-100-times"),
        ("a few megabytes", "a-few-megabytes"),
        ("under 100 MB", "files-under-100-mb"),
        ("less than 1%", "less-than-1-percent"),
        ("thousands of adapters", "thousands-of-customers"),
        ("multi-tenant", "hundreds-of-adapters"),
        ("hot-swapped", "switched-in-milliseconds"),
        ("catastrophic forgetting", "base-knowledge-unchanged"),
        ("on par with full fine-tuning", "matches-or-exceeds"),
        ("70% less VRAM", "unsloth-50-to-80-percent"),
        ("four A100", "llama3-on-4-a100"),
        ("cheaper fine-tuning", "10-to-100-times-cheaper"),
    ],
)
def test_the_words_of_a_newcomers_page_find_their_row(typed, row):
    assert row in found(typed)


def test_words_in_quotes_that_no_row_has_together_are_looked_for_one_by_one():
    assert found("GPU consumer") == found("GPU", "consumer")


@pytest.mark.parametrize(("typed", "same"), [("10000x", "10,000x"), ("gpt-2 medium", "GPT 2 medium"), ("70b", "70B")])
def test_commas_hyphens_and_capitals_do_not_matter(typed, same):
    assert found(typed) == found(same)


def test_words_that_no_row_has_are_refused():
    with pytest.raises(UnknownNameError, match="no claim has 'quantum'; `minilora claims` shows them all"):
        run("quantum")
    with pytest.raises(UnknownNameError, match="no claim of verdict measured has 'VeRA'"):
        run("VeRA", "--verdict", "measured")
