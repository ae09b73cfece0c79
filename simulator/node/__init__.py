"""The market's node: JSON-RPC over HTTP, PubSub over websocket."""
