"""`hf-pneumo train-film-check` from a checkout that is not installed."""

from _cli import run

if __name__ == "__main__":
    run("train-film-check")
