"""
What is said to people: one or two sentences per snapshot, recommendations and actions, in English or French.

From the door inwards: `sentences` knows which module speaks of which finding (`monthly`, `patterns`, `outcomes`), and
`advice` what to do; they say it through a language's `speech`, with how sure it may sound, which has the words from a
`catalogue` in worker/locale and the numbers from `numbers`. Babel and the catalogues are loaded when something is said.
"""

from worker.insights.advice import recommendation, recommended_actions
from worker.insights.sentences import insight_text

__all__ = ["insight_text", "recommendation", "recommended_actions"]
