"""A chat template is a program from a file: one that never ends, or fills the memory, is one line soon."""

import time
import tracemalloc

import pytest

pytest.importorskip("jinja2")

from minilora.errors import DataError, FormatError
from minilora.text.chat_template import ChatTemplate

ASK = [{"role": "user", "content": "Hi"}]
DOUBLE = "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = BOTH %}{% endfor %}{{ n.s }}"


@pytest.mark.parametrize(
    "source",
    [
        "{{ (10**10000000)|string }}", "{{ 10**(10**10) }}", "{{ 'a' * 10**9 }}", "{{ 10**9 * ['a'] }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) if range(99999)|list|length < 0 %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        DOUBLE.replace("BOTH", "n.s ~ n.s"), DOUBLE.replace("BOTH", "n.s + n.s"),
        DOUBLE.replace("BOTH", "[n.s, n.s]"), DOUBLE.replace("BOTH", "(n.s, n.s)"),
        DOUBLE.replace("BOTH", "{'a': n.s, 'b': n.s}"), DOUBLE.replace("BOTH", "dict(a=n.s, b=n.s)"),
        DOUBLE.replace("BOTH", "[n.s, n.s]|join"), DOUBLE.replace("BOTH", "n.s.replace('a', 'aa')"),
        "{{ 'a'|center(1000000000) }}", "{{ 'a'.ljust(1000000000) }}", "{{ '%1000000000d'|format(1) }}",
        "{{ '%1000000000d' % 1 }}", "{{ '{:>1000000000}'.format(1) }}", "{{ messages|tojson(indent=1000000000) }}",
        "{% set s = 'x' * 1000000 %}{% for i in range(99999) %}{{ s }}{% endfor %}",
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_template_without_an_end_or_a_measure_is_refused_in_one_line(source, monkeypatch):
    monkeypatch.setattr("minilora.text.template_bounds.STEPS", 20_000)
    monkeypatch.setattr("minilora.text.template_bounds.SECONDS", 2)
    began = time.process_time()
    with pytest.raises((DataError, FormatError)) as caught:
        ChatTemplate(source).render(ASK)
    assert time.process_time() - began < 8 and "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "source",
    [
        "{{ ('a' * 99999)|replace('a', 'b' * 99999) }}", "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
        "{{ range(99999)|join('a' * 99999) }}", "{{ range(999)|map('string')|join(d='a' * 99999) }}",
        "{{ ('a' * 99999).join(range(999)|map('string')) }}", "{{ ('\\n' * 99999)|indent(9999) }}",
        "{{ ('\\n' * 99999)|indent(width='x' * 9999) }}", "{{ ('\\t' * 99999).expandtabs(9999) }}",
        "{{ ('a' * 999999)|wordwrap(1) }}",
        "{{ ('a' * 99999).translate({97: 'b' * 99999}) }}",
    ],
)  # fmt: skip
def test_a_text_that_would_grow_a_thousandfold_is_refused_before_it_is_made(source):
    tracemalloc.start()
    with pytest.raises(DataError, match="makes a text or a number that is too large"):
        ChatTemplate(source).render(ASK)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


def test_texts_are_replaced_joined_and_indented_as_jinja_does():
    source = "{{ 'aXb'.replace('X', '-') }}{{ 'aXb'|replace('X', '') }}{{ [1, 2]|join }}"
    source += (
        "{{ [1, 2]|map('string')|join(', ') }}{{ '+'.join(['x', 'y']) }}{{ messages|join(' ', attribute='role') }}"
    )
    source += "{{ 'a\\nb'|indent }}{{ 'a\\nb'|indent('>') }}"
    assert ChatTemplate(source).render(ASK) == "a-bab121, 2x+yusera\n    ba\n>b"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ 'a'.encode().ljust(1000000000) | length }}", "it makes bytes, expected text"),
        ("{{ range(2000) | list | tojson(indent='x' * 9000000) | length }}", "a text or a number that is too large"),
        ("{{ range(2000) | list | tojson(separators=['x' * 9000, '']) | length }}", "that is too large"),
        ("{{ range(2000) | list | tojson(indent=99999) | length }}", "that is too large"),
        ("{{ ([range(300) | list] * 300) | sum(start=[]) | length }}", "it does not end, or takes too long"),
    ],
)
def test_bytes_json_and_sums_are_bounded_before_they_are_made(source, said, monkeypatch):
    monkeypatch.setattr("minilora.text.template_bounds.STEPS", 50_000)  # refused in a twentieth of the time
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=said):
            ChatTemplate(source).render(ASK)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_sums_and_json_are_those_of_jinja_and_transformers():
    source = "{{ [1, 2] | sum }} {{ [{'a': 1}, {'a': 2.5}] | sum('a') }} {{ [[1], [2, 3]] | sum(start=[]) }} "
    source += (
        "{{ {'a': [1, 'é']} | tojson }} {{ [1, {}] | tojson(separators=(',', ':')) }} {{ [1] | tojson(indent=2) }}"
    )
    assert ChatTemplate(source).render(ASK) == '3 3.5 [1, 2, 3] {"a": [1, "é"]} [1,{}] [\n  1\n]'


def test_a_namespace_is_written_without_what_it_holds():
    source = DOUBLE.replace("BOTH", "namespace(a=n.s, b=n.s)")
    assert ChatTemplate(source).render(ASK) == "<Namespace>"


def test_tuples_and_lists_are_what_they_are():
    source = "{% for a, b in [(1, {'c': [2]})] %}{% set x, y = 3, 4 %}{{ a }}{{ b }}{{ x + y }}{% endfor %}"
    assert ChatTemplate(source).render(ASK) == "1{'c': [2]}7"


def test_a_template_that_draws_at_random_is_refused():
    with pytest.raises(FormatError, match="does not parse: No filter named 'random'"):
        ChatTemplate("{{ ['a', 'b'] | random }}")


def test_blocks_nested_too_deep_are_refused_in_one_line():
    with pytest.raises(FormatError, match="does not parse"):
        ChatTemplate("{% if messages %}" * 200 + "x" + "{% endif %}" * 200)


def test_a_long_conversation_is_far_from_the_bounds():
    source = "{% for m in messages %}{{ '<' ~ m.role ~ '>' + m['content'] | trim + '\\n' }}{% endfor %}"
    assert ChatTemplate(source).render(ASK * 5_000) == "<user>Hi\n" * 5_000


def test_each_rendering_is_counted_anew(monkeypatch):
    monkeypatch.setattr("minilora.text.template_bounds.STEPS", 300)
    template = ChatTemplate("{% for i in range(100) %}x{% endfor %}")
    assert [template.render(ASK) for _ in range(5)] == ["x" * 100] * 5
