"""Lists of names in the text of a rule."""


def name_set(text: str) -> frozenset[str]:
    return frozenset(text.split())
