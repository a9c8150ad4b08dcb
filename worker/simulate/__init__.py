"""
Worlds of known truth: what the demo shows and what the calibration tests are judged against.

Two kinds. Array worlds (`share_world`, `score_world`, `tone_world`) hold counts and means per client and are drawn in
milliseconds; as_leads.py and lead_worlds.py make them into the `Leads` that jobs take. A company world
(`company_world`) holds the same as rows of the application's tables, with the habits real databases have: two
languages, missing values, repeat contacts, reversions, deleted and test leads.
Nothing here reads a clock, a file or a database: the instant and the generator are arguments.
"""

from worker.simulate.arrays import (
    ScoreWorld,
    ShareWorld,
    ToneWorld,
    score_world,
    share_world,
    tone_world,
)
from worker.simulate.changes import (
    CHANGE_KINDS,
    LARGE_WINDOW,
    SCORE_DEAD_BAND,
    SHARE_DEAD_BAND,
    WINDOW_DAYS,
    ChangeKind,
    Sizes,
    Trend,
    change_class,
    draw_changes,
    draw_true_shares,
    draw_window_sizes,
    trend_word,
    walk_back,
)
from worker.simulate.company import World, company_world
from worker.simulate.habits import SOURCES, TONE_BASE, TONE_FAMILIES, TONES, URGENCIES, URGENCY_WORDS
from worker.simulate.plans import PlantedChange, change_plan, demo_plan
from worker.simulate.rows import ActionRow, ClientRow, LeadRow
from worker.simulate.single_leads import BURST_CORRELATION, DUPLICATE_RATE, MEAN_BURST, SingleLeads
from worker.simulate.truth import Truth, weibull_cdf

__all__ = [
    "BURST_CORRELATION",
    "CHANGE_KINDS",
    "DUPLICATE_RATE",
    "LARGE_WINDOW",
    "MEAN_BURST",
    "SCORE_DEAD_BAND",
    "SHARE_DEAD_BAND",
    "SOURCES",
    "TONES",
    "TONE_BASE",
    "TONE_FAMILIES",
    "URGENCIES",
    "URGENCY_WORDS",
    "WINDOW_DAYS",
    "ActionRow",
    "ChangeKind",
    "ClientRow",
    "LeadRow",
    "PlantedChange",
    "ScoreWorld",
    "ShareWorld",
    "SingleLeads",
    "Sizes",
    "ToneWorld",
    "Trend",
    "Truth",
    "World",
    "change_class",
    "change_plan",
    "company_world",
    "demo_plan",
    "draw_changes",
    "draw_true_shares",
    "draw_window_sizes",
    "score_world",
    "share_world",
    "tone_world",
    "trend_word",
    "walk_back",
    "weibull_cdf",
]
