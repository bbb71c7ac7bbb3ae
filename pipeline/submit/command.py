"""``jobs/submit.py``: what was typed becomes tickets, for Slurm or for this machine."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import sys
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.core import logs
from pipeline.core.artifact import digest8, make_folder
from pipeline.core.choose import near
from pipeline.core.config import Section, dump, load
from pipeline.core.errors import InputError, shorten
from pipeline.submit import slurm
from pipeline.submit.chain import STAGES, stages
from pipeline.submit.config import Profile, chosen_profiles, read_profile
from pipeline.submit.fresh import Stages, skipped
from pipeline.submit.local import detach
from pipeline.submit.plan import chunks, tasks_of, with_folds
from pipeline.submit.prune import prune
from pipeline.submit.ranks import PARALLEL, on_ranks, size
from pipeline.submit.snapshot import Code, freeze
from pipeline.submit.ticket import find, jobs_folder, new_ticket, next_id, state
from pipeline.submit.typed import guarded, submit_parser

_NOT_SUBMITTED = ("submit", "status", "notify_run")


def submit_main(doc: str | None, arguments: list[str], project: Path, home: Path) -> int:
    """Do what ``jobs/submit.py`` was asked to; return the exit code."""
    own, flags = arguments, []
    if "--" in arguments:
        own, flags = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    typed = submit_parser(doc or "").parse_intermixed_args(own)
    logs.start(typed.verbose)
    return guarded(lambda: _Submission(typed, flags, project.resolve(), home.resolve()).run())


@dataclass(frozen=True)
class _After:
    """A ticket to wait for."""

    id: str
    how: str
    slurm: list[str]
    """Ids of what is to be waited for, by piece where pieces correspond."""
    done: bool = False


class _Submission:
    """One command line at work."""

    def __init__(self, typed: argparse.Namespace, flags: list[str], project: Path, home: Path) -> None:
        self.typed, self.flags, self.project, self.home = typed, flags, project, home
        self.script = _script(project, typed.job)
        profiles = Path(typed.profiles or os.environ.get("ISOBAR_PROFILES") or project / "slurm" / "profiles.yaml")
        names = chosen_profiles(typed.profile, STAGES if typed.job == "chain" else (typed.job,))
        self.profiles = {job: read_profile(profiles, names[job], typed.set) for job in names}
        self.profiles.setdefault("", read_profile(profiles, None, typed.set))
        self.on_slurm = typed.cluster == "slurm" or (typed.cluster is None and slurm.available())
        self.number = int(next_id(home)[1:])
        if typed.cluster == "slurm" and not slurm.available():
            raise InputError("command line: --cluster slurm: there is no sbatch on this machine; use --cluster local")

    def run(self) -> None:
        """Check everything, then submit it (or show it)."""
        typed = self.typed
        tasks = tasks_of(typed.config, typed.overrides, typed.array)
        model = _config_class(self.script)
        configs = [_checked(words, model) for words in tasks]
        if typed.folds is not None:
            tasks = with_folds(tasks, typed.folds, [_folds(config, typed.job) for config in configs])
            configs = [_checked(words, model) for words in tasks]
        elif typed.job == "chain" and _folds(configs[0], typed.job) and not typed.array:
            folds = _folds(configs[0], typed.job)
            logs.log.info("one training; store.split makes %d folds: --folds all trains each", len(folds))
        after = [self._found(word) for word in typed.after]
        if not typed.dry_run:
            prune(self.home)
        code = freeze(self.project, self.home, wanted=typed.snapshot, write=not typed.dry_run)
        if not code.frozen:
            logs.log.warning("%s", code.facts["why"])
        if typed.job == "chain":
            self._chain(tasks, configs, after, code)
        else:
            self._one(typed.job, typed.name or _name(typed.job, typed.config, configs[0]), tasks, after, code)
        if typed.dry_run and configs[0] is not None:
            print(f"# the resolved config{' of the first task' if len(tasks) > 1 else ''}\n{dump(configs[0])}", end="")

    def _chain(self, tasks: list[list[str]], configs: list[Section | None], after: list[_After], code: Code) -> None:
        left_out = skipped(cast(list[Stages], configs), self.home)
        for job, why in left_out.items():
            print(f"{job:<10} skipped: {why}")
        before: list[list[str]] = []
        for stage in stages(tasks, [self.typed.config, *self.typed.overrides], left_out):
            name = _name(stage.job, self.typed.config, configs[0]) if self.typed.name is None else ""
            name = name or f"{stage.job}-{self.typed.name}"
            # Task by task only behind a stage of this chain that has the same tasks.
            how = stage.how if before == stage.tasks else "afterok"
            waits = [_After(one.id, how, one.slurm, one.done) for one in after]
            after, before = [self._one(stage.job, name, stage.tasks, waits, code)], stage.tasks

    def _one(self, job: str, name: str, tasks: list[list[str]], after: list[_After], code: Code) -> _After:
        profile_name, profile = self._profile(job)
        facts = {
            "name": name,
            "cluster": "slurm" if self.on_slurm else "local",
            "job": job,
            "typed": shlex.join([f"jobs/{job}.py", *tasks[0], *self.flags]),
            "tasks": [self._words(words, code) for words in tasks],
            "python": profile.python or sys.executable,
            "program": [*inside(profile, [self.home, code.root]), str(code.root / "jobs" / f"{job}.py")],
            "ranks": layout(profile),
            "place": str(code.root),
            "variables": {"ISOBAR_HOME": str(self.home), "PYTHONPATH": _python_path(code.root), **_git_note(code)},
            "after": [{"id": one.id, "how": one.how} for one in after if not one.done],
            "requeues": profile.requeues,
            "warning": profile.warning_seconds,
            "limit": 60 * profile.minutes,
            "parallel": min(profile.array_parallelism, max(1, (os.cpu_count() or 1) // profile.cpus)),
            "profile": {"name": profile_name, **profile.model_dump(mode="json", exclude_defaults=True)},
            "code": code.facts,
        }
        most = slurm.max_array_size() if self.on_slurm and len(tasks) > 1 else len(tasks)
        waits = _dependencies(after, len(chunks(len(tasks), most)))
        if self.typed.dry_run:
            return self._show(facts, profile, waits, most, after)
        ticket = new_ticket(self.home, facts)
        if not self.on_slurm:
            pid = detach(ticket)
            print(f"{ticket.id:<5} {name}{_count(tasks)}: process {pid}; log {ticket.tasks[0].folder / 'log'}")
            return _After(ticket.id, "afterok", [])
        from pipeline.submit.sbatch import submit  # submitit: only where there is Slurm

        ids = submit(ticket, profile, waits, most)
        print(f"{ticket.id:<5} {name}{_count(tasks)}: Slurm job {shorten(dict.fromkeys(map(_main_id, ids)))}")
        return _After(ticket.id, "afterok", list(dict.fromkeys(map(_main_id, ids))))

    def _profile(self, job: str) -> tuple[str, Profile]:
        """Return the profile of a job: that of its own name, else the one of all; several processes only to train."""
        name, profile = self.profiles.get(job, self.profiles[""])
        if profile.nodes * profile.tasks_per_node == 1:
            return name, profile
        if self.on_slurm and job in PARALLEL:
            return name, profile
        why = "it is one process" if self.on_slurm else "on this machine a job is one process"
        logs.log.info("%s: profile %s asks for several processes, but %s", job, name, why)
        return name, profile.alone

    def _show(
        self, facts: dict[str, Any], profile: Profile, waits: list[str], most: int, after: list[_After]
    ) -> _After:
        ticket = f"j{self.number}"
        self.number += 1
        print(f"# {ticket} {facts['name']}: {facts['typed']}" + "".join(f"  (after {one.id})" for one in after))
        for words in facts["tasks"] if len(facts["tasks"]) > 1 else ():
            print(f"#   {shlex.join(words)}")
        if self.on_slurm and shutil.which("srun"):
            from pipeline.submit.sbatch import texts

            folder = jobs_folder(self.home) / ticket
            print("\n".join(texts(folder, facts, profile, waits, most)))
        command = [*facts["program"], *facts["tasks"][0]]
        if not self.on_slurm:
            print(shlex.join(command))
        elif facts["ranks"] or profile.container:
            notes = jobs_folder(self.home) / ticket / "0" / "attempt-1.ranks"
            shown = on_ranks(command, facts["ranks"], notes, facts["python"]) if facts["ranks"] else command
            print(f"# the first task's command on its first node:\n# {shlex.join(shown)}")
        return _After(ticket, "afterok", [f"<id of {ticket}>"] * len(chunks(len(facts["tasks"]), most)))

    def _words(self, words: list[str], code: Code) -> list[str]:
        """Return a task's words with its config where it stays as it is: in the copied code, or copied beside it."""
        path, more = Path(words[0]), [*words[1:], *map(_as_found, self.flags)]
        if path.is_dir() or not path.exists():
            return [str(path.resolve()) if path.exists() else words[0], *more]
        full = path.resolve()
        if code.holds(self.project, full):
            return [str(full.relative_to(self.project)), *more]
        if not code.frozen:
            return [str(full), *more]
        copy = jobs_folder(self.home) / "configs" / digest8(full.read_text(encoding="utf-8")) / full.name
        if not copy.exists() and not self.typed.dry_run:
            make_folder(copy.parent)
            part = copy.with_name(f".{copy.name}.{os.getpid()}")
            shutil.copyfile(full, part)
            os.replace(part, copy)
        return [str(copy), *more]

    def _found(self, word: str) -> _After:
        try:
            pairs = list(find(self.home, word))
        except InputError:
            if self.on_slurm and word.isdigit():
                return _After(word, "afterok", [word])
            raise
        ticket = pairs[0][0]
        if ticket.on_slurm != self.on_slurm:
            raise InputError(f"command line: --after {word}: {ticket.id} is not on the cluster that this job goes to")
        states = {state(ticket, task) for _, task in pairs}
        ended = states & {"failed", "cancelled"}
        if ended:
            raise InputError(f"command line: --after {word}: {ticket.id} has {ended.pop()}, so this would never start")
        ids = dict.fromkeys(_main_id(task.slurm_id) for _, task in pairs if task.slurm_id)
        return _After(ticket.id, "afterok", list(ids), states == {"done"})


def _dependencies(after: list[_After], pieces: int) -> list[str]:
    """Return sbatch's ``--dependency`` of each piece of an array, or one for all."""
    waits = [one for one in after if not one.done and one.slurm]
    if len(waits) == 1 and waits[0].how == "aftercorr" and len(waits[0].slurm) == pieces:
        return [f"aftercorr:{one}" for one in waits[0].slurm]
    ids = [one for wait in waits for one in wait.slurm]
    return [f"afterok:{':'.join(ids)}"] if ids else []


def _main_id(slurm_id: str) -> str:
    return slurm_id.partition("_")[0]


def _count(tasks: list[list[str]]) -> str:
    return f" ({len(tasks)} tasks)" if len(tasks) > 1 else ""


def _name(job: str, argument: str, config: Section | None) -> str:
    return f"{job}-{getattr(config, 'name', None) or Path(argument).stem}"


def _as_found(word: str) -> str:
    """Return an argument that is a path here as one that is found from elsewhere: the job starts in its code."""
    path = Path(word)
    is_path = not word.startswith("-") and (path.is_file() or (os.sep in word and path.exists()))
    return str(path.resolve()) if is_path else word


def _git_note(code: Code) -> dict[str, str]:
    """Return the variable that tells a copy of the code which commit it is of."""
    return {"ISOBAR_GIT": json.dumps(code.facts["git"])} if code.frozen else {}


def layout(profile: Profile) -> dict[str, int] | None:
    """Return nodes, processes a node and cores a process of a training of several processes; else ``None``."""
    found = {"nodes": profile.nodes, "per_node": profile.tasks_per_node, "cpus": profile.cpus}
    return found if size(found) > 1 else None


def inside(profile: Profile, folders: list[Path]) -> list[str]:
    """Return the Python that runs the job: in its container, which sees ``folders`` under their own names, if any."""
    if not profile.container:
        return [profile.python or sys.executable]
    whole = [one for one in dict.fromkeys(folders) if not any(other in one.parents for other in folders)]
    binds = [word for place in (*map(str, whole), *profile.binds) for word in ("--bind", place)]
    gpu = ["--nv"] if profile.gpus else []
    return ["apptainer", "exec", *gpu, *binds, profile.container, profile.python or "python"]


def _folds(config: Section | None, job: str) -> list[str]:
    """Return the folds that an experiment's division makes beside the default one.

    Raises:
        InputError: the config is not that of an experiment.
    """
    if not hasattr(config, "folds"):
        raise InputError(f"command line: --folds: {job} does not take an experiment")
    return list(cast(Stages, config).folds())


def _python_path(root: Path) -> str:
    return os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])


def _script(project: Path, job: str) -> Path:
    names = sorted(path.stem for path in (project / "jobs").glob("*.py") if path.stem not in _NOT_SUBMITTED)
    if job not in names:
        raise InputError(f"command line: no job {job!r}{near(job, names)} Jobs: {shorten(names, 40)}")
    return project / "jobs" / f"{job}.py"


def _config_class(script: Path) -> type[Section] | None:
    """Return the class of a job's config: that of its ``main(job: Job[…])``; ``None`` if it has none."""
    spec = importlib.util.spec_from_file_location(f"isobar_job_{script.stem}", script)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main = getattr(module, "main", None)
    hint = typing.get_type_hints(main).get("job") if main else None
    found = [one for one in typing.get_args(hint) if isinstance(one, type) and issubclass(one, Section)]
    return found[0] if found else None


def _checked(words: list[str], model: type[Section] | None) -> Section | None:
    """Return the resolved config of a task.

    Raises:
        InputError: what the job itself would say.
    """
    if model is None:
        return None
    path = Path(words[0])
    return load(path / "config.yaml" if path.is_dir() else path, model, words[1:]).config
