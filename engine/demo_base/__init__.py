"""The recipe of the small FLUX that ships with Likeness: data, autoencoder, text, transformer, evaluation.

Nothing in the running service imports this package, except the tests' tiny random base (`tiny.py`).
"""
