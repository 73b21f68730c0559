"""The words of a column's name, and what they hint at, in English and Dutch."""

import re
import unicodedata


def name_words(name: str) -> list[str]:
    """The words of a column's name: lower case, without accents, cut at capitals, digits and signs."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " ", plain)
    return [word for word in re.split(r"[^a-z0-9]+", spaced.casefold()) if word]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


ID = _set("id uuid guid pk key rownames rowid rownum index idx unnamed")
"""Of a column that numbers things."""

ENTITY = _set(
    """user customer client klant member lid patient account household huishouden person persoon student employee werknemer
    subject respondent gebruiker cust cid uid nr panelist driver sessie session device"""
)
"""Of those whom several rows may be about."""

NUMBERING = _set("nr nummer number no num")
"""At the end of a name: the number of something."""

COUNTING = _set("of aantal count total how")
"""Beside `number`: how many, rather than which."""

HOW_MANY = COUNTING | _set("number nummer num nr cnt counts")
"""Of a count, which is no yes or no although none and one is all that was seen."""

AVERAGED = _set("avg average mean med median gem gemiddeld gemiddelde pct perc percent percentage pcap capita")
"""Of a figure about many persons together."""

PLACE = _set("city stad town plaats county gemeente region regio state province provincie country land wijk buurt district area")

CODE = _set(
    """id code cd type class klasse soort zip zipcode postcode postal category categorie cat cluster segment sku status region
    regio country land state dept department afdeling store shop winkel branch filiaal channel kanaal gender sex geslacht race
    weekday dow dayofweek naics sic zone district wijk buurt gemeente industry occupation occ ind kind"""
)
"""Of whole numbers that stand for kinds."""

LONG_CODE = ID | _set("zip zipcode postcode code sku")
"""Of codes that may be many."""

YEAR = _set("year jaar yr bouwjaar")
TIME = _set("date datum time tijd timestamp created datetime day dag when moment")
"""Of the moment that a row is about."""

OTHER_DATE = _set("birth born dob geboorte geboortedatum birthdate birthday due end expiry expires eind")
"""Of moments that do not order the rows."""

POSITIVE = _set("churn churned fraud spam bad default delayed sold positive pos accepted won")
"""Classes that a question is usually about."""

PRICE = _set(
    "price prijs value waarde cost kosten income inkomen salary salaris wage wages loon revenue omzet amount bedrag rent huur fare earn"
)
COUNT = _set("count counts aantal number num nr n visits bezoeken clicks orders sales calls views rentals cnt total times")
CLASS = _set("class klasse category categorie type label segment group groep cluster species kind grade rating status code")
SHARE = _set("share rate ratio fraction prob probability aandeel")
