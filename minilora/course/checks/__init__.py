"""A file for each lesson: its exercises, the properties that their answers must have, known mistakes, and hints."""
