"""The confirmation's arithmetic, and what it says in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.artifact import read_json, write_json
from pipeline.tune.verdict import DEFAULT, Trained, confirmation_text, early_score, verdict
from tests.tune.small import BASE, search, write

EPOCHS = [{"val_map": 0.2}, {"val_map": 0.5}, {"val_map": 0.4}]


def trained(number: int, *values: float, early: float | None = None) -> list[Trained]:
    return [Trained(number, 43 + k, value, early, f"confirm/{number}.{k}") for k, value in enumerate(values)]


def test_the_mean_wins_not_the_best_of_the_search() -> None:
    runs = [*trained(0, 0.70, 0.72), *trained(5, 0.75, 0.65), *trained(DEFAULT, 0.68, 0.69)]
    found = verdict(runs, {0: 0.73, 5: 0.80}, 2, "maximize")
    assert [row["number"] for row in found["trials"]] == [0, 5]
    assert found["default"]["mean"] == pytest.approx(0.685)
    gain = found["beats_default"]
    # Seed by seed: 0.70 − 0.68 and 0.72 − 0.69; their mean and its standard error.
    assert gain["mean"] == pytest.approx(0.025)
    assert gain["standard_error"] == pytest.approx(0.005)


def test_a_candidate_that_lacks_trainings_is_ranked_behind() -> None:
    found = verdict([*trained(0, 0.9), *trained(5, 0.5, 0.6)], {0: 0.7, 5: 0.6}, 2, "maximize")
    assert [row["number"] for row in found["trials"]] == [5, 0]


def test_a_loss_is_the_better_the_smaller_it_is() -> None:
    runs = [*trained(0, 0.30, 0.32, early=0.4), *trained(5, 0.35, 0.37, early=0.5), *trained(DEFAULT, 0.4, 0.4)]
    found = verdict(runs, {0: 0.42, 5: 0.38}, 2, "minimize")
    assert [row["number"] for row in found["trials"]] == [0, 5]
    assert found["luck"]["trial"] == 5, "the search's best"
    assert found["luck"]["luck"] == pytest.approx(0.5 - 0.38)
    assert found["beats_default"]["mean"] == pytest.approx(0.09)


@pytest.mark.parametrize(
    ("direction", "last", "value"), [("maximize", False, 0.5), ("minimize", False, 0.2), ("maximize", True, 0.4)]
)
def test_what_a_training_would_have_ended_with(direction: str, last: bool, value: float) -> None:
    assert early_score(EPOCHS, "val_map", direction, last) == value
    assert early_score([], "val_map", direction, last) is None


@pytest.mark.parametrize(("schedule", "known"), [("plateau", True), ("cosine", False)])
def test_luck_of_short_trials(place: Path, schedule: str, known: bool) -> None:
    """The first epochs of a longer training are a short one, unless the rate depends on the length."""
    base = BASE | {"train": BASE["train"] | {"epochs": 4, "schedule": {"name": schedule}}}
    path = write(place, base, study={"n_trials": 2, "epochs": 2}, pruner="none")
    plan = search(path, "confirm.best=1", "confirm.seeds=2")
    found = read_json(plan.folder / "confirm.json")
    assert found["luck"]["known"] == known
    row = found["trials"][0]
    if known:
        histories = [read_json(plan.folder / run / "history.json")["epochs"] for run in row["runs"]]
        early = [max(entry["val_map"] for entry in epochs[:2]) for epochs in histories]
        assert row["mean_at_search_epochs"] == pytest.approx(sum(early) / 2)
        assert found["luck"]["luck"] == pytest.approx(row["search_value"] - sum(early) / 2)
    best = read_json(plan.folder / "best_params.json")
    assert best["chosen_by"] == "confirmation"
    assert best["confirmed"]["mean"] == row["mean"]


def test_in_words(tmp_path: Path) -> None:
    assert confirmation_text(tmp_path) == ""
    runs = [*trained(3, 0.70, 0.72, early=0.6), *trained(DEFAULT, 0.68, 0.75)]
    facts = {"metric": "val_map", "epochs": {"search": 5, "confirmation": 30}}
    write_json(tmp_path / "confirm.json", facts | verdict(runs, {3: 0.65}, 2, "maximize"))
    text = confirmation_text(tmp_path)
    assert "trial 3                0.7100 ± 0.0141  n=2  (search 0.6500)" in text
    assert (
        "was 0.6500; with other seeds its settings give 0.6000 ± 0.0000 after 5 epochs: +0.0500 of it was luck" in text
    )
    assert "gain of trial 3 over the base's settings: -0.0050" in text
    assert "no finding" in text
