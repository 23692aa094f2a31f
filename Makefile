.PHONY: format check test cards space

format:  ## write every file as ruff has it
	ruff check --fix hf_pneumo space scripts tests && ruff format hf_pneumo space scripts tests

check:  ## what CI checks before the tests
	ruff check hf_pneumo space scripts tests && ruff format --check hf_pneumo space scripts tests
	mypy && python scripts/duplicates.py && python scripts/reproduce.py --check

test:  ## all tests but the slow ones
	python -m pytest

cards:  ## results/README.md, the README's table and the model cards
	python scripts/reproduce.py && python scripts/write_cards.py

space:  ## the page, on this machine
	python space/app.py
