"""Several runs together: means, weights and thresholds that validation alone chooses."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.contract.predictions import load_split
from pipeline.contract.scores import best_cut
from pipeline.core.errors import InputError
from pipeline.predict import ensemble
from pipeline.predict.ensemble import join, mixture_weights
from tests.predict.finished_runs import MAPS, TRAIN, Made, finish, report, say


@pytest.fixture(scope="module")
def second(raw_home: Path) -> Made:
    return finish(raw_home, MAPS | {"train": TRAIN | {"seed": 7, "epochs": 2}})


def test_the_mean_of_calibrated_probabilities(maps: Made, second: Made, tmp_path: Path) -> None:
    runs = [maps.opened, second.opened]
    done = say(runs, [maps.home / "raw"], tmp_path / "out.json")
    found = json.loads(done.output.read_text())
    (days, one, _), (_, two, _) = maps.test(), second.test()
    expected = (one + two) / 2
    of = {sample["id"]: list(sample["probability"].values()) for sample in found["samples"]}
    np.testing.assert_allclose([of[day] for day in days.ids.tolist()], expected, rtol=0, atol=1e-6)
    validation = [load_split(made.run, "val") for made in (maps, second)]
    mean = sum(run.decisions.probabilities(v.logits) for run, v in zip(runs, validation, strict=True)) / 2
    # From logits and back the mean changes in its last bit; midway between two of them so does the threshold.
    np.testing.assert_allclose(found["thresholds"], best_cut(validation[0].target, mean).threshold, rtol=1e-9)
    assert report(done.output)["chosen"]["thresholds"] == "chosen on validation"
    assert len(report(done.output)["runs"]) == 2


def test_weights_are_chosen_on_validation_and_help_there(maps: Made, second: Made) -> None:
    runs = [maps.opened, second.opened]
    judged = [load_split(made.run, "val") for made in (maps, second)]
    mean, chosen = join(runs, "mean"), join(runs, "validation")
    np.testing.assert_allclose(chosen.weights.sum(axis=0), 1)
    target = judged[0].target > 0

    def loss(weights: np.ndarray) -> np.ndarray:
        parts = np.stack([run.decisions.probabilities(v.logits) for run, v in zip(runs, judged, strict=True)])
        probability = np.einsum("rk,rnk->nk", weights, parts)
        return -np.log(np.where(target, probability, 1 - probability)).sum(axis=0)

    assert (loss(chosen.weights) <= loss(mean.weights) + 1e-9).all()
    assert (np.abs(chosen.weights - 0.5) > 1e-3).any()


def test_mixture_weights_find_the_best_component() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random((4000, 2))
    happened = generator.random((4000, 2)) < truth
    good, bad = truth, generator.random((4000, 2))
    likelihood = np.stack([np.where(happened, p, 1 - p) for p in (good, bad)])
    weights = mixture_weights(likelihood, 0.0)
    assert (weights[0] > 0.95).all()
    np.testing.assert_allclose(mixture_weights(likelihood, 1e9), 0.5, atol=1e-3)
    # Two equal components: nothing is learned, nothing is preferred.
    np.testing.assert_allclose(mixture_weights(likelihood[[0, 0]], 1.0), 0.5)
    # The stationary point: every component that is used has a mean responsibility of its weight.
    share = weights[:, None] * likelihood
    np.testing.assert_allclose((share / share.sum(axis=0)).mean(axis=1), weights, atol=1e-6)


def test_a_weak_run_hardly_counts_and_equal_ones_stay_equal() -> None:
    generator = np.random.default_rng(1)
    chance = generator.normal(-2.5, 2.0, (360, 3))  # as of a rare class: most days are clear to everybody
    happened = generator.random((360, 3)) < 1 / (1 + np.exp(-chance))

    def said(noise: float) -> np.ndarray:
        return 1 / (1 + np.exp(-(chance + noise * generator.standard_normal(chance.shape))))

    def weights(*noises: float) -> np.ndarray:
        parts = np.stack([said(noise) for noise in noises])
        return mixture_weights(np.where(happened, parts, 1 - parts), ensemble._PRIOR)

    assert (weights(0.2, 4.0)[0] > 0.75).all()
    assert (np.abs(weights(1.0, 1.0)[0] - 0.5) < 0.25).all()


def test_one_class_of_many(charts: Made, both: Made, tmp_path: Path) -> None:
    """A run of charts and one of charts with series answer for the same files together."""
    runs = [charts.opened, both.opened]
    inputs = [both.home / "eur_15m_winsize4" / "test", both.home / "rates.csv"]
    ensemble = join(runs, "validation")
    assert np.ptp(ensemble.weights, axis=1).max() == 0
    done = say(runs, inputs, tmp_path / "out.json", weights="validation")
    found = json.loads(done.output.read_text())
    own = [made.test()[1] for made in (charts, both)]
    expected = np.einsum("r,rnk->nk", ensemble.weights[:, 0], np.stack(own))
    np.testing.assert_allclose([list(s["probability"].values()) for s in found["samples"]], expected, rtol=0, atol=1e-6)
    for sample in found["samples"]:
        assert sum(sample["probability"].values()) == pytest.approx(1)
        assert sample["labels"] == [max(sample["probability"], key=sample["probability"].get)]


def test_runs_that_do_not_fit_together(maps: Made, charts: Made, raw_home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an ensemble needs the same classes"):
        join([maps.opened, charts.opened], "mean")
    split = {"train": [1995], "val": [1994], "test": [1996]}
    elsewhere = finish(raw_home, MAPS | {"store": {"split": split}})
    with pytest.raises(InputError, match="validated on different ones, use mean"):
        join([maps.opened, elsewhere.opened], "validation")
    both = join([maps.opened, elsewhere.opened], "mean")
    thresholds = [made.opened.decisions.thresholds for made in (maps, elsewhere)]
    np.testing.assert_allclose(both.thresholds, np.mean(thresholds, axis=0))
    tokyo = finish(raw_home, MAPS | {"derive": MAPS["derive"] | {"timezone": "America/New_York"}})
    with pytest.raises(InputError, match=r"finds other samples .* the same derive\.timezone"):
        say([maps.opened, tokyo.opened], [raw_home / "raw"], tmp_path / "out.csv")
