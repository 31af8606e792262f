"""What `make release-check` looks at before it builds anything."""

from __future__ import annotations

import re
import shutil

import pytest

from stepfun_async._core.version import __version__

from .release import ROOT, changelog_problems, classifier_problems, products

GOOD = f"# Changelog\n\n## [Unreleased]\n\n## [{__version__}] - 2026-11-30\n\n### Added\n\n- All.\n"


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("", "", None),
        ("[Unreleased]\n", "[Unreleased]\n\n- More.\n", "under [Unreleased]"),
        (f"[{__version__}]", "[9.9.9]", f"no section [{__version__}]"),
        ("2026-11-30", "30.11.2026", "allowed: YYYY-MM-DD"),
        (" - 2026-11-30", "", "allowed: YYYY-MM-DD"),
        ("### Added\n\n- All.\n", "", "is empty"),
        (f"## [{__version__}]", f"## [9.9.9] - 2027-01-01\n\n- New.\n\n## [{__version__}]", "the newest section"),
    ],
)
def test_a_changelog_that_disagrees_with_the_version_is_named(before: str, after: str, problem: str | None) -> None:
    problems = list(changelog_problems(GOOD.replace(before, after, 1)))
    assert (problem or "") in " ".join(problems)
    assert bool(problems) == (problem is not None)


def test_the_version_has_its_section() -> None:
    assert [problem for problem in changelog_problems() if "Unreleased" not in problem] == []


def test_the_classifiers_name_the_pythons_that_ci_runs() -> None:
    assert list(classifier_problems()) == []


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not a checkout")
def test_nothing_that_is_made_from_the_source_is_in_git() -> None:
    assert products() == []


def test_how_to_report_a_vulnerability_names_no_address() -> None:
    reporting = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("## What is promised")[0]
    assert not re.search(r"\w@\w|https?://", reporting)
