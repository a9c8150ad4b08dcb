"""
The French messages, with the keys and the placeholders of the English ones.

A no-break space stands before : and inside « »; none at all takes the singular. {statement} never begins with a vowel,
so that « que » and « si » before it need no elision.
"""

from types import MappingProxyType

from worker.insights.en import Message

MESSAGES: MappingProxyType[str, Message] = MappingProxyType(
    {
        # How sure we are
        "certainty.very_likely": "Il est très probable ({percent}) que {statement}.",
        "certainty.likely": "Il est probable ({percent}) que {statement}.",
        "certainty.leaning": "Tendance possible ({percent}) : {statement}.",
        "certainty.too_early": "Quant à savoir si {statement}, il est trop tôt pour le dire ({percent}).",
        # Values
        "percent.under": "moins de {percent}",
        "percent.over": "plus de {percent}",
        "points": {"one": "{signed} point", "other": "{signed} points"},
        "date.first": "1er {date}",
        "range.one": "exactement {low}",
        "range.some": "entre {low} et {high}",
        "leads": {"=0": "aucun prospect", "one": "{n} prospect", "other": "{n} prospects"},
        "leads_all": {
            "=0": "aucun prospect (tous clients confondus)",
            "one": "{n} prospect (tous clients confondus)",
            "other": "{n} prospects (tous clients confondus)",
        },
        "quoted": "« {text} »",
        # engagement_score
        "engagement.score": "L’engagement atteint {score} sur 100 au cours des 30 derniers jours, pour {leads}.",
        "engagement.score_before": (
            "L’engagement atteint {score} sur 100 au cours des 30 derniers jours, pour {leads},"
            " contre {before} au cours des 30 jours précédents."
        ),
        "engagement.unknown": (
            "Rien ne permet encore d’évaluer l’engagement au cours des 30 derniers jours, pour {leads}."
        ),
        "engagement.increasing": "le score est en hausse",
        "engagement.decreasing": "le score est en baisse",
        "engagement.stable": "le score reste stable",
        # Of engagement, urgency and tone alike
        "no_leads": "Aucun prospect n’est arrivé au cours des 30 derniers jours.",
        "no_leads_all": "Aucun prospect n’est arrivé au cours des 30 derniers jours, tous clients confondus.",
        "trend.nothing_before": "Les 30 jours précédents n’offrent aucun point de comparaison.",
        "trend.unknown": "Quant à savoir si quelque chose change, il est trop tôt pour le dire.",
        # urgency_trend
        "urgency.share": (
            "Au cours des 30 derniers jours, la part d’urgence élevée est de {share}, pour {leads} d’urgence connue."
        ),
        "urgency.share_before": (
            "Au cours des 30 derniers jours, la part d’urgence élevée est de {share}, pour {leads} d’urgence connue,"
            " contre {before} au cours des 30 jours précédents."
        ),
        "urgency.unknown": "Au cours des 30 derniers jours, l’urgence n’est pas connue, pour {leads}.",
        "urgency.increasing": "la part d’urgence élevée augmente",
        "urgency.decreasing": "la part d’urgence élevée diminue",
        "urgency.stable": "la part d’urgence élevée reste à peu près la même",
        # tone_distribution
        "tone.dominant": (
            "Le ton {tone} domine au cours des 30 derniers jours : {share} selon l’estimation,"
            " d’après {leads} au ton connu."
        ),
        "tone.perhaps": (
            "Le ton {tone} semble dominer au cours des 30 derniers jours : {share} selon l’estimation,"
            " d’après {leads} au ton connu."
        ),
        "tone.mixed": "Aucun ton ne domine nettement au cours des 30 derniers jours, d’après {leads} au ton connu.",
        "tone.unknown": "Au cours des 30 derniers jours, le ton n’est pas connu, pour {leads}.",
        "tone.within": "la répartition estimée des tons est juste à {points} près",
        "tone.Professional": "professionnel",
        "tone.Formal": "formel",
        "tone.Casual": "décontracté",
        "tone.Friendly": "amical",
        "tone.Urgent": "urgent",
        "tone.Confident": "confiant",
        "tone.Hesitant": "hésitant",
        "tone.Strategic": "stratégique",
        "tone.Direct": "direct",
        "tone.Curious": "curieux",
        "tone.Neutral": "neutre",
        "tone.Analytical": "analytique",
        "tone.Frustrated": "frustré",
        "tone.Enthusiastic": "enthousiaste",
        "tone.Other": "« autre »",
        "width": {"one": "{n} point", "other": "{n} points"},
        # pattern_detected
        "pattern.share_increasing": "{subject} sont plus fréquents {than}",
        "pattern.share_decreasing": "{subject} sont moins fréquents {than}",
        "pattern.volume_increasing": "les nouveaux prospects sont plus nombreux {than}",
        "pattern.volume_decreasing": "les nouveaux prospects sont moins nombreux {than}",
        "pattern.repeat_contact_increasing": "les prospects réécrivent plus souvent {than}",
        "pattern.repeat_contact_decreasing": "les prospects réécrivent moins souvent {than}",
        "pattern.conversion_rate_increasing": "les prospects se convertissent plus souvent {than}",
        "pattern.conversion_rate_decreasing": "les prospects se convertissent moins souvent {than}",
        "pattern.other": "la tendance {value} est réelle",
        "than.own_past": "qu’auparavant",
        "than.pool": "que ne le laissait attendre l’évolution des autres clients",
        "subject.urgency": "les prospects à urgence {value}",
        "subject.tone": "les prospects au ton {value}",
        "subject.source": "les prospects provenant de {value}",
        "subject.intent": "les prospects dont l’intention est {value}",
        "subject.language": "les prospects qui écrivent en {value}",
        "figures": "En chiffres : {figures}.",
        "figures.join": "{first}, {second}",
        "figures.points": "environ {effect}",
        "figures.points_range": "environ {effect} (entre {low} et {high})",
        "figures.ratio": "environ {effect} fois {level}",
        "figures.ratio_range": "environ {effect} fois {level} (entre {low} et {high})",
        "level.own_past": "le niveau antérieur",
        "level.pool": "ce que cette évolution laissait attendre",
        "figures.leads": {
            "=0": "aucun prospect concerné",
            "one": "{n} prospect concerné",
            "other": "{n} prospects concernés",
        },
        "figures.leads_all": {
            "=0": "aucun prospect concerné, tous clients confondus",
            "one": "{n} prospect concerné, tous clients confondus",
            "other": "{n} prospects concernés, tous clients confondus",
        },
        "figures.since": "premier signe le {date}",
        "pattern.continuing": "Ce n’est pas nouveau : le premier signe remonte au {date}.",
        "urgency.High": "élevée",
        "urgency.Medium": "moyenne",
        "urgency.Low": "faible",
        "language.en": "anglais",
        "language.fr": "français",
        "intent.Quote Request": "« Demande de devis »",
        "intent.Service Request": "« Demande de service »",
        "intent.B2B Partnership": "« Partenariat B2B »",
        "intent.Consultation": "« Consultation »",
        "intent.General Information": "« Information générale »",
        "intent.Technical Support": "« Support technique »",
        # conversion_prediction
        "prediction.count": {
            "=0": "Aucune conversion n’est attendue au cours des 30 prochains jours, pour {leads}.",
            "one": "Environ {n} conversion est attendue au cours des 30 prochains jours, pour {leads}.",
            "other": "Environ {n} conversions sont attendues au cours des 30 prochains jours, pour {leads}.",
        },
        "prediction.unknown": (
            "Rien ne permet encore de prévoir les conversions des 30 prochains jours, pour {leads}."
        ),
        "prediction.range": "le nombre réel sera {range}",
        "prediction.right": "ce nombre sera proche de la réalité",
        "open_leads": {
            "=0": "aucun prospect en cours",
            "one": "{n} prospect en cours",
            "other": "{n} prospects en cours",
        },
        "open_leads_all": {
            "=0": "aucun prospect en cours (tous clients confondus)",
            "one": "{n} prospect en cours (tous clients confondus)",
            "other": "{n} prospects en cours (tous clients confondus)",
        },
        # conversion and reversion
        "lead.named": "Le prospect « {name} »",
        "lead.unnamed": "Un prospect",
        "conversion": "{who} s’est converti{when}{touches}{worth}.",
        "conversion.when": {"=0": " le jour même du premier contact", "one": " en {n} jour", "other": " en {n} jours"},
        "conversion.touches": {
            "=0": " sans point de contact consigné",
            "one": " après {n} point de contact",
            "other": " après {n} points de contact",
        },
        "conversion.worth": ", pour une valeur de {value}",
        "conversion.stays": {
            "one": "cette conversion tiendra au moins {n} jour",
            "other": "cette conversion tiendra au moins {n} jours",
        },
        "reversion": "{who} n’est plus un client{after}{state}{why}.",
        "reversion.after": {
            "=0": " depuis le jour même de sa conversion",
            "one": " après {n} jour",
            "other": " après {n} jours",
        },
        "reversion.state": " et porte désormais l’étiquette {tag}",
        "reversion.mistake": " : la conversion avait été enregistrée par erreur",
        "reversion.stays": {
            "one": "ce sera encore le cas dans {n} jour",
            "other": "ce sera encore le cas dans {n} jours",
        },
        # accuracy_review
        "review.claims": {"one": "{n} affirmation passée", "other": "{n} affirmations passées"},
        "review.claims_all": {
            "one": "{n} affirmation passée (tous clients confondus)",
            "other": "{n} affirmations passées (tous clients confondus)",
        },
        "review.decided": (
            "La part de ce qui s’est révélé juste, parmi ce qui peut être vérifié à ce jour ({claims}),"
            " est de {right}, quand il fallait s’attendre à {said}."
        ),
        "review.pending": {
            "one": "Il est trop tôt pour vérifier la seule affirmation faite jusqu’ici.",
            "other": "Il est trop tôt pour vérifier les {n} affirmations faites jusqu’ici.",
        },
        "review.pending_all": {
            "one": "Il est trop tôt pour vérifier la seule affirmation faite jusqu’ici (tous clients confondus).",
            "other": "Il est trop tôt pour vérifier les {n} affirmations faites jusqu’ici (tous clients confondus).",
        },
        "review.nothing": "Aucune affirmation passée ne peut être vérifiée.",
        "review.fits": "les probabilités annoncées sont justes à {points} près, tous clients confondus",
        "tag.New Lead": "« Nouveau lead »",
        "tag.Active": "« Actif »",
        "tag.Contacted": "« Contacté »",
        "tag.Follow-Up": "« Suivi »",
        "tag.High Priority": "« Haute priorité »",
        "tag.High Value": "« Haute valeur »",
        "tag.Qualified": "« Qualifié »",
        "tag.Referral": "« Référence »",
        "tag.Converted": "« Converti »",
        "tag.Not Qualified": "« Non qualifié »",
        "tag.Archived": "« Archivé »",
        "tag.Deleted": "« Supprimé »",
        # Recommendations, by pattern
        "recommendation.urgency_increasing": (
            "Répondez d’abord aux prospects à urgence élevée et raccourcissez le délai de première réponse"
        ),
        "recommendation.urgency_decreasing": (
            "Attendez-vous à des décisions plus lentes : prévoyez des relances sur plusieurs semaines"
        ),
        "recommendation.tone_increasing": "Adaptez vos réponses au ton {value} de ces prospects",
        "recommendation.tone_decreasing": (
            "Vérifiez si les réponses conçues pour un ton {value} conviennent encore à la plupart des prospects"
        ),
        "recommendation.source_increasing": (
            "Voyez ce qui attire les prospects provenant de {value} et veillez à leur répondre à temps"
        ),
        "recommendation.source_decreasing": (
            "Cherchez pourquoi la part des prospects provenant de {value} est plus faible"
        ),
        "recommendation.volume_increasing": (
            "Prévoyez du temps pour davantage de prospects, afin qu’aucun n’attende plus longtemps une réponse"
        ),
        "recommendation.volume_decreasing": (
            "Cherchez ce qui éloigne les prospects : le formulaire, les campagnes ou la saison"
        ),
        "recommendation.intent_increasing": (
            "Préparez une bonne réponse pour les prospects dont l’intention est {value}"
        ),
        "recommendation.intent_decreasing": (
            "Vérifiez que les prospects dont l’intention est {value} trouvent encore votre offre"
        ),
        "recommendation.language_increasing": "Préparez des réponses en {value}",
        "recommendation.language_decreasing": (
            "Vérifiez que les prospects qui écrivent en {value} trouvent encore votre offre"
        ),
        "recommendation.repeat_contact_increasing": "Répondez plus vite, pour que les prospects n’aient pas à réécrire",
        "recommendation.repeat_contact_decreasing": "Relancez les prospects qui ne réécrivent pas d’eux-mêmes",
        "recommendation.conversion_rate_increasing": (
            "Regardez ce qui a fonctionné dans les dernières conversions et continuez ainsi"
        ),
        "recommendation.conversion_rate_decreasing": (
            "Passez en revue les prospects perdus récemment et la rapidité de leur suivi"
        ),
        "recommendation.other": "Examinez les prospects concernés et adaptez le suivi",
        # Recommended actions, by what the reasons of the most promising leads have in common
        "action.reason_high_urgency": {
            "one": (
                "Répondez vite à un prospect prometteur d’urgence élevée : de tels prospects se convertissent"
                " en général plus souvent"
            ),
            "other": (
                "Répondez vite à {n} prospects prometteurs d’urgence élevée : de tels prospects se convertissent"
                " en général plus souvent"
            ),
        },
        "action.reason_touch_due": {
            "one": (
                "Reprenez contact avec un prospect prometteur : ceux qui n’ont pas été suivis récemment"
                " se convertissent en général moins souvent"
            ),
            "other": (
                "Reprenez contact avec {n} prospects prometteurs : ceux qui n’ont pas été suivis récemment"
                " se convertissent en général moins souvent"
            ),
        },
        "action.reason_ageing": {
            "one": (
                "Ne faites pas attendre un prospect prometteur : à son âge, les chances sont en général meilleures"
                " que plus tard"
            ),
            "other": (
                "Ne faites pas attendre {n} prospects prometteurs : à leur âge, les chances sont en général meilleures"
                " que plus tard"
            ),
        },
        "action.reason_recent_touch": {
            "one": (
                "Gardez le contact avec un prospect prometteur : ceux qui ont été suivis récemment se convertissent"
                " en général plus souvent"
            ),
            "other": (
                "Gardez le contact avec {n} prospects prometteurs : ceux qui ont été suivis récemment se convertissent"
                " en général plus souvent"
            ),
        },
        "action.reason_source": (
            "Soignez les prospects venus de {source} : en général, ils se convertissent plus souvent"
        ),
        # Recommended actions, by fact
        "action.high_urgency_open": {
            "one": "Répondez d’abord au seul prospect en cours à urgence élevée",
            "other": "Répondez d’abord aux {n} prospects en cours à urgence élevée",
        },
        "action.follow_up_open": {
            "one": "Relancez le seul prospect étiqueté « Suivi »",
            "other": "Relancez les {n} prospects étiquetés « Suivi »",
        },
        "action.young_open": {
            "one": "Contactez sans attendre le seul prospect arrivé au cours des 7 derniers jours",
            "other": "Contactez sans attendre les {n} prospects arrivés au cours des 7 derniers jours",
        },
        "action.stale_open": {
            "one": "Relancez ou archivez le seul prospect en cours depuis plus de 90 jours",
            "other": "Relancez ou archivez les {n} prospects en cours depuis plus de 90 jours",
        },
        "action.top_source": "Gardez un œil sur {source}, la principale source de prospects",
    }
)
