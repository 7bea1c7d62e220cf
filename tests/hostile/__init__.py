"""Hostile input, made by a seed: what people bring by accident or by intent, given to every command.

Case number N of seed S is always the same: a folder with files, a command, and what is known of it. The rule for every
case: success, or exit code 2 and one line of at most 300 printable characters, within a limit of time and memory; no
traceback; inputs unchanged; nothing left behind. Where a generator knows that an input is wrong, success is a fault.

    python -m tests.hostile --cases 100000 --minutes 60 --seed 1
    python -m tests.hostile --seed 1 --replay 4711 --keep folder
"""
