"""A peer: the window's rows in one data frame, counted by groupby, written by one COPY."""

import json

import pandas as pd
import psycopg
from plain_counts import COLUMNS, FAMILY_OF, KINDS, LEVELS, TABLE, URGENCY_OF, WON, ends_of, insight

NAMES = ("client_id", "timestamp", "confidence", "urgency", "tone", "source", "tag", "archived")
READ = """
SELECT l.client_id::text, l."timestamp", (100 * l.confidence_score)::int, l.urgency, l.tone, l.source, l.current_tag,
    l.archived
FROM lead_memory AS l WHERE l."timestamp" >= %(start)s AND l."timestamp" < %(end)s
"""


def frame_of(rows, ends):
    """Make a frame of the rows, with the words understood."""
    frame = pd.DataFrame(rows, columns=list(NAMES))
    frame["now"] = frame["timestamp"] >= ends["middle"]
    frame["urgency"] = frame["urgency"].map(URGENCY_OF).fillna("unknown")
    frame["tone"] = frame["tone"].map(FAMILY_OF).fillna("unknown")
    frame["open"] = ~frame["archived"] & ~frame["tag"].isin(WON)
    recent = frame["timestamp"].where(frame["now"], frame["timestamp"] + (ends["end"] - ends["middle"]))
    frame["recent"] = recent >= ends["recent"]
    return frame


def tables(frame, column, names):
    """Count a column's values by client and window; a dictionary of clients for each window."""
    counts = frame.pivot_table(index=["now", "client_id"], columns=column, aggfunc="size", fill_value=0)
    counts = counts.reindex(columns=names, fill_value=0)
    found = []
    for window in (True, False):
        part = counts.xs(window) if window in counts.index.get_level_values(0) else counts.iloc[:0].droplevel(0)
        found.append(dict(zip(part.index, part.to_dict("records"), strict=True)))
    return found


def contents(frame):
    """Yield (client, analysis, content)."""
    now = frame[frame["now"]]
    clients = now.groupby("client_id")
    total = clients.size()
    engagement = pd.DataFrame(
        {
            "total_leads": total,
            "active_leads": clients["open"].sum(),
            "confidence_hundredths": clients["confidence"].sum(),
            "confidence_known": clients["confidence"].count(),
            "high": (now["urgency"] == "High").groupby(now["client_id"]).sum(),
            "urgency_known": (now["urgency"] != "unknown").groupby(now["client_id"]).sum(),
            "previous_total": frame[~frame["now"]].groupby("client_id").size().reindex(total.index, fill_value=0),
        }
    ).astype(int)
    before = engagement["previous_total"].to_dict()
    for client_id, content in zip(engagement.index, engagement.to_dict("records"), strict=True):
        yield client_id, "engagement_score", content
    for column, name, names in (
        ("urgency", "urgency_trend", [*LEVELS, "unknown"]),
        ("tone", "tone_distribution", list(KINDS)),
    ):
        counts, previous = tables(frame, column, names)
        nothing = dict.fromkeys(names, 0)
        for client_id in before:
            yield client_id, name, {"counts": counts[client_id], "previous": previous.get(client_id, nothing)}
    yield from patterns(frame, before)


def patterns(frame, clients):
    """Yield the sources and the volume of each client."""
    by_source = frame.pivot_table(index=["client_id", "source"], columns="now", aggfunc="size", fill_value=0)
    by_source = by_source.reindex(columns=[True, False], fill_value=0)
    sources = {client_id: {} for client_id in clients}
    for (client_id, source), counts in zip(by_source.index, by_source.to_numpy().tolist(), strict=True):
        if client_id in sources:
            sources[client_id][source] = counts
    volume = frame[frame["recent"]].groupby(["client_id", "now"]).size().to_dict()
    for client_id in clients:
        recent = [int(volume.get((client_id, window), 0)) for window in (True, False)]
        yield client_id, "pattern_detection", {"sources": sources[client_id], "volume": recent}


def run(url, as_of):
    """Read once, count, and write in one transaction."""
    ends = ends_of(as_of)
    with psycopg.connect(url) as conn:
        frame = frame_of(conn.cursor(binary=True).execute(READ, ends).fetchall(), ends)
        rows, total = list(contents(frame)), {}
        for client_id, name, content in rows:
            if name == "engagement_score":
                total[client_id] = insight(content["total_leads"], content["previous_total"])
        with conn.cursor() as cursor, cursor.copy(f"COPY {TABLE} ({COLUMNS}) FROM STDIN") as copy:
            for client_id, name, content in rows:
                copy.write_row((client_id, name, json.dumps(content), total[client_id], 0.5, ends["end"]))
