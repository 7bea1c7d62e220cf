"""Solutions of lesson 24."""


def merge(parts, pair):
    merged, at = [], 0
    while at < len(parts):
        if tuple(parts[at : at + 2]) == tuple(pair):
            merged.append(pair[0] + pair[1])
            at += 2
        else:
            merged.append(parts[at])
            at += 1
    return merged


def encode(letters, merges):
    rank = {tuple(pair): place for place, pair in enumerate(merges)}
    parts = list(letters)
    while True:
        there = [pair for pair in zip(parts, parts[1:], strict=False) if pair in rank]
        if not there:
            return parts
        parts = merge(parts, min(there, key=rank.get))
