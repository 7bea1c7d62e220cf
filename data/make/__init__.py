"""The code that makes the shipped data: one small town, its base text, its tasks, its tokenizer."""
