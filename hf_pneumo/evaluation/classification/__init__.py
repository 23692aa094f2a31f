"""How well predictions hold: metrics, calibration, operating points, sets, subgroups and comparisons."""
