"""What the lessons need beside the library: predictions, expectations, figures; and the exercises with their checks.

lesson.py    predict, expect, show: what a lesson's cells call
judge.py     does a function have the properties that an exercise asks for, and if not, which mistake is it
compare.py   the comparisons that the checks are made of, and the words for what is wrong
runner.py    the same for a student's own file, in a process of its own with a time and a memory limit
checks/      a file for each lesson: its exercises, their properties, known mistakes and hints
"""
