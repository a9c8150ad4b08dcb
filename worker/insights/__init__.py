"""
What is said to people: one or two sentences per snapshot, recommendations and actions, in English or French.

The words of a language stand in its catalogue (`en`, `fr`), how it writes numbers and how sure it may sound in
`speech`, what is said of which finding in `sentences` and `advice`. Adding a language is adding a catalogue.
"""

from worker.insights.advice import recommendation, recommended_actions
from worker.insights.sentences import insight_text

__all__ = ["insight_text", "recommendation", "recommended_actions"]
