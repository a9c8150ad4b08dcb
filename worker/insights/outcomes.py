"""What is said of outcomes: conversions to come, conversions and reversions that happened, and past claims decided."""

from worker import vocabulary
from worker.insights.advice import prediction_step
from worker.insights.content import number_at
from worker.insights.naming import tag_name
from worker.insights.phrases import counted, for_whom
from worker.insights.speech import Speech
from worker.jobs.finding import Finding

LONGEST_NAME = 80  # characters of a lead's name
STAYS_DAYS = 90  # what the claim of an event speaks of where it does not say

# What the application's revert dialogue writes; a reason of free text is not repeated.
_MISTAKES = frozenset(
    vocabulary.fold(reason) for reason in ("Placed in converted by accident", "Placé dans convertis par erreur")
)


def conversion_prediction(finding: Finding, speech: Speech) -> str:
    """Say how many conversions are expected, within which range, and whom to contact first."""
    candidates = (number_at(finding.facts, "n_open"), number_at(finding.content, "cohort", "size"))
    n_open = next((n for n in candidates if n is not None), float(finding.n))
    leads = counted(finding, speech, "open_leads", n_open)
    predicted = number_at(finding.content, "predicted_conversions")
    if predicted is None:
        return speech.say("prediction.unknown", leads=leads)
    fact = speech.say("prediction.count", round(predicted), leads=leads)
    step = prediction_step(finding, speech, n_open)
    return f"{fact} {speech.how_sure(finding.claim.probability, _range(finding, speech), step)}"


def _range(finding: Finding, speech: Speech) -> str:
    low, high = (number_at(finding.claim.parameters, end) for end in ("low", "high"))
    if low is None or high is None:
        return speech.say("prediction.right")
    if low == high:
        return speech.say("prediction.exactly", low=speech.number(low))
    return speech.say("prediction.between", low=speech.number(low), high=speech.number(high))


def conversion(finding: Finding, speech: Speech) -> str:
    """Say who converted, how soon and after how many touch points, and whether it will last."""
    content = finding.content
    when, touches = number_at(content, "days_to_convert"), number_at(content, "touch_points")
    worth = number_at(content, "conversion_value")
    fact = speech.say(
        "conversion",
        who=_who(finding, speech),
        when="" if when is None else speech.say("conversion.when", when),
        touches="" if touches is None else speech.say("conversion.touches", touches),
        worth=speech.say("conversion.worth", value=speech.number(worth)) if worth else "",
    )
    return f"{fact} {_stays(finding, speech)}"


def reversion(finding: Finding, speech: Speech) -> str:
    """Say who is no longer a customer, and whether it will stay so."""
    content = finding.content
    after = number_at(content, "days_as_customer")
    tag = vocabulary.clean_text(content.get("reverted_to"), LONGEST_NAME)
    reason = content.get("reason")
    mistaken = isinstance(reason, str) and vocabulary.fold(reason) in _MISTAKES
    untagged = vocabulary.tag_code(tag) == vocabulary.TAG_NONE
    fact = speech.say(
        "reversion",
        who=_who(finding, speech),
        after="" if after is None else speech.say("reversion.after", after),
        state="" if tag is None or untagged else speech.say("reversion.state", tag=tag_name(speech, tag)),
        why=speech.say("reversion.mistake") if mistaken else "",
    )
    return f"{fact} {_stays(finding, speech)}"


def accuracy_review(finding: Finding, speech: Speech) -> str:
    """Say what became of past claims, and how well the stated probabilities fit."""
    n, pending = (number_at(finding.content, "overall", name) or 0 for name in ("resolved", "pending"))
    said, right = (number_at(finding.content, "overall", name) for name in ("mean_said", "mean_right"))
    if n and said is not None and right is not None:
        claims = counted(finding, speech, "review.claims", n)
        fact = speech.say("review.decided", claims=claims, right=speech.percent(right), said=speech.percent(said))
    elif pending:
        fact = speech.say(for_whom(finding, "review.pending"), pending)
    else:
        fact = speech.say("review.nothing")
    distance = number_at(finding.claim.parameters, "distance")
    width = speech.say("width", round(100 * (0.05 if distance is None else distance)))
    return f"{fact} {speech.how_sure(finding.claim.probability, speech.say('review.fits', points=width))}"


def _stays(finding: Finding, speech: Speech) -> str:
    days = number_at(finding.claim.parameters, "days")
    statement = speech.say(f"{finding.event_type}.stays", STAYS_DAYS if days is None else days)
    return speech.how_sure(finding.claim.probability, statement)


def _who(finding: Finding, speech: Speech) -> str:
    name = vocabulary.clean_text(finding.content.get("lead_name"), LONGEST_NAME)
    return speech.say("lead.named", name=name) if name else speech.say("lead.unnamed")
