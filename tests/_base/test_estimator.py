"""Links from the HTML representation of estimators to their pages of the reference."""

from pydoc import locate

import pytest
from sklearn.base import BaseEstimator

from skspecialist import TaskStructureIdentifier
from tests.test_docs import public_names

ADDRESS = "https://skspecialist.readthedocs.io/en/latest/generated"
ESTIMATORS = {
    name: thing
    for name in public_names()
    if isinstance(thing := locate(name), type) and issubclass(thing, BaseEstimator)
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_link_is_to_the_page_of_the_reference(name):
    # autosummary names a page as the reference names the class.
    estimator = object.__new__(ESTIMATORS[name])
    assert estimator._get_doc_link() == f"{ADDRESS}/{name}.html"


def test_html_has_the_link():
    page = f'href="{ADDRESS}/skspecialist.TaskStructureIdentifier.html"'
    assert page in TaskStructureIdentifier()._repr_html_()


def test_class_of_a_user_has_no_link():
    class Own(TaskStructureIdentifier):
        pass

    assert Own()._get_doc_link() == ""
