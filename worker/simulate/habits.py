"""The words and habits of simulated companies, as real databases of this product have them."""

import numpy as np

from worker.statistics import FloatArray

# English and French words of each family, as free text from an enricher writes them.
TONES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Professional": (("Professional", "professional"), ("Professionnel", "professionnel")),
    "Formal": (("Formal",), ("Formel",)),
    "Casual": (("Casual", "casual"), ("Décontracté", "decontracte")),
    "Friendly": (("Friendly", "friendly"), ("Amical", "amical")),
    "Urgent": (("Urgent", "urgent"), ("Urgent", "urgente")),
    "Confident": (("Confident",), ("Confiant",)),
    "Hesitant": (("Hesitant", "hesitant"), ("Hésitant", "hésitant")),
    "Strategic": (("Strategic",), ("Stratégique", "strategique")),
    "Direct": (("Direct", "direct"), ("Direct",)),
    "Curious": (("Curious", "curious"), ("Curieux",)),
    "Neutral": (("Neutral",), ("Neutre",)),
    "Analytical": (("Analytical",), ("Analytique",)),
    "Frustrated": (("Frustrated",), ("Frustré",)),
    "Enthusiastic": (("Enthusiastic",), ("Enthousiaste",)),
}
TONE_FAMILIES = tuple(TONES)
TONE_BASE: FloatArray = np.array([22, 6, 12, 14, 9, 5, 6, 3, 8, 6, 4, 2, 2, 1], dtype=np.float64) / 100.0

URGENCIES = ("High", "Medium", "Low")
URGENCY_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # The enricher writes the English words for French leads as well; the French ones are older rows and imports.
    "High": (("High", "High", "High", "high"), ("High", "Élevée", "élevée", "Elevee", "Haute")),
    "Medium": (("Medium", "Medium", "Medium", "medium"), ("Medium", "Moyenne", "moyenne", "Moyen")),
    "Low": (("Low", "Low", "Low", "low"), ("Low", "Faible", "faible")),
}
URGENCY_CONVERSION: FloatArray = np.array([1.5, 1.0, 0.6])  # a High lead converts more often
SOURCES = ("organic_search", "referral", "paid_ads", "social", "email")
SOURCE_BASE: FloatArray = np.array([0.34, 0.16, 0.24, 0.18, 0.08])
SOURCE_CONVERSION: FloatArray = np.array([1.0, 1.4, 0.8, 0.7, 1.1])
INTENTS = (
    ("Quote Request", "Demande de devis"),
    ("Service Request", "Demande de service"),
    ("Consultation", "Consultation"),
    ("General Information", "Information générale"),
    ("B2B Partnership", "Partenariat B2B"),
    ("Technical Support", "Support technique"),
)
INTENT_SHARES = (0.30, 0.26, 0.18, 0.14, 0.06, 0.06)
INDUSTRIES = (
    ("Real Estate", "Immobilier", "Realty", "Immobilier"),
    ("Legal", "Juridique", "Law", "Avocats"),
    ("Home Services", "Services à domicile", "Home Care", "Services"),
    ("Construction", "Construction", "Builders", "Construction"),
    ("Marketing", "Marketing", "Marketing", "Communication"),
    ("Technology", "Technologie", "Software", "Logiciels"),
    ("Health", "Santé", "Clinic", "Clinique"),
)
PLACES = (
    ("Maple Ridge", "Saint-Laurent"),
    ("Harbour", "Vieux-Port"),
    ("Northgate", "Laurentides"),
    ("Cedar Hill", "Mont-Royal"),
    ("Riverside", "Rivière-du-Loup"),
    ("Lakeview", "Lac-Brome"),
    ("Summit", "Belvédère"),
    ("Granville", "Outremont"),
    ("Fairmount", "Rosemont"),
    ("Stonebridge", "Pont-Rouge"),
    ("Kingsway", "Charlevoix"),
)
FIRST_NAMES = (
    ("Sarah", "James", "Priya", "Daniel", "Olivia", "Marcus", "Hannah", "Wei", "Grace", "Omar", "Emily", "Noah"),
    ("Élodie", "Mathieu", "Camille", "Antoine", "Geneviève", "Olivier", "Amélie", "Youssef", "Chloé", "Étienne"),
)
LAST_NAMES = (
    ("Chen", "Walker", "Patel", "Murphy", "Robinson", "Nguyen", "Campbell", "Silva", "Morgan", "Hughes", "Reid"),
    ("Tremblay", "Gagnon", "Bouchard", "Lavoie", "Fortin", "Côté", "Pelletier", "Bélanger", "Girard", "Diallo"),
)
TAGS = {  # English, French
    "new": ("New Lead", "Nouveau Lead"),
    "contacted": ("Contacted", "Contacté"),
    "follow_up": ("Follow-Up", "Suivi"),
    "high": ("High Priority", "Haute Priorité"),
    "converted": ("Converted", "Converti"),
    "lost": ("Not Qualified", "Non Qualifié"),
    "active": ("Active", "Actif"),
}
REVERSION_REASONS = ("Placed in converted by accident", "Placé dans convertis par erreur")

WEEKDAY_FACTORS: FloatArray = np.array([1.15, 1.20, 1.15, 1.10, 1.00, 0.45, 0.35])  # Monday first
WEEKDAY_FACTORS /= WEEKDAY_FACTORS.mean()

# The habits: rates as shares of leads, times in days.
UNKNOWN_URGENCY, UNKNOWN_TONE, UNKNOWN_CONFIDENCE = 0.04, 0.05, 0.05
TEST_LEAD_RATE = 0.01
PHRASE_RATE = 0.12  # tones written as phrases: "Professional and direct"
OTHER_LANGUAGE_RATE = 0.08  # leads who write in the other language than their client's
CONFIDENCE_PRECISION = 12.0  # of the Beta distribution of confidence scores around the client's mean
ENGAGED_DAYS = 7.0  # a lead counts as engaged when touched within so many days
TOUCH_SCALE = 1.5  # of the first touch, an exponential cut off at ENGAGED_DAYS
REPEAT_RATE, REPEAT_SCALE = 0.08, 12.0  # exponential
CONVERSION_SHAPE, CONVERSION_SCALE = 0.9, 30.0  # Weibull, for those who ever convert
EXIT_RATE, EXIT_SHAPE, EXIT_SCALE = 0.35, 1.2, 40.0  # archived, lost or deleted; Weibull
EXITS = ("archive", "lost", "delete")
EXIT_SHARES = (0.50, 0.38, 0.12)
REVERSION_RATE, REVERSION_SCALE = 0.05, 20.0
OUTCOME_RATE = 0.25  # conversions and losses recorded as outcome_status instead of a tag
SCORE_WEIGHTS = (0.4, 0.3, 0.3)  # confidence, urgency, engaged
