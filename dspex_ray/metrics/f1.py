"""`f1`: the overlap of words, as SQuAD measures it.

Source: P. Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", 2016, and the official
evaluate-v2.0.py. Text is lower-cased, ASCII punctuation and the articles a, an and the are removed, and what is left is
split at white space. F1 is the harmonic mean of precision and recall over the bags of words. Where one side has no word
left, the score is 1 if neither has one, else 0. If the data gives a list of answers, the best one counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from dataclasses import dataclass
from typing import Any

from dspex_ray.example import value_text
from dspex_ray.metrics.field_metric import ABSENT, FieldMetric, differs

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized_words(text: str) -> list[str]:
    """Return the words SQuAD compares: lower case, without ASCII punctuation and articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def token_f1(expected: str, got: str) -> float:
    """Return the F1 of two texts' words, from 0 to 1."""
    wanted, given = normalized_words(expected), normalized_words(got)
    if not wanted or not given:
        return float(wanted == given)
    common = (Counter(wanted) & Counter(given)).total()
    return 2 * common / (len(wanted) + len(given))


@dataclass(frozen=True)
class F1(FieldMetric):
    """The (weighted) mean of the token F1 of the expected output fields."""

    def compare(self, name: str, expected: Any, got: Any) -> tuple[float, str | None]:
        """Return the F1 with the expected text, or with the best of several."""
        if got is ABSENT:
            return 0.0, differs(name, expected, got)
        answers = expected if isinstance(expected, list) and expected else [expected]
        score = max(token_f1(value_text(answer), value_text(got)) for answer in answers)
        return score, None if score == 1 else f"{differs(name, expected, got)} (F1 {score:.2f})"


f1 = F1()
