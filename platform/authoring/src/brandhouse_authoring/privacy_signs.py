"""Which columns look as if they were about a person, by their name (English and Dutch) and by their values.

Looks only: a person decides. What is missed here is not declared personal, so the words lean towards too many.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from brandhouse_authoring.name_words import AVERAGED, name_words
from brandhouse_authoring.profiling import ColumnProfile
from brandhouse_shared.config import Privacy


class Concern(StrEnum):
    """What is to be done about a column until a person says otherwise."""

    IDENTITY = "says who it is"
    """Left out: it identifies a person and predicts nothing that may be used."""

    PROTECTED = "a protected characteristic"
    """Left out: using it needs a reason in law."""

    HEALTH = "about health"
    """Kept as sensitive: tables about health are about nothing else."""

    PERSONAL = "about a person"
    """Kept as personal."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What a column looks like.

    Attributes:
        what: In a few words, such as "an e-mail address".
        concern: What follows.
    """

    what: str
    concern: Concern

    @property
    def privacy(self) -> Privacy:
        """The privacy class of the field."""
        return Privacy.SENSITIVE if self.concern in (Concern.PROTECTED, Concern.HEALTH) else Privacy.PERSONAL


_NAMES: tuple[tuple[str, Concern, str], ...] = (
    ("an e-mail address", Concern.IDENTITY, "email emailaddress emailadres mailadres e_mail"),
    (
        "a telephone number",
        Concern.IDENTITY,
        ("telephone telefoon telefoonnummer tel phonenumber mobiel gsm phone_number mobile_number phone"),
    ),
    (
        "a bank account",
        Concern.IDENTITY,
        ("iban rekeningnummer bankrekening bank_account account_number accountnumber creditcard card_number"),
    ),
    ("a number of the state", Concern.IDENTITY, "bsn ssn burgerservicenummer sofinummer social_security passport paspoort paspoortnummer"),
    (
        "a person's name",
        Concern.IDENTITY,
        (
            "firstname lastname fullname surname voornaam achternaam first_name last_name full_name middle_name customer_name customername "
            "klantnaam klant_naam patient_name user_name username person_name contact_name student_name employee_name"
        ),
    ),
    ("an address", Concern.IDENTITY, "street straat straatnaam huisnummer house_number housenumber streetname home_address adres address"),
    ("an address on the network", Concern.IDENTITY, "ip_address ipaddress ip_adres mac_address"),
    (
        "religion",
        Concern.PROTECTED,
        "religion religious religie geloof church kerk faith catholic protestant muslim islam jewish hindu christian",
    ),
    (
        "ethnicity",
        Concern.PROTECTED,
        "ethnicity ethnic race ras black hispanic hispan hisp asian nonwhite white afkomst herkomst etniciteit skin_color huidskleur",
    ),
    ("political opinion", Concern.PROTECTED, "political politics politiek political_party politieke_partij"),
    ("sexual orientation", Concern.PROTECTED, "sexual_orientation orientation_sexual geaardheid lgbt gay"),
    ("membership of a union", Concern.PROTECTED, "union vakbond"),
    ("a criminal record", Concern.PROTECTED, "criminal conviction convicted strafblad arrest arrests narr86"),
    (
        "health",
        Concern.HEALTH,
        (
            "health gezondheid diagnosis diagnose disease ziekte disability disabled handicap medical medisch medication medicijn medicine "
            "pregnant pregnancy zwanger bmi blood_pressure bloodpressure bloeddruk cholesterol glucose insulin hiv smoker smoking "
            "smokes cigs cigarettes diabetes hypertension allergy allergie symptom symptoms depression hlth poorhlth"
        ),
    ),
    ("gender", Concern.PERSONAL, "gender sex geslacht female male vrouw man woman"),
    (
        "a date of birth",
        Concern.PERSONAL,
        "dob birthdate birthday birth_date date_of_birth geboortedatum geboortejaar birthyear birth_year born yearborn",
    ),
    ("age", Concern.PERSONAL, "age leeftijd age_years"),
    ("marital status", Concern.PERSONAL, "married marital marital_status burgerlijke_staat gehuwd divorced"),
    ("nationality", Concern.PERSONAL, "nationality nationaliteit citizenship foreign_worker foreigner"),
    ("income", Concern.PERSONAL, "income inkomen salary salaris wage loon earnings faminc famincome"),
    ("a place on the map", Concern.PERSONAL, "lat latitude lon long lng longitude breedtegraad lengtegraad"),
    ("a postcode", Concern.PERSONAL, "postcode zip zipcode zip_code postal_code postalcode pc4 pc6 plz"),
)
MIN_IDENTITIES = 10
"""Different values from which a column can name persons."""

_OF_ONE = ("age", "income")
MAX_AGE = 115
NO_AGE = 500
"""Numbers from here on may be an age in days."""

MAX_TYPING_ERRORS = 0.005
MAX_FRACTIONAL = 0.5
"""Share of the rows: ages of persons are seldom told with decimals."""

_BY_WORD = {word: Sign(what, concern) for what, concern, words in reversed(_NAMES) for word in words.split()}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
_IBAN = re.compile(r"[A-Z]{2}\d{2} ?[A-Z0-9]{4}[A-Z0-9 ]{7,28}")
_PHONE = re.compile(r"(\+|00?)[1-9]\d?[\d ()./-]{7,14}")
_POSTCODE = re.compile(r"[1-9]\d{3} ?[A-Z]{2}")
_IP = re.compile(r"(\d{1,3}\.){3}\d{1,3}")


def find_sign(profile: ColumnProfile) -> Sign | None:
    """Return what a column looks like; None if it does not look as if it were about a person."""
    sign = _by_values(profile) or _by_name(profile.name)
    if sign is None or (sign.concern is Concern.IDENTITY and not _may_identify(profile)):
        return None
    return None if sign.what in _OF_ONE and not _may_be_of_one(sign, profile) else sign


def _may_be_of_one(sign: Sign, profile: ColumnProfile) -> bool:
    """Whether a figure may be about one person: not an average of many, and not the age of a house or a car."""
    if set(name_words(profile.name)) & AVERAGED:
        return False
    if sign.what != "age" or not profile.all_numbers:
        return True
    rows = profile.counts / profile.known
    is_fractional = float(rows[profile.numbers != np.floor(profile.numbers)].sum()) > MAX_FRACTIONAL
    is_older = float(rows[(profile.numbers > MAX_AGE) & (profile.numbers < NO_AGE)].sum()) > MAX_TYPING_ERRORS
    return not (is_fractional or is_older)


def _may_identify(profile: ColumnProfile) -> bool:
    """Whether values can tell persons apart: `phone` may also be a yes or no, or how many there are."""
    if profile.all_numbers:
        return profile.all_whole and profile.distinct > MIN_IDENTITIES and bool(profile.numbers.max() >= 1e5)
    return profile.distinct > MIN_IDENTITIES


def _by_name(name: str) -> Sign | None:
    words = name_words(name)
    pairs = [f"{first}_{second}" for first, second in pairwise(words)]
    whole = "".join(words)
    for word in [*pairs, whole, *(words if len(words) <= 4 else [])]:
        if word in _BY_WORD:
            return _BY_WORD[word]
    return None


def _by_values(profile: ColumnProfile) -> Sign | None:
    some = [value.strip() for value in profile.some]
    if len(some) < 3 or profile.max_length < 6:
        return None
    checks: tuple[tuple[str, Concern, Callable[[str], object]], ...] = (
        ("an e-mail address", Concern.IDENTITY, _EMAIL.fullmatch),
        ("a bank account", Concern.IDENTITY, _IBAN.fullmatch),
        ("a number of the state", Concern.IDENTITY, _is_bsn if len(some) >= 20 else lambda value: None),
        ("an address on the network", Concern.IDENTITY, _IP.fullmatch),
        ("a telephone number", Concern.IDENTITY, _PHONE.fullmatch),
        ("a postcode", Concern.PERSONAL, _POSTCODE.fullmatch),
    )
    for what, concern, fits in checks:
        if sum(bool(fits(value)) for value in some) >= len(some) * 0.9:
            return Sign(what, concern)
    return None


def _is_bsn(value: str) -> bool:
    """Nine digits that pass the Dutch proof of eleven; one number in eleven does so by chance."""
    if not re.fullmatch(r"\d{9}", value):
        return False
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return sum(weight * int(digit) for weight, digit in zip(weights, value, strict=True)) % 11 == 0
