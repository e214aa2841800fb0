"""The team's portcullis.toml: its lines, its shapes, its meaning."""
