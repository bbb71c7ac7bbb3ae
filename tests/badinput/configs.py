"""Wrong configs and command lines."""

from __future__ import annotations

from tests.badinput.case import Case, Place, append, both, rewrite, text


def missing_config(place: Place) -> list[str]:
    return [str(place.home / "tini.yaml")]


def setting(name: str, job: str, says: str, *more: str, **rest: object) -> Case:
    return Case("config", name, job, says, more=more, **rest)  # type: ignore[arg-type]


def file(name: str, job: str, says: str, spoil: object, **rest: object) -> Case:
    return Case("config", name, job, says, spoil=spoil, **rest)  # type: ignore[arg-type]


def line(name: str, job: str, says: str, *words: str, **rest: object) -> Case:
    return Case("command line", name, job, says, words=words, **rest)  # type: ignore[arg-type]


CONFIGS = [
    setting("unknown key", "train", r"command line: train\.epoch: unknown key; did you mean 'epochs'", "train.epoch=3"),
    file(
        "unknown key in the file",
        "train",
        r"tiny\.yaml:\d+: trian: unknown key; did you mean 'train'",
        append("tiny.yaml", "trian: {}\n"),
    ),
    setting("wrong type", "train", r"train\.epochs: should be a valid integer.*found 'many'", "train.epochs=many"),
    setting(
        "out of range", "train", r"train\.optimizer\.lr: should be greater than 0, found -1", "train.optimizer.lr=-1"
    ),
    setting(
        "unknown name",
        "train",
        r"train\.loss\.kind: unknown name 'focall'; did you mean 'focal'",
        "train.loss.kind=focall",
    ),
    file("no such config", "train", r"tini\.yaml: no such config; did you mean .*tiny\.yaml", missing_config),
    file("broken YAML", "derive", r"tiny\.yaml:\d+: not valid YAML", append("tiny.yaml", "a: [1\n")),
    file(
        "key written twice",
        "derive",
        r"tiny\.yaml:\d+: name: written twice, first in line 1",
        append("tiny.yaml", "name: b\n"),
    ),
    setting("year in two splits", "store", r"year 1995 is in train and in test", "store.split.test=[1995]"),
    setting("micro-batches that do not divide", "train", r"batch_size 32 is not divisible by 5", "train.accumulate=5"),
    setting("name that leaves its folder", "derive", r"name: string should match pattern", "name=../x"),
    file(
        "a date that is none",
        "derive",
        r"tiny\.yaml: a value that looks like a date is none",
        append("tiny.yaml", "dataset: 2001-02-30\n"),
    ),
    setting("a number too large", "derive", r"train\.seed: should be less than", "train.seed=99999999999999999999"),
    file(
        "a Python config that leaves",
        "derive",
        r"leave\.py:2: the config raised SystemExit: 3",
        both(text("leave.py", "name = 'x'\nraise SystemExit(3)\n"), lambda place: [str(place.home / "leave.py")]),
    ),
    file(
        "a Python config that fails",
        "derive",
        r"fail\.py:2: the config raised ZeroDivisionError",
        both(text("fail.py", "name = 'x'\nx = 1 / 0\n"), lambda place: [str(place.home / "fail.py")]),
    ),
    file(
        "a Python config that is none",
        "derive",
        r"odd\.py:1: not valid Python",
        both(text("odd.py", "name = = 'x'\n"), lambda place: [str(place.home / "odd.py")]),
    ),
    file(
        "a Python config with a NUL",
        "derive",
        r"nul\.py.*(null|NUL|not valid Python)",
        both(text("nul.py", b"name = 'x'\n\x00\n"), lambda place: [str(place.home / "nul.py")]),
    ),
    file("an empty config", "derive", r"name: required, but not set", text("tiny.yaml", "")),
    file(
        "a config that is a list",
        "derive",
        r"tiny\.yaml:1: expected 'key: value' lines",
        text("tiny.yaml", "- a\n- b\n"),
    ),
    file(
        "a config that is a word", "derive", r"tiny\.yaml:1: expected 'key: value' lines", text("tiny.yaml", "hello\n")
    ),
    file(
        "a config in Latin-1", "derive", r"tiny\.yaml: not UTF-8 text", text("tiny.yaml", "name: é".encode("latin-1"))
    ),
    file("a config with tabs", "derive", r"tiny\.yaml:2: not valid YAML", text("tiny.yaml", "name: x\n\tderive: {}\n")),
    file("a config with a NUL", "derive", r"tiny\.yaml.*not valid YAML", text("tiny.yaml", "name: x\x00\n")),
    file("two documents", "derive", r"tiny\.yaml.*not valid YAML", text("tiny.yaml", "name: x\n---\nname: y\n")),
    file(
        "a section that is a word",
        "derive",
        r"tiny\.yaml:\d+: train: should be a valid dictionary",
        text("tiny.yaml", "name: x\ntrain: fast\n"),
    ),
    file(
        "a key that is a number",
        "derive",
        r"tiny\.yaml:\d+: 12: keys should be strings",
        append("tiny.yaml", "12: 13\n"),
    ),
    file(
        "a key that is a list", "derive", r"tiny\.yaml.*not valid YAML|unhashable", append("tiny.yaml", "[a, b]: 13\n")
    ),
    file(
        "a tag",
        "derive",
        r"tiny\.yaml:\d+: not valid YAML.*constructor",
        append("tiny.yaml", "dataset: !!python/name:os.system\n"),
    ),
    file(
        "an unknown anchor",
        "derive",
        r"tiny\.yaml:\d+: not valid YAML.*alias",
        append("tiny.yaml", "dataset: *there\n"),
    ),
    file(
        "a name that is a number",
        "derive",
        r"tiny\.yaml:1: name: expected text, found 2024; put quotes",
        rewrite("tiny.yaml", lambda contents: contents.replace("name: tiny", "name: 2024")),
    ),
    setting("a name that is nothing", "derive", r"name: expected text, found nothing; empty text is written", "name="),
    setting("a value where a section is", "derive", r"train\.model: should be a valid dictionary", "train.model=big"),
    setting("a key below a value", "derive", r"'epochs' is a value, not a section", "train.epochs.x=3"),
    setting(
        "a rate that is no number",
        "train",
        r"train\.optimizer\.lr: .*(finite|number|greater)",
        "train.optimizer.lr=.nan",
    ),
    setting("a share above one", "train", r"train\.model\.dropout: should be less than", "train.model.dropout=1.5"),
    setting(
        "an hour that is none",
        "derive",
        r"derive\.hours: UTC hours are whole numbers from 0 to 23",
        "derive.hours=[24]",
    ),
    setting("a part beyond the last", "derive", r"derive\.parts.*i of i/n lies within 1 and n", "derive.parts=9/4"),
    setting("a part of nothing", "derive", r"derive\.parts", "derive.parts=1/0"),
    setting("data set with a slash", "derive", r"dataset: string should match pattern", "dataset=a/b"),
    setting("data set of dots", "derive", r"dataset: string should match pattern", "dataset=.."),
    setting(
        "an unknown schedule",
        "train",
        r"train\.schedule\.name: unknown name 'cosin'; did you mean 'cosine'",
        "train.schedule.name=cosin",
    ),
    setting(
        "an unknown source",
        "download",
        r"download\.source: unknown name 'cdx'; did you mean 'cds'",
        "download.source=cdx",
    ),
    setting("nothing to download", "download", r"download", "download.source=none"),
    setting(
        "two mistakes at a time",
        "train",
        r"train\.epochs: should be a valid integer",
        "train.epochs=x",
        "train.batch_size=y",
        lines=2,
    ),
]

COMMANDS = [
    line("no config", "derive", r"no config given"),
    line("override without =", "derive", r"expected key\.sub=value", "./tiny.yaml", "derive.raw"),
    line("override without a key", "derive", r"expected key\.sub=value", "./tiny.yaml", "=3"),
    line("unknown option", "derive", r"unrecognized arguments: --fast", "./tiny.yaml", "--fast"),
    line("an option cut short", "derive", r"unrecognized arguments: --verb", "./tiny.yaml", "--verb"),
    line("a part without a value", "derive", r"--parts: expected one argument", "./tiny.yaml", "--parts"),
    line("two configs", "derive", r"expected key\.sub=value", "./tiny.yaml", "./tune.yaml"),
    line("a folder that is no run", "thresholds", r"not a run folder", "./raw"),
    line("a run that does not exist", "thresholds", r"no such config", "./results/tiny/simple-00000000"),
    line(
        "a config that is an image",
        "derive",
        r"not UTF-8 text|not valid YAML",
        "./picture.yaml",
        spoil=both(text("picture.yaml", b"\x89PNG\r\n\x1a\n\xff\xfe\x00")),
    ),
    line("predict without new files", "predict", r"no new files; give", "./results/tiny/latest", ground="trained"),
    line(
        "predict with what is not there",
        "predict",
        r"nowhere\.nc: no such file",
        "./results/tiny/latest",
        "./nowhere.nc",
        ground="trained",
    ),
    line(
        "predict to a table of another kind",
        "predict",
        r"out\.txt: end it in \.csv, \.json, \.nc",
        "./results/tiny/latest",
        "./raw",
        "--output",
        "./out.txt",
        ground="trained",
    ),
    line("predict with a config", "predict", r"run folder", "./tiny.yaml", "./raw", ground="trained"),
    line(
        "predict as it was not trained",
        "predict",
        r"a run predicts as it was trained",
        "./results/tiny/latest",
        "./raw",
        "train.seed=3",
        ground="trained",
    ),
    line(
        "predict and export at once",
        "predict",
        r"export",
        "./results/tiny/latest",
        "./raw",
        "--export",
        "onyx",
        ground="trained",
    ),
    line(
        "other settings for a run folder",
        "train",
        r"train\.seed=77 would be another run",
        "./results/tiny/latest",
        "train.seed=77",
        ground="trained",
    ),
    line(
        "a sweep over an unknown backbone",
        "run_backbones",
        r"'simpel'; did you mean 'simple'",
        "./tiny.yaml",
        "--backbones",
        "simpel",
        ground="trained",
    ),
    line(
        "a sweep over an unknown fold", "run_backbones", r"'1999'", "./tiny.yaml", "--folds", "1999", ground="trained"
    ),
    line(
        "a sweep with a seed twice",
        "run_backbones",
        r"sweep\.seeds: 1 written twice; keep one",
        "./tiny.yaml",
        "--seeds",
        "1,1",
        ground="trained",
    ),
    line(
        "a sweep of no jobs",
        "run_backbones",
        r"sweep\.jobs: should be greater than or equal to 1",
        "./tiny.yaml",
        "--jobs",
        "0",
        ground="trained",
    ),
    line(
        "a search without a base",
        "tune",
        r"base: required, but not set",
        "./tune.yaml",
        spoil=text("tune.yaml", "study: {}\nsearch_space: {learning_rate: {type: float, low: 1, high: 2}}\n"),
        ground="trained",
    ),
    line(
        "a search of an unknown setting",
        "tune",
        r"no setting of that name; did you mean 'train\.optimizer\.lr'",
        "./tune.yaml",
        spoil=rewrite("tune.yaml", lambda t: t.replace("optimizer.lr", "optimizr.lr")),
        ground="trained",
    ),
    line("a search of nothing", "tune", r"search_space", "./tune.yaml", "search_space={}", ground="trained"),
    line(
        "a search with a range upside down",
        "tune",
        r"low not above high",
        "./tune.yaml",
        "search_space={learning_rate: {type: float, low: 2, high: 1}}",
        ground="trained",
    ),
    line(
        "a search on a base that is gone",
        "tune",
        r"base: \S+nobase\.yaml does not exist",
        "./tune.yaml",
        "base=nobase.yaml",
        ground="trained",
    ),
    line(
        "columns that are not there",
        "importance",
        r"labels\.column: label_x not in \S+truth\.csv; did you mean 'label'",
        "./made.yaml",
        "labels.column=label_x",
    ),
    line("series that are not there", "importance", r"none\.csv", "./made.yaml", "data.files=[none.csv]"),
    line(
        "a range upside down",
        "importance",
        r"search\.rounds: range \[9, 3\]: lowest first",
        "./made.yaml",
        "search.rounds=[9,3]",
    ),
]
