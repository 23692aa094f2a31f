"""Tables made shorter say what they said."""

from __future__ import annotations

from hf_pneumo.hub.short_tables import collapsed, in_words

TABLE = """| map | pointing | energy |
|---|---|---|
| a | 0.1 | 0.2 |
| b | 0.3 |  |
| c | 0.1 | 0.2 |
"""


def test_equal_rows_stand_in_one_where_the_first_of_them_stood() -> None:
    assert collapsed(TABLE) == ("| map | pointing | energy |\n|---|---|---|\n| a and c | 0.1 | 0.2 |\n| b | 0.3 |  |\n")


def test_tables_and_words_between_them_stay_apart() -> None:
    assert collapsed(f"{TABLE}\nwords | and more\n\n{TABLE}").split("\n\n")[1] == "words | and more"
    assert collapsed(f"{TABLE}\n{TABLE}").count("| a and c | 0.1 | 0.2 |") == 2


def test_a_table_in_words_names_each_figure_and_skips_empty_cells() -> None:
    assert in_words(TABLE) == "a: pointing 0.1, energy 0.2; b: pointing 0.3; c: pointing 0.1, energy 0.2."
    assert in_words(TABLE.replace("| b |", "|  |")).split("; ")[1] == "pointing 0.3"
