"""What every decoder shares: types, IDL layouts, carriers, the registry, base58."""
