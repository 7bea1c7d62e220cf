"""The tools of the lessons: predictions, expectations and figures, and the exercises with their checks.

lesson.py     predict, expect, show_axes, replay: the functions that the cells of a lesson call
answering.py  check, hint, progress, answer: exercises answered in a notebook
browser.py    the same in a page of the site: run a cell, keep the answers, know them again on the next page
judge.py      does a function have the properties that an exercise asks for, and if not, which mistake explains it
compare.py    the comparisons that the checks use, and the words for a difference
mutants.py    mistakes made by machine: the solution with one change, and a sentence for it
mutations.py  the changes of one expression
outcomes.py   mistakes around a right answer
explanations.py  the term or the factor by which one number is wrong
messages.py   a student's error in words
runner.py     judges a student's own file, whose process only answers calls, with a time limit and a memory limit
submission.py  that process
handed_in.py  a student's files under any name, and notebooks
wire.py       values between the two processes
checks/       a file for each lesson: its exercises, their properties, known mistakes and hints
lab/          the short trainings and the measurements that lessons make
"""
