from wsjax.comparison import verdicts
from wsjax.comparison.distances import Chance


def chance(correlation, deviation=0.02, most=0.3):
    return Chance(correlation, 0.0, deviation, most, 20)


def test_the_order_of_neurons_is_kept():
    found = verdicts.of_chance(chance(0.2), None)
    assert found[::2] == ("fine-tuned", 10.0)
    assert verdicts.of_chance(chance(0.1), None).name == "unrelated"


def test_after_matching_the_most_by_chance_counts():
    raw = chance(0.01)
    assert verdicts.of_chance(raw, chance(0.9)).name == "fine-tuned"
    assert verdicts.of_chance(raw, chance(0.5)).name == "unrelated"
    assert verdicts.of_chance(raw, chance(0.9, most=0.85)).name == "unrelated"


def test_too_few_neurons():
    assert verdicts.of_chance(chance(0.9, deviation=0.3), None).name == "undecided"
