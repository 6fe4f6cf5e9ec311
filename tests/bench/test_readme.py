"""The README's results are what the JSON files say."""

import json

import pytest

from bench import readme, result_text

TEXT = f"# Title\nbefore\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"


def test_readme_and_results_agree(repository):
    """`make tables` was run after the last change of bench/results; CI holds it."""
    assert readme.main(["--check"]) == 0, "README.md and bench/results differ: run `make tables`"


def test_every_committed_result_says_where_it_comes_from(repository):
    files = sorted((repository / "bench" / "results").glob("*.json"))
    assert files
    for path in files:
        found = json.loads(path.read_text())
        assert path.stat().st_size < 200_000, path.name
        assert {"script", "commit", "date", "seed", "hardware", "summary"} <= set(found), path.name


def test_only_what_is_between_the_markers_changes(tmp_path):
    page, results = tmp_path / "README.md", tmp_path / "results"
    results.mkdir()
    page.write_text(TEXT)
    arguments = ["--readme", str(page), "--results", str(results)]
    assert readme.main([*arguments, "--check"]) == 1 and page.read_text() == TEXT
    assert readme.main(arguments) == 0
    assert "before" in page.read_text() and "after" in page.read_text()
    assert "old" not in page.read_text() and "Not run yet" in page.read_text()
    assert readme.main([*arguments, "--check"]) == 0


def test_a_readme_without_markers_is_refused():
    with pytest.raises(ValueError, match="once each"):
        readme.with_results("no markers", "x")


def test_a_number_shows_its_doubt():
    assert (
        result_text.number({"mean": 0.12345, "low": 0.1, "high": 0.2, "n": 4})
        == "0.123 (0.100 to 0.200)"
    )
    assert result_text.number("not computed") == "not computed" and result_text.number(None) == "-"
