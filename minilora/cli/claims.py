"""`minilora claims`: the published figures and popular claims about LoRA, recomputed now and judged."""

import json
from dataclasses import asdict

import click

from ..display.numbers import number_text
from ..errors import UnknownNameError


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--json", "as_json", is_flag=True, help="A JSON array, one object per claim.")
def claims(words, as_json):
    """Recompute every published figure and popular claim in the ledger, and say which hold.

    With WORDs, only those that have them all in what they say, their source or their name (4096, 70b, QLoRA).

    Each comes with its source, the configurations that could give it, their arithmetic, and the verdict that follows.
    """
    from ..counting.ledger.ledger import claims as recomputed

    rows = [row for row in map(as_row, recomputed()) if has(row, words)]
    if not rows:
        raise UnknownNameError(f"no claim has {' and '.join(map(repr, words))}; `minilora claims` shows them all")
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        show(rows)


def as_row(claim):  # Claim -> dict
    from ..counting.ledger.measured import where

    row = {key: getattr(claim, key) for key in ("id", "says", "source", "published", "compare", "factor")}
    row |= {"verdict": claim.verdict, "assumption": claim.assumption}
    row |= {key: [asdict(case) for case in getattr(claim, key)] for key in ("cases", "evidence")}
    return row | {"results": where(claim.results) if claim.results else "", "note": claim.note}


def has(row, words):
    text = " ".join(row[key] for key in ("says", "source", "id", "published")).lower()
    return all(word.lower() in text for word in words)


def working(case):
    """The lines to redo by hand: how each function's number is made, then the formula, unless it is that function."""
    steps = case["steps"]
    if steps and steps[0].startswith(f"{case['formula']} = "):
        return steps
    return [*steps, f"{case['formula']} = {number_text(case['value'], digits=6)}"]


def show(rows):
    from ..counting.ledger.ledger import VERDICTS

    for row in rows:
        click.echo(f"{row['verdict'].upper()}: {row['says']}")
        rule = {"rounded": "", "within": f", within a factor of {row['factor']}"}.get(row["compare"])
        rule = f", {row['compare']}" if rule is None else rule
        click.echo(f"    published  {row['published']}{rule}   {row['source']}   [{row['id']}]")
        for mark, key in (("", "cases"), ("besides", "evidence")):
            for case in row[key]:
                click.echo(f"    {mark or ('yes' if case['holds'] else 'no'):10} {case['shown']}   {case['when']}")
                for line in working(case):
                    click.echo(f"{'':15}{line}")
        for key in ("results", "assumption", "note"):
            if row[key]:
                click.echo(f"    {key:10} {row[key]}")
        click.echo()
    for verdict in VERDICTS:
        click.echo(f"{sum(r['verdict'] == verdict for r in rows):4} {verdict}")
    click.echo("K, M, G, B, T: powers of 1,000; Ki, Mi, Gi: of 1,024. A card of 24 GB has 24 GiB.")
