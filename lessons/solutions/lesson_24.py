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
    parts = list(letters)
    for pair in merges:
        parts = merge(parts, pair)
    return parts
