"""Language models behind one protocol; see `base.py`."""
