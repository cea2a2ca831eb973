"""What the registry's scanner stops at: every row finds its example, and the archive has only named exceptions."""

from pathlib import Path

import pytest

from develop import archive, scan
from package import ROOT

FINDINGS = scan.scan(ROOT, archive.files())


@pytest.mark.parametrize("row", scan.ROWS, ids=lambda row: row.name)
def test_every_row_finds_its_example_in_each_of_its_files(row: scan.Row, tmp_path: Path) -> None:
    for ending in row.files:
        (tmp_path / f"file{ending}").write_text(f"first\n{row.example}\n", encoding="utf-8")
        found = scan.scan(tmp_path, [f"file{ending}"])
        assert (row.name, 2) in [(finding.row, finding.line) for finding in found]
        assert scan.unexpected(found) == found


def test_plain_code_is_no_finding(tmp_path: Path) -> None:
    text = "import re\nmodel.train(False)\nWORD = re.compile('x')\nvalue.evaluate(sockets, connected)\n"
    (tmp_path / "plain.py").write_text(text, encoding="utf-8")
    assert scan.scan(tmp_path, ["plain.py"]) == []


def test_the_archive_has_only_what_an_exception_names() -> None:
    assert scan.unexpected(FINDINGS) == []


def test_every_exception_is_still_needed_and_the_page_about_security_names_its_file() -> None:
    assert {(finding.row, finding.file) for finding in FINDINGS} == scan.EXCEPTIONS.keys()
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for _, file in scan.EXCEPTIONS:
        assert f"`{file}`" in page
