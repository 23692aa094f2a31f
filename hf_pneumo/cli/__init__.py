"""The command `hf-pneumo`: a module for each subcommand, with a dataclass of options and a function that runs it."""
