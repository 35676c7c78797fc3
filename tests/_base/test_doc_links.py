"""Links from the HTML of estimators to their pages of the reference."""

from email.message import Message
from importlib.metadata import PackageNotFoundError
from pydoc import locate

import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from skspecialist import SpecialistPipeline, TaskStructureIdentifier
from skspecialist._base import doc_links as documentation
from skspecialist.independence import FisherZ
from tests._instances import INSTANCES
from tests.test_docs import public_names

ADDRESS = "https://docs.example.org/skspecialist"
ESTIMATORS = {
    name: thing
    for name in public_names()
    if isinstance(thing := locate(name), type) and issubclass(thing, BaseEstimator)
}


@pytest.fixture
def urls(monkeypatch):
    """The addresses that the installed package names: one of the documentation."""
    message = Message()
    monkeypatch.setattr(documentation, "metadata", lambda package: message)
    message["Project-URL"] = "Source, https://code.example.org"
    message["Project-URL"] = f"Documentation, {ADDRESS}/"
    return message


@pytest.mark.parametrize("name", ESTIMATORS)
def test_page_is_the_one_of_the_reference(name):
    # autosummary calls a page as the reference calls the class.
    assert documentation.public_path(ESTIMATORS[name]) == name


@pytest.mark.parametrize("estimator", [*INSTANCES, FisherZ()], ids=repr)
def test_html_links_to_the_page(estimator, urls):
    name = documentation.public_path(type(estimator))
    assert name in ESTIMATORS
    assert f'href="{ADDRESS}/generated/{name}.html"' in estimator._repr_html_()


def test_html_of_estimators_inside_others_links_too(urls):
    html = make_pipeline(SpecialistPipeline(structure=TaskStructureIdentifier()))._repr_html_()
    for name in ("SpecialistPipeline", "TaskStructureIdentifier"):
        assert f"{ADDRESS}/generated/skspecialist.{name}.html" in html


def test_what_has_no_page_has_no_link(urls):
    class Own(TaskStructureIdentifier):
        """Of a user's module."""

    assert documentation.public_path(Own) is None
    assert "generated" not in Own()._repr_html_()


def test_without_an_address_there_is_no_link(urls, monkeypatch):
    del urls["Project-URL"]
    assert "/generated/" not in TaskStructureIdentifier()._repr_html_()
    assert TaskStructureIdentifier()._get_doc_link() == ""

    def not_installed(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(documentation, "metadata", not_installed)
    assert TaskStructureIdentifier()._get_doc_link() == ""
