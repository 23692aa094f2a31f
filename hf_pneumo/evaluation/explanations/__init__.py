"""How well maps hold: localization against boxes, faithfulness, sanity checks."""
