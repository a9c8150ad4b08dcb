"""The messages that people read: one catalogue per language and domain, as text (.po) and compiled (.mo)."""
