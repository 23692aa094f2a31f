"""Which files a command reads when it is given a file or a folder, from a checkout that is not installed."""

import _cli  # noqa: F401  (puts the repository's own package on the path)

from hf_pneumo.cli.films import find_films, open_films

__all__ = ["find_films", "open_films"]
