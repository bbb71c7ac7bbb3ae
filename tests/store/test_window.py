import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.core.errors import InputError
from pipeline.store.config import Region
from pipeline.store.window import Window, window

LATITUDE = tuple(np.arange(60.0, 29.0, -2.5).tolist())
LONGITUDE = tuple(np.arange(0.0, 360.0, 5.0).tolist())


def field_of_coordinates() -> np.ndarray:
    """Cells that hold 1000 × latitude + longitude."""
    return (1000 * np.array(LATITUDE)[:, None] + np.array(LONGITUDE)[None]).astype(np.float32)[None]


def cut(cells: Window) -> np.ndarray:
    return cells.coarsen(cells.cut(field_of_coordinates()).astype(np.float64))[0]


def test_without_a_region_everything_is_kept() -> None:
    cells = window(LATITUDE, LONGITUDE, None, 1)
    assert (cells.latitude, cells.longitude) == (LATITUDE, LONGITUDE)
    assert np.array_equal(cut(cells), field_of_coordinates()[0])


def test_a_region_includes_its_edges() -> None:
    cells = window(LATITUDE, LONGITUDE, Region(south=40, north=50, west=100, east=120), 1)
    assert cells.latitude == (50, 47.5, 45, 42.5, 40)
    assert cells.longitude == (100, 105, 110, 115, 120)
    assert cut(cells)[0].tolist() == [50100, 50105, 50110, 50115, 50120]


@pytest.mark.parametrize(("west", "east"), [(-10, 10), (350, 10), (350, 370 - 360)])
def test_a_region_across_greenwich_is_joined_in_order(west: float, east: float) -> None:
    cells = window(LATITUDE, LONGITUDE, Region(south=50, north=50.1, west=west, east=east), 1)
    assert cut(cells).tolist() == [[50350, 50355, 50000, 50005, 50010]]
    assert np.allclose(np.diff(cells.longitude), 5)
    assert cells.longitude[0] == west


def test_longitudes_from_minus_180_are_found_in_a_grid_from_0() -> None:
    cells = window(LATITUDE, LONGITUDE, Region(south=30, north=60, west=-180, east=180), 1)
    assert len(cells.longitude) == len(LONGITUDE)
    assert cells.longitude[0] == -180
    assert cut(cells)[0, 0] == 60180


def test_block_means_and_a_remainder() -> None:
    cells = window(LATITUDE, LONGITUDE, Region(south=40, north=50, west=100, east=130), 3)
    assert cells.shape == (1, 2)
    assert cells.latitude == (47.5,)
    assert cells.longitude == (105, 120)
    # The mean of 1000 × latitude + longitude is that of the mean coordinates.
    assert cut(cells).tolist() == [[47605, 47620]]


def test_block_means_leave_missing_cells_out() -> None:
    cells = window((3.0, 2.0, 1.0, 0.0), (0.0, 1.0, 2.0, 3.0), None, 2)
    values = np.arange(16.0).reshape(1, 4, 4)
    values[0, 0, 0] = np.nan
    values[0, 2:, 2:] = np.nan
    means = cells.coarsen(values)[0]
    assert means[0].tolist() == [(1 + 4 + 5) / 3, (2 + 3 + 6 + 7) / 4]
    assert means[1, 0] == (8 + 9 + 12 + 13) / 4
    assert np.isnan(means[1, 1])


def test_an_empty_region_says_what_there_is() -> None:
    with pytest.raises(InputError, match=r"latitude 30 to 60 and longitude 0 to 355"):
        window(LATITUDE, LONGITUDE, Region(south=-20, north=-10, west=100, east=120), 1)


def test_a_block_larger_than_the_grid_is_an_error() -> None:
    with pytest.raises(InputError, match="block of 14 cells does not fit into 13 × 72"):
        window(LATITUDE, LONGITUDE, None, 14)


def test_a_region_upside_down_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be greater than south"):
        Region(south=50, north=40, west=0, east=10)
