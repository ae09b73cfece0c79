"""Where notices come from: a node's subscriptions, its history, single fetches, and recorded files."""
