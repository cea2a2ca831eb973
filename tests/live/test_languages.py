"""A real server hands out what the package says in other languages."""

import pytest

from languages import HELP, LANGUAGES, LOCALES, NODES, read
from live.server import Server


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_server_has_the_texts_of_every_language(server: Server, language: str) -> None:
    served = server.get("/i18n")[language]
    assert served["nodeDefs"] == read(LOCALES / language / NODES)
    assert served["nodeCategories"] == read(LOCALES / language / "main.json")["nodeCategories"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_server_has_the_help_pages_of_every_language(server: Server, language: str) -> None:
    page = server.fetch(f"/extensions/comfyui-ip-adapter/docs/IPA_Apply/{language}.md").decode()
    assert page == (HELP / "IPA_Apply" / f"{language}.md").read_text("utf-8")
