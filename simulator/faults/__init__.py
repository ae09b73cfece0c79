"""Every way in which a node may misbehave on demand, by schedule or at once."""
