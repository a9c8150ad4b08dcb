"""
The English messages: key -> template, or plural form -> template ("=0" for none at all).

{leads} is a counted phrase ("34 leads"), {statement} a clause without capital or full stop.
"""

from types import MappingProxyType

Message = str | dict[str, str]

MESSAGES: MappingProxyType[str, Message] = MappingProxyType(
    {
        # How sure we are
        "certainty.very_likely": "It is very likely ({percent}) that {statement}.",
        "certainty.likely": "It is likely ({percent}) that {statement}.",
        "certainty.leaning": "Leaning this way ({percent}): {statement}.",
        "certainty.too_early": "It is too early to say whether {statement} ({percent}).",
        # Values
        "percent.under": "less than {percent}",
        "percent.over": "more than {percent}",
        "points": {"one": "{signed} point", "other": "{signed} points"},
        "date.first": "1 {date}",
        "range.one": "exactly {low}",
        "range.some": "between {low} and {high}",
        "leads": {"=0": "no leads", "one": "{n} lead", "other": "{n} leads"},
        "leads_all": {
            "=0": "no leads (all clients)",
            "one": "{n} lead (all clients)",
            "other": "{n} leads (all clients)",
        },
        "quoted": "“{text}”",
        # engagement_score
        "engagement.score": "Engagement is {score} out of 100 for {leads} in the last 30 days.",
        "engagement.score_before": (
            "Engagement is {score} out of 100 for {leads} in the last 30 days, after {before} in the 30 days before."
        ),
        "engagement.unknown": "There is nothing yet to score engagement by for {leads} in the last 30 days.",
        "engagement.increasing": "the score is rising",
        "engagement.decreasing": "the score is falling",
        "engagement.stable": "the score is holding steady",
        # Of engagement, urgency and tone alike
        "no_leads": "No lead came in over the last 30 days.",
        "no_leads_all": "No lead came in over the last 30 days, at any client.",
        "trend.unknown": "It is too early to say whether anything is changing.",
        "trend.nothing_before": "The 30 days before offer nothing to compare with.",
        # urgency_trend
        "urgency.share": "Among {leads} of known urgency in the last 30 days, the share of high urgency is {share}.",
        "urgency.share_before": (
            "Among {leads} of known urgency in the last 30 days, the share of high urgency is {share},"
            " after {before} in the 30 days before."
        ),
        "urgency.unknown": "For {leads} in the last 30 days, the urgency is not known.",
        "urgency.increasing": "high urgency is becoming more frequent",
        "urgency.decreasing": "high urgency is becoming less frequent",
        "urgency.stable": "high urgency is about as frequent as before",
        # tone_distribution
        "tone.dominant": (
            "The leading tone in the last 30 days is {tone}, estimated at {share}, from {leads} of known tone."
        ),
        "tone.perhaps": (
            "The leading tone in the last 30 days seems to be {tone}, estimated at {share}, from {leads} of known tone."
        ),
        "tone.mixed": "No tone clearly leads in the last 30 days, judging by {leads} of known tone.",
        "tone.unknown": "For {leads} in the last 30 days, the tone is not known.",
        "tone.within": "the estimated tone shares are right to within {points}",
        "tone.Professional": "professional",
        "tone.Formal": "formal",
        "tone.Casual": "casual",
        "tone.Friendly": "friendly",
        "tone.Urgent": "urgent",
        "tone.Confident": "confident",
        "tone.Hesitant": "hesitant",
        "tone.Strategic": "strategic",
        "tone.Direct": "direct",
        "tone.Curious": "curious",
        "tone.Neutral": "neutral",
        "tone.Analytical": "analytical",
        "tone.Frustrated": "frustrated",
        "tone.Enthusiastic": "enthusiastic",
        "tone.Other": "“other”",
        "width": {"one": "{n} point", "other": "{n} points"},
        # pattern_detected
        "pattern.share_increasing": "{subject} are more frequent {than}",
        "pattern.share_decreasing": "{subject} are less frequent {than}",
        "pattern.volume_increasing": "new leads are more numerous {than}",
        "pattern.volume_decreasing": "new leads are less numerous {than}",
        "pattern.repeat_contact_increasing": "leads write again more often {than}",
        "pattern.repeat_contact_decreasing": "leads write again less often {than}",
        "pattern.conversion_rate_increasing": "leads convert more often {than}",
        "pattern.conversion_rate_decreasing": "leads convert less often {than}",
        "pattern.other": "the pattern {value} is real",
        "than.own_past": "than before",
        "than.pool": "than the trend of the other clients would suggest",
        "subject.urgency": "leads of {value} urgency",
        "subject.tone": "leads whose tone is {value}",
        "subject.source": "leads from {value}",
        "subject.intent": "leads whose intent is {value}",
        "subject.language": "leads who write in {value}",
        "figures": "In figures: {figures}.",
        "figures.join": "{first}, {second}",
        "figures.points": "about {effect}",
        "figures.points_range": "about {effect} (between {low} and {high})",
        "figures.ratio": "about {effect} times {level}",
        "figures.ratio_range": "about {effect} times {level} (between {low} and {high})",
        "level.own_past": "the earlier level",
        "level.pool": "what that trend would suggest",
        "figures.leads": {
            "=0": "no lead concerned",
            "one": "{n} lead concerned",
            "other": "{n} leads concerned",
        },
        "figures.leads_all": {
            "=0": "no lead concerned among all clients",
            "one": "{n} lead concerned among all clients",
            "other": "{n} leads concerned among all clients",
        },
        "figures.since": "first seen on {date}",
        "pattern.continuing": "This is not new: it was first seen on {date}.",
        "urgency.High": "high",
        "urgency.Medium": "medium",
        "urgency.Low": "low",
        "language.en": "English",
        "language.fr": "French",
        "intent.Quote Request": "“Quote Request”",
        "intent.Service Request": "“Service Request”",
        "intent.B2B Partnership": "“B2B Partnership”",
        "intent.Consultation": "“Consultation”",
        "intent.General Information": "“General Information”",
        "intent.Technical Support": "“Technical Support”",
        # conversion_prediction
        "prediction.count": {
            "=0": "No conversion is expected in the next 30 days from {leads}.",
            "one": "About {n} conversion is expected in the next 30 days from {leads}.",
            "other": "About {n} conversions are expected in the next 30 days from {leads}.",
        },
        "prediction.unknown": "There is nothing yet to predict conversions by in the next 30 days from {leads}.",
        "prediction.range": "the actual number will be {range}",
        "prediction.right": "this number will come close",
        "open_leads": {"=0": "no open leads", "one": "{n} open lead", "other": "{n} open leads"},
        "open_leads_all": {
            "=0": "no open leads (all clients)",
            "one": "{n} open lead (all clients)",
            "other": "{n} open leads (all clients)",
        },
        # conversion and reversion
        "lead.named": "Lead “{name}”",
        "lead.unnamed": "A lead",
        "conversion": "{who} converted{when}{touches}{worth}.",
        "conversion.when": {"=0": " on the day of first contact", "one": " in {n} day", "other": " in {n} days"},
        "conversion.touches": {
            "=0": " without a recorded touch point",
            "one": " after {n} touch point",
            "other": " after {n} touch points",
        },
        "conversion.worth": ", for a value of {value}",
        "conversion.stays": {
            "one": "this conversion will last at least {n} day",
            "other": "this conversion will last at least {n} days",
        },
        "reversion": "{who} is no longer a customer{after}{state}{why}.",
        "reversion.after": {
            "=0": " since the very day of converting",
            "one": " after {n} day",
            "other": " after {n} days",
        },
        "reversion.state": ", and is now tagged {tag}",
        "reversion.mistake": ": the conversion had been recorded by mistake",
        "reversion.stays": {
            "one": "this will still be so in {n} day",
            "other": "this will still be so in {n} days",
        },
        # accuracy_review
        "review.claims": {"one": "{n} past statement", "other": "{n} past statements"},
        "review.claims_all": {
            "one": "{n} past statement about any client",
            "other": "{n} past statements about all clients",
        },
        "review.decided": "Of {claims} that can be checked by now, {right} came true, where {said} was to be expected.",
        "review.pending": {
            "one": "It is not yet time to check the {n} statement made so far.",
            "other": "It is not yet time to check any of the {n} statements made so far.",
        },
        "review.pending_all": {
            "one": "It is not yet time to check the {n} statement made so far about any client.",
            "other": "It is not yet time to check any of the {n} statements made so far about all clients.",
        },
        "review.nothing": "Not one of the past statements can be checked.",
        "review.fits": "over all clients, stated probabilities are right to within {points}",
        "tag.New Lead": "“New Lead”",
        "tag.Active": "“Active”",
        "tag.Contacted": "“Contacted”",
        "tag.Follow-Up": "“Follow-Up”",
        "tag.High Priority": "“High Priority”",
        "tag.High Value": "“High Value”",
        "tag.Qualified": "“Qualified”",
        "tag.Referral": "“Referral”",
        "tag.Converted": "“Converted”",
        "tag.Not Qualified": "“Not Qualified”",
        "tag.Archived": "“Archived”",
        "tag.Deleted": "“Deleted”",
        # Recommendations, by pattern
        "recommendation.urgency_increasing": "Answer leads of high urgency first and shorten the time to a first reply",
        "recommendation.urgency_decreasing": "Expect slower decisions: schedule follow-ups over several weeks",
        "recommendation.tone_increasing": "Adapt replies to the {value} tone of these leads",
        "recommendation.tone_decreasing": "Check whether replies written for the {value} tone still suit most leads",
        "recommendation.source_increasing": "See what brings in leads from {value}, and answer them in time",
        "recommendation.source_decreasing": "Check why leads from {value} make up a smaller share",
        "recommendation.volume_increasing": "Set aside time for more leads, so that none waits longer for a reply",
        "recommendation.volume_decreasing": "Look for what keeps leads away: form, campaigns or season",
        "recommendation.intent_increasing": "Have a good answer ready for leads whose intent is {value}",
        "recommendation.intent_decreasing": "Check that leads whose intent is {value} still find the offer",
        "recommendation.language_increasing": "Have replies in {value} ready",
        "recommendation.language_decreasing": "Check that leads who write in {value} still find the offer",
        "recommendation.repeat_contact_increasing": "Reply sooner, so that leads need not write again",
        "recommendation.repeat_contact_decreasing": "Get back to leads who do not write again by themselves",
        "recommendation.conversion_rate_increasing": "Look at recent conversions for what worked, and keep doing it",
        "recommendation.conversion_rate_decreasing": "Review recently lost leads and how soon they were followed up",
        "recommendation.other": "Look at the leads concerned and adapt the follow-up",
        # Recommended actions, by what the reasons of the most promising leads have in common
        "action.reason_high_urgency": {
            "one": "Reply soon to one promising lead of high urgency: such leads tend to convert more often",
            "other": "Reply soon to {n} promising leads of high urgency: such leads tend to convert more often",
        },
        "action.reason_touch_due": {
            "one": "Get back to one promising lead: those not dealt with lately tend to convert less often",
            "other": "Get back to {n} promising leads: those not dealt with lately tend to convert less often",
        },
        "action.reason_ageing": {
            "one": "Do not let one promising lead wait: the odds tend to be better at its age than later",
            "other": "Do not let {n} promising leads wait: the odds tend to be better at their age than later",
        },
        "action.reason_recent_touch": {
            "one": "Keep in touch with one promising lead: those dealt with lately tend to convert more often",
            "other": "Keep in touch with {n} promising leads: those dealt with lately tend to convert more often",
        },
        "action.reason_source": "Look after leads from {source}: they tend to convert more often",
        # Recommended actions, by fact
        "action.high_urgency_open": {
            "one": "Reply first to the only open lead of high urgency",
            "other": "Reply first to the {n} open leads of high urgency",
        },
        "action.follow_up_open": {
            "one": "Follow up with the only lead tagged “Follow-Up”",
            "other": "Follow up with the {n} leads tagged “Follow-Up”",
        },
        "action.young_open": {
            "one": "Contact the only lead that came in this past week while it is fresh",
            "other": "Contact the {n} leads that came in this past week while they are fresh",
        },
        "action.stale_open": {
            "one": "Revive or archive the only lead open for more than 90 days",
            "other": "Revive or archive the {n} leads open for more than 90 days",
        },
        "action.top_source": "Keep an eye on {source}, the main source of leads",
    }
)
