"""`python -m minilora` is the `minilora` command."""

from .cli import main

main()
