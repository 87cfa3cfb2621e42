"""Coverage-guided fuzzing of everything that reads foreign bytes, with atheris.

Reading order: ``targets`` (what is called with which bytes, and what must hold), ``single`` (one
target under atheris), ``campaign`` (``make fuzz``: all targets, one after another). The targets do
not need atheris: `tests/property/test_fuzz_targets.py` calls them with their seeds and with inputs
that once were faults. Nothing here is part of the product.
"""
