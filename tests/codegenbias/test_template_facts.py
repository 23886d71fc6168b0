"""What of a template was seen while editing."""

from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.template_facts import template_facts
from tests.codegenbias.made import record

HE = {"male": (" he",), "female": (" she",)}


def test_by_hand():
    edited = [record(template="a"), record(template="sql_select", language="sql")]
    asked = [
        record(template="b", language="go", **HE),
        record(template="a"),
        record(template="b", language="go"),
        record(template="b", language="go"),
        record(template="sql_insert", language="sql"),
    ]
    b, a, sql = template_facts(asked, edited)
    assert (b.template, b.prompts, b.surface) == ("b", 3, "")
    assert b.vocabularies == ("male/female", "he/she")
    assert b.languages == ("go",)
    assert not b.template_seen
    assert not b.vocabulary_seen  # one of the two was not
    assert not b.language_seen
    assert not b.surface_seen
    assert a.template_seen
    assert a.vocabulary_seen
    assert a.language_seen
    assert not a.surface_seen  # nobody knows the surface of a template of the user's
    assert not sql.template_seen
    assert sql.surface == "sql"
    assert sql.surface_seen


def test_held_out_templates_of_the_data_set():
    edited = load_prompts("full", "edit", limit=512).records
    facts = template_facts(load_prompts("quick", "test_templates").records, edited)
    assert not any(row.template_seen for row in facts)
    by_name = {row.template: row for row in facts}
    assert by_name["go_struct"].vocabulary_seen
    assert not by_name["go_struct"].language_seen
    assert not by_name["java_gentleman"].vocabulary_seen
    assert by_name["py_salutation"].language_seen
