"""The team's file: what the portal offers and what checkout sells."""
