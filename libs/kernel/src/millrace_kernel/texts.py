"""What it means for two texts to say the same."""


def says_the_same(one: str, other: str) -> bool:
    """Whether they are equal but for white space: what `exact_match` counts, over a holdout and live."""
    return one == other or one.split() == other.split()
