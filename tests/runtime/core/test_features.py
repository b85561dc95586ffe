"""Feature switches."""

from gatehouse.core import features


def test_each_switch_can_be_set() -> None:
    names = vars(features).items()
    switches = {value for name, value in names if name.isupper() and isinstance(value, str)}
    assert switches - {*features.FEATURES} == set(), "add them to FEATURES in core/features.py"
