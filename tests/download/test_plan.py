"""Planning: what is missing becomes requests, nothing twice, instantaneous and accumulated apart."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.core.config import load
from pipeline.core.errors import InputError
from pipeline.core.parts import Part
from pipeline.download.config import DownloadConfig, Row
from pipeline.download.manifest import Piece, Record
from pipeline.download.plan import cells_of, covered, needs, period, wanted
from pipeline.download.preview import table
from pipeline.download.request import Frame, Request, accumulated
from pipeline.download.schedule import extend, is_mine, reconcile, to_do
from pipeline.experiment import Experiment
from tests.conftest import ROOT

Cell = tuple[str, int | None, int, date]
FRAME = Frame((55.0, 115.0, 15.0, 155.0), (5.0, 5.0))


def config(*rows: dict[str, Any], **more: Any) -> DownloadConfig:
    settings = {"source": "cds", "start": "1991-01-01", "end": "1992-12-31", **more}
    return DownloadConfig.model_validate({**settings, "requests": [Row.model_validate(row) for row in rows]})


def plan(settings: DownloadConfig, record: Record | None = None, cost: Any = lambda *_: None) -> Record:
    """Return the record after planning as the stage does it; ``record`` is what was there before."""
    record = record or Record()
    cells = wanted(settings, *period(settings, date(2026, 1, 1)))
    reconcile(record, Path("/nowhere"), cells, Part(1, 1), refresh=False)
    extend(record, FRAME, settings, cells, cost)
    return record


def single_fields(requests: Iterable[Request]) -> list[Cell]:
    return [
        (variable, level, hour, day)
        for request in requests
        for variable, level, hour, _ in cells_of(request)
        for day in request.dates
    ]


def asked(settings: DownloadConfig) -> set[Cell]:
    """Return every field that a table asks for, counted the slow way."""
    assert settings.start
    assert settings.end
    days = [settings.start + timedelta(n) for n in range((settings.end - settings.start).days + 1)]
    return {
        (variable, level, hour, day)
        for row in settings.requests
        for variable in row.variables
        for level in (row.levels or (None,))
        for hour in row.hours or settings.hours
        for day in days
    }


def requests_of(record: Record) -> list[Request]:
    return [piece.request for piece in record.pieces.values()]


def test_the_guides_23_groups_are_seven_requests_a_year() -> None:
    japan = load(ROOT / "configs/era5_japan.yaml", Experiment).config.download
    record = plan(japan)
    assert len(japan.requests) == 23
    assert len(record.pieces) == 70
    assert set(single_fields(requests_of(record))) == asked(japan)
    names = {name for name in record.pieces if "1991" in name}
    assert names == {
        "sl_instant_1991.nc",
        "sl_tp_1991.nc",
        "pl_z_500-1000_1991.nc",
        "pl_d-q-t_850_1991.nc",
        "pl_u-v-vo_500-850_1991.nc",
        "pl_r_700-850_1991.nc",
        "pl_w_500-700_1991.nc",
    }


def test_a_request_in_the_words_of_the_data_centre() -> None:
    record = plan(config({"variables": ["z"], "levels": [1000, 500]}, end="1991-12-31", hours=[12, 0]))
    (piece,) = record.pieces.values()
    assert piece.request.dataset == "reanalysis-era5-pressure-levels"
    assert piece.sent == {
        "product_type": ["reanalysis"],
        "variable": ["geopotential"],
        "pressure_level": ["500", "1000"],
        "year": ["1991"],
        "month": [f"{month:02d}" for month in range(1, 13)],
        "day": [f"{day:02d}" for day in range(1, 32)],
        "time": ["00:00", "12:00"],
        "data_format": "netcdf",
        "download_format": "unarchived",
        "area": [55.0, 115.0, 15.0, 155.0],
        "grid": [5.0, 5.0],
    }
    assert Request.of(piece.sent) == piece.request
    assert piece.request.fields == 2 * 2 * 365


def test_the_globe_names_no_area_and_the_sources_own_grid_none() -> None:
    (piece,) = plan(config({"variables": ["msl"]}, end="1991-12-31")).pieces.values()
    assert {"area", "grid"}.isdisjoint(piece.request.as_sent(Frame()))
    assert Frame().points == 721 * 1440


def test_accumulated_and_unknown_variables_are_apart() -> None:
    names = ["msl", "tp", "tcwv", "soil_temperature_level_3", "snowfall"]
    groups = [request.variables for request in requests_of(plan(config({"variables": names}, end="1991-12-31")))]
    assert sorted(groups) == [("msl", "tcwv"), ("snowfall",), ("soil_temperature_level_3",), ("tp",)]


def test_a_variable_more_fetches_only_that_variable() -> None:
    before = plan(config({"variables": ["msl", "tcwv"]}))
    for name in before.pieces:
        before.change(name, state="queued", request_id="x")
    old = set(before.pieces)
    after = plan(config({"variables": ["msl", "tcwv", "sst"]}), before)
    assert {after.pieces[name].request.variables for name in after.pieces.keys() - old} == {("sst",)}
    assert len(after.pieces) == 4


def test_a_later_end_fetches_only_the_new_days() -> None:
    row = {"variables": ["msl"]}
    record = plan(config(row, end="1992-02-10"))
    assert sorted(record.pieces) == ["sl_msl_1991.nc", "sl_msl_1992-01.nc", "sl_msl_1992-02-01to10.nc"]
    for name in record.pieces:
        record.change(name, state="queued", request_id="x")
    plan(config(row, end="1992-03-01"), record)
    assert {"sl_msl_1992-02-11to29.nc", "sl_msl_1992-03-01.nc"} <= record.pieces.keys()
    assert len(record.pieces) == 5


def test_more_hours_fetch_only_those_hours() -> None:
    record = plan(config({"variables": ["msl"]}, end="1991-12-31"))
    record.change("sl_msl_1991.nc", state="queued", request_id="x")
    plan(config({"variables": ["msl"]}, end="1991-12-31", hours=[0, 6, 12, 18]), record)
    assert [piece.request.hours for piece in record.pieces.values()] == [(0,), (6, 12, 18)]
    assert "sl_msl_1991_06-12-18utc.nc" in record.pieces


def test_what_was_never_sent_and_is_not_asked_for_is_forgotten_the_rest_is_kept() -> None:
    record = plan(config({"variables": ["msl"]}, {"variables": ["tp"]}, end="1991-12-31"))
    record.change("sl_tp_1991.nc", state="queued", request_id="x")
    plan(config({"variables": ["sst"]}, end="1991-12-31"), record)
    assert {name: piece.wanted for name, piece in record.pieces.items()} == {
        "sl_tp_1991.nc": False,
        "sl_sst_1991.nc": True,
    }
    plan(config({"variables": ["tp"]}, end="1991-12-31"), record)
    assert record.pieces["sl_tp_1991.nc"].wanted
    assert len(record.pieces) == 1


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_there_exactly_the_rest_is_planned(data: st.DataObject) -> None:
    rows = st.lists(
        st.one_of(
            st.builds(
                lambda names, hours: {"variables": names, "hours": hours},
                st.lists(st.sampled_from(["msl", "tp", "sst", "u10", "snowfall"]), min_size=1, unique=True),
                st.lists(st.sampled_from([0, 6, 12]), unique=True),
            ),
            st.builds(
                lambda names, levels: {"variables": names, "levels": levels},
                st.lists(st.sampled_from(["z", "t", "u"]), min_size=1, unique=True),
                st.lists(st.sampled_from([500, 850, 1000]), min_size=1, unique=True),
            ),
        ),
        min_size=1,
        max_size=4,
    )
    days = st.dates(date(1991, 1, 1), date(1992, 12, 31))
    record: Record | None = None
    for _ in range(2):
        first, last = sorted([data.draw(days), data.draw(days)])
        settings_now = config(*data.draw(rows), start=str(first), end=str(last))
        record = plan(settings_now, record)
        fields = single_fields(requests_of(record))
        assert len(fields) == len(set(fields)), "a field is fetched twice"
        assert asked(settings_now) <= set(fields)
        for name in record.pieces:
            record.change(name, state="queued", request_id="x")
        again = set(record.pieces)
        assert set(plan(settings_now, record).pieces) == again
        for request in requests_of(record):
            kinds = {accumulated(variable) for variable in request.variables}
            assert len(kinds) == 1
            assert None not in kinds or len(request.variables) == 1


@pytest.mark.parametrize(
    ("limit", "months", "count"), [(400, 12, 1), (200, 6, 2), (125, 4, 3), (95, 3, 4), (31, 1, 12)]
)
def test_the_longest_period_that_the_cost_allows(limit: int, months: int, count: int) -> None:
    def cost(dataset: str, sent: dict[str, Any]) -> tuple[float, float]:
        return len(sent["month"]) * 31.0, float(limit)

    record = plan(config({"variables": ["msl"]}, end="1991-12-31"), cost=cost)
    assert len(record.pieces) == count
    assert {len(request.months) for request in requests_of(record)} == {months}


def test_the_cost_is_asked_for_once_a_kind_of_request() -> None:
    asked_for: list[str] = []

    def cost(dataset: str, sent: dict[str, Any]) -> tuple[float, float]:
        asked_for.append(dataset)
        return 1.0, 2.0

    plan(config({"variables": ["msl"]}, {"variables": ["z"], "levels": [500]}, end="1999-12-31"), cost=cost)
    assert sorted(asked_for) == ["reanalysis-era5-pressure-levels", "reanalysis-era5-single-levels"]


def test_chunk_month_and_arco_are_monthly() -> None:
    assert len(plan(config({"variables": ["msl"]}, end="1991-12-31", chunk="month")).pieces) == 12
    assert len(plan(config({"variables": ["msl"]}, end="1991-12-31", source="arco")).pieces) == 12


def test_splitting_goes_by_months_variables_levels_days_hours_down_to_one_field() -> None:
    settings = config({"variables": ["u", "v"], "levels": [500, 850]}, end="1991-12-31", hours=[0, 12])
    record = plan(settings)
    whole = set(single_fields(requests_of(record)))
    (name,) = record.pieces
    shapes = []
    while children := record.split(name, FRAME, (0, 12)):
        name = children[0]
        request = record.pieces[name].request
        shapes.append((len(request.months), len(request.variables), len(request.levels), len(request.hours)))
        assert set(single_fields(requests_of(record))) == whole
        assert len(single_fields(requests_of(record))) == len(whole)
    assert shapes[:6] == [(6, 2, 2, 2), (3, 2, 2, 2), (1, 2, 2, 2), (1, 1, 2, 2), (1, 1, 1, 2), (1, 1, 1, 2)]
    assert record.pieces[name].request.fields == 1
    assert {piece.order for piece in record.pieces.values()} == {0}
    assert plan(settings, record).pieces.keys() == record.pieces.keys()


def test_names_are_one_to_one_and_plain() -> None:
    long = ["msl", "tcwv", "tcc", "u10", "v10", "sst", "tclw", "tciw"]
    record = plan(config({"variables": long}, end="1991-12-31"))
    (name,) = record.pieces
    assert name == "sl_instant_1991.nc"
    record.split(name, FRAME, (0,))
    first = next(iter(record.pieces))
    assert set(record.pieces) == {"sl_instant_1991-01to06.nc", "sl_instant_1991-07to12.nc"}
    record.change(first, state="queued", request_id="x")
    record.pieces["sl_instant_1991.nc"] = record.pieces[first]
    other = record.add(
        Request(("cape", *long), (), (0,), 1991, tuple(range(1, 13)), tuple(range(1, 32))), FRAME, (0,), 9
    )
    assert other.startswith("sl_instant_1991_")
    assert len(record.pieces) == 4
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.") for name in record.pieces)


def test_parts_share_the_plan_evenly_and_splits_stay_with_their_part() -> None:
    record = plan(config({"variables": ["msl"]}, end="1999-12-31"))
    shares = [to_do(record, Part(number, 3)) for number in (1, 2, 3)]
    assert sorted(map(len, shares)) == [3, 3, 3]
    assert sorted(name for share in shares for name in share) == sorted(record.pieces)
    name = shares[1][0]
    children = record.split(name, FRAME, (0,))
    assert all(is_mine(record.pieces[child], Part(2, 3)) for child in children)


def test_what_is_on_the_server_comes_first() -> None:
    record = plan(config({"variables": ["msl"]}, end="1994-12-31"))
    record.change("sl_msl_1993.nc", state="queued", request_id="x")
    assert to_do(record, Part(1, 1))[0] == "sl_msl_1993.nc"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"variables": ["msk"]}, "download.requests[0]: unknown variable 'msk'; did you mean 'msl'?"),
        ({"variables": ["z"]}, "'z' comes on pressure levels: add levels"),
        ({"variables": ["msl"], "levels": [500]}, "'msl' has no levels: take them out"),
        ({"variables": ["z"], "levels": [510]}, "ERA5 has no level of 510 hPa; the nearest is 500 hPa"),
    ],
)
def test_a_table_that_cannot_be(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(config(row))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_variable_without_levels_is_not_told_to_have_some() -> None:
    with pytest.raises(InputError) as caught:
        plan(config({"variables": ["msl"], "levels": [500]}))
    assert "for example" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"grid": [60, 60], "area": [55, 115, 15, 155]}, "fewer than 2 points each way"),
        ({"grid": [float("nan"), 1]}, "a grid is the spacing"),
        ({"area": [60, -200, 20, -160]}, "west from -180 to below 360"),
    ],
)
def test_a_grid_or_an_area_that_cannot_be(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config({"variables": ["msl"]}, **more)


def test_days_outside_of_what_there_is() -> None:
    with pytest.raises(ValidationError, match="ERA5 begins on 1940-01-01"):
        config({"variables": ["msl"]}, start="1939-12-31")
    with pytest.raises(
        InputError, match="2020-01-02 is later than 2020-01-01, the latest day to be had; leave it empty"
    ):
        period(config({"variables": ["msl"]}, end="2020-01-02"), date(2020, 1, 1))
    open_end = config({"variables": ["msl"]}, end=None)
    assert period(open_end, date(2020, 1, 1)) == (date(1991, 1, 1), date(2020, 1, 1))


def test_the_preview_counts_fields_bytes_and_states() -> None:
    record = plan(config({"variables": ["msl"]}, {"variables": ["z"], "levels": [500, 1000]}))
    record.change("sl_msl_1991.nc", state="done")
    record.change("sl_msl_1992.nc", state="queued", request_id="x")
    lines = [line.split() for line in table(record, FRAME).splitlines()]
    points = 9 * 9
    assert FRAME.points == points
    assert lines[1] == ["msl", "00", "1991-01-01", "…", "1992-12-31", "2", "731", "0", "1", "1", "0"]
    assert lines[2][:3] == ["z", "500", "1000"]
    assert lines[-1] == ["total", "4", str(731 * 3), "0", "1", "1", "2"]


def test_planning_takes_work_for_each_year_and_not_for_each_field() -> None:
    europe = load(ROOT / "configs/era5_europe.yaml", Experiment).config.download
    hourly = europe.model_copy(update={"hours": list(range(24))})
    calls = {}
    for years in (3, 30):
        table_of_years = hourly.model_copy(update={"start": date(2021 - years, 1, 1), "end": date(2020, 12, 31)})
        with counted_calls() as count:
            record = plan(table_of_years)
            cells = wanted(table_of_years, *period(table_of_years, date(2026, 1, 1)))
            again = needs(cells, covered(requests_of(record)))
        assert not again
        assert len(record.pieces) == years * 7
        calls[years] = count[0]
        # Measured: a tenth of that, 680 000 calls and 0.4 s for 30 years; ten times that would be felt.
        assert calls[years] < sum(days.bit_count() for days in cells.values())
    # Measured: 9.6 times as many.
    assert calls[30] < 15 * calls[3]


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """Count the calls of functions: work that is the same on every machine, however busy it is."""
    count, before = [0], sys.getprofile()

    def note(frame: object, event: str, argument: object) -> None:
        count[0] += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        yield count
    finally:
        sys.setprofile(before)


def test_a_piece_knows_its_request() -> None:
    request = Request(("tp",), (), (0,), 2000, (2,), (28, 29))
    assert Piece(request.as_sent(FRAME), 0).request == request
    assert [str(day) for day in request.dates] == ["2000-02-28", "2000-02-29"]
    assert request.seconds.tolist() == [951_696_000, 951_782_400]
