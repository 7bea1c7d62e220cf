"""Tables as text: columns that line up, long cells that no pipe folds, characters that no markup swallows."""

import pytest

from minilora.display.tables import console, new_table, show_facts


def shown(capsys, table):
    console().print(table)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_text_is_on_the_left_and_numbers_are_on_the_right(capsys):
    table = new_table("model", "parameters", text=1)
    table.add_row("gpt2", "5")
    table.add_row("a longer name", "1,234,567")
    head, rule, first, second = shown(capsys, table)
    assert head.split() == ["model", "parameters"] and set(rule.strip()) == {"\u2500"}
    assert first.index("gpt2") == second.index("a longer name")
    assert len(first) == len(second) and first.endswith(" 5") and second.endswith(" 1,234,567")


def test_without_a_number_of_text_columns_all_are_text(capsys):
    table = new_table("a", "b")
    table.add_row("x", "1")
    table.add_row("x", "1234")
    _, _, first, second = shown(capsys, table)
    assert first.index("1") == second.index("1234")


def test_a_title_is_above_the_table(capsys):
    table = new_table("a", title="Which card holds it")
    table.add_row("x" * 30)
    assert shown(capsys, table)[0].strip() == "Which card holds it"


def test_a_long_cell_is_one_line_where_no_terminal_reads(capsys):
    table = new_table("path", "norm", text=1)
    table.add_row("model.layers.0." + "x" * 200, "1.5")
    assert len(shown(capsys, table)) == 3


@pytest.mark.parametrize("text", ["[bold]x[/bold]", ":smile:", "[/]", "a[0]"])
def test_what_looks_like_markup_is_printed_as_it_is(capsys, text):
    table = new_table("a")
    table.add_row(text)
    assert shown(capsys, table)[-1].strip() == text


def test_facts_are_names_and_values_in_two_columns(capsys):
    show_facts(("rank", 8), ("targets", "q_proj,v_proj"), ("scale", 0.5))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line.split() for line in lines] == [["rank", "8"], ["targets", "q_proj,v_proj"], ["scale", "0.5"]]
    assert lines[0].index("8") == lines[1].index("q_proj") == lines[2].index("0.5")
