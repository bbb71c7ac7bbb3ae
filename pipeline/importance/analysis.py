"""Search, measure, compare with the null, select, and look at the last block once: everything as JSON values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.artifact import plain
from pipeline.core.config import signature
from pipeline.core.interrupt import Interrupt
from pipeline.core.run import Session
from pipeline.importance.boosting import Machine, defaults
from pipeline.importance.config import ImportanceConfig
from pipeline.importance.folds import Fold, Folds
from pipeline.importance.journal import Journal
from pipeline.importance.judge import baselines, fold_scores, judge_test
from pipeline.importance.measures import Measured, measure
from pipeline.importance.null import Compared, Null, block_length, compare, null_distribution
from pipeline.importance.parallel import workers
from pipeline.importance.samples import Samples
from pipeline.importance.search import Found, block_names, search
from pipeline.importance.selection import Selection, select
from pipeline.importance.verdict import verdict, warnings

TRIALS, SHUFFLES = "trials.jsonl", "shuffles.jsonl"


def work(
    config: ImportanceConfig, samples: Samples, folds: Folds, run: Path, interrupt: Interrupt, session: Session
) -> dict[str, Any]:
    """Do the analysis in a run folder; trials and shuffles that are in its journals are not done again.

    Raises:
        InputError: blocks of the null are too long for the data.
        Interrupted: a stop was asked for; finished trials and shuffles are on disk.
    """
    block = block_length(config, samples, folds) if config.null.shuffles else samples.span + config.labels.horizon
    machine = Machine(len(samples.classes), config.seed, workers(config.threads), config.lightgbm.max_bin)
    best = search(config, samples, folds, machine, Journal(run / TRIALS), interrupt)
    session.beat(force=True, trials=sum(len(one.trials) for one in best))
    interrupt.check("all trials are done")
    params = [one.params for one in best[:-1]]
    found = measure(samples, folds.walk, machine, samples.y, params, config.repeats, config.shap)
    null = null_distribution(config, samples, folds, machine, params, Journal(run / SHUFFLES), interrupt)
    compared = compare(found, null) if null else None
    selection = select(config, found, compared)
    result = plain(
        {
            "data": _data(samples, folds),
            "search": _search(config, folds, best),
            "scores": _scores(config, samples, folds, machine, found, null, compared),
            "test": judge_test(config, samples, folds.test, machine, best[-1].params, selection.selected, block),
            "columns": [_column(samples, found, null, compared, selection, k, config) for k in selection.order],
            "selected": [samples.columns[k] for k in selection.selected],
            "stability": {
                "of_fold": [[samples.columns[k] for k in chosen] for chosen in selection.of_fold],
                "jaccard": selection.jaccard,
                "jaccard_by_chance": selection.by_chance,
            },
            "inputs": dict(zip(samples.inputs, found.input_gain.mean(axis=0).tolist(), strict=True)),
            "settings": signature(config),
        }
    )
    result["verdict"] = verdict(result["scores"], result["test"], config.null.level)
    result["warnings"] = warnings(config, result)
    return dict(result)


def _stamp(moment: int) -> str:
    return str(np.datetime64(int(moment), "us").astype("datetime64[s]")) + "Z"


def _data(samples: Samples, folds: Folds) -> dict[str, Any]:
    def part(fold: Fold) -> dict[str, Any]:
        time = samples.time[fold.judged]
        last = samples.time[fold.train[-1]]
        return {
            "trained": len(fold.train),
            "trained_until": _stamp(last),
            "judged": len(fold.judged),
            "first": _stamp(time[0]),
            "last": _stamp(time[-1]),
        }

    count = np.bincount(samples.y, minlength=len(samples.classes)).tolist()
    return {
        "series": list(samples.series_names),
        "samples": len(samples.y),
        "classes": dict(zip(samples.classes, count, strict=True)),
        "first": _stamp(samples.time[0]),
        "last": _stamp(samples.time[-1]),
        "columns": len(samples.columns),
        "inputs": len(samples.inputs),
        "span": samples.span,
        "purge": folds.purge,
        "embargo": folds.embargo,
        "folds": [part(fold) for fold in folds.walk],
        "test": part(folds.test),
    }


def _search(config: ImportanceConfig, folds: Folds, best: list[Found]) -> dict[str, Any]:
    """Return the search of each judged block; its values are those of inner folds, not of the block."""
    blocks = [
        {"block": name, "params": one.params, "best": one.best, "values": [trial["value"] for trial in one.trials]}
        for name, one in zip(block_names(folds), best, strict=True)
    ]
    return {"trials": config.search.trials, "splits": config.search.splits, "blocks": blocks}


def _scores(
    config: ImportanceConfig,
    samples: Samples,
    folds: Folds,
    machine: Machine,
    found: Measured,
    null: Null | None,
    compared: Compared | None,
) -> dict[str, Any]:
    own = [defaults(config.lightgbm)] * len(folds.walk)
    simple = [baselines(config, samples, fold) for fold in folds.walk]
    return {
        "macro_f1": found.macro_f1,
        "macro_f1_of_config": fold_scores(samples, folds.walk, machine, own),
        "log_loss": found.log_loss,
        "mean": found.macro_f1.mean(),
        "sd": found.macro_f1.std(ddof=1),
        "baselines": {name: [one[name] for one in simple] for name in simple[0]},
        "null": {"macro_f1": null.macro_f1, "block": null.block} if null else None,
        "p_value": compared.macro_f1 if compared else None,
    }


def _column(
    samples: Samples,
    found: Measured,
    null: Null | None,
    compared: Compared | None,
    selection: Selection,
    k: int,
    config: ImportanceConfig,
) -> dict[str, Any]:
    share = found.gain_share
    result: dict[str, Any] = {
        "column": samples.columns[k],
        "derived": samples.derived[k],
        "selected": k in selection.selected,
        "permutation": found.permutation[:, k].mean(),
        "permutation_sd": found.permutation[:, k].std(ddof=1),
        "permutation_folds": found.permutation[:, k],
        "permutation_log_loss": found.permutation_log_loss[:, k].mean(),
        "gain_share": share[:, k].mean(),
        "gain_share_sd": share[:, k].std(ddof=1),
        "gain_share_folds": share[:, k],
        "shap": found.shap[:, k].mean() if found.shap is not None else None,
        "shap_sd": found.shap[:, k].std(ddof=1) if found.shap is not None else None,
        "shap_folds": found.shap[:, k] if found.shap is not None else None,
        "frequency": selection.frequency[k],
    }
    if null is None or compared is None:
        return result | {name: None for name in ("null_q95", "p_permutation", "p_family", "p_gain", "exceeds_null")}
    return result | {
        "null_q95": float(np.quantile(null.permutation[:, k], 0.95)),
        "p_permutation": compared.permutation[k],
        "p_family": compared.family[k],
        "p_gain": compared.gain[k],
        "exceeds_null": bool(compared.permutation[k] <= config.null.level),
    }
