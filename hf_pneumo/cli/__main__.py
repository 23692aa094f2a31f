"""`python -m hf_pneumo.cli COMMAND`, which `accelerate launch -m hf_pneumo.cli COMMAND` starts several times."""

from hf_pneumo.cli.main import main

if __name__ == "__main__":
    main()
