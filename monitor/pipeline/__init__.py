"""The stages between sources and stores: decode, write, announce; what they decide is pure and stands beside them."""
