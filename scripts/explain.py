"""`hf-pneumo explain` from a checkout that is not installed, and its options and function."""

import _cli

from hf_pneumo.cli.explain import Arguments, run

__all__ = ["Arguments", "run"]

if __name__ == "__main__":
    _cli.run("explain")
