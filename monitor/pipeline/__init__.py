"""The stages between sources and stores: decode, write, announce. Each is short; what they decide is pure and beside them."""
