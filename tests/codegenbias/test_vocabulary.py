"""Names of vocabularies."""

import pytest

from hfbiasedit.codegenbias.vocabulary import vocabulary_of
from tests.codegenbias.made import record


@pytest.mark.parametrize(
    ("male", "female", "expected"),
    [
        (["male", "Male", "man"], ["female", "Female", "woman"], "male/female"),
        ([" Male"], [" Female"], "Male/Female"),
        (["MALE"], ["FEMALE"], "MALE/FEMALE"),
        (["M'", "male"], ["F'"], "M/F"),
        ([' "he"'], [' "she"'], "he/she"),
        ([" Mr."], [" Ms.", " Mrs."], "Mr./Ms."),
        ([" 1,"], [" 2,"], "1/2"),
        (["False)"], ["True)"], "False/True"),
        (['"'], ["'"], "\"/'"),
    ],
)
def test_the_first_candidates_name_it(male, female, expected):
    assert vocabulary_of(record(male=tuple(male), female=tuple(female))) == expected
