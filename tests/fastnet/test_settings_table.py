"""The documentation lists the settings that there are."""

from tests.settings_table import PAGE, page_with_tables


def test_the_tables_of_the_documentation_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with_tables(page), "write them anew with `python -m tests.settings_table`"
