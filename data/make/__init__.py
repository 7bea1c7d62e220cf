"""How the shipped data is made: one small town, its base text, its tasks, its tokenizer. `python -m data.make.build`"""
