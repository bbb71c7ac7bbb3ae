"""The physics of an invented weather: from a plan of pressure systems to fields that fit each other.

Every field of day ``d`` is a function of (:class:`Weather`, ``d``) only: it does not depend on the period asked for,
on the grid, or on how the days are cut into files. The physics runs on an inner 1° grid (61..9 °N, 109..161 °E)
and is interpolated to the caller's grid.

Order of derivation: pattern systems + season + noise → sea level pressure → surface wind (gradient wind, slowed and
turned by friction) → 850 hPa temperature (climate + transport by the meridional wind + heat of the systems) →
heights (hydrostatic) → winds aloft (gradient wind) → vorticity, divergence (on the sphere) → ascent (continuity,
warm advection) → humidity → water vapour, clouds, rain. Simplified on purpose: no terrain, no daily cycle, dry
hydrostatic columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.plan import Array, Weather, systems_of

EARTH_RADIUS = 6_371_000.0  # m
GRAVITY = 9.80665  # m s-2
GAS_DRY, HEAT_DRY, HEAT_LATENT = 287.05, 1004.7, 2.5e6  # J kg-1 K-1 (gas, heat capacity), J kg-1
OMEGA = 7.2921e-5  # s-1

LAT = np.arange(61.0, 8.5, -1.0)
LON = np.arange(109.0, 161.5, 1.0)
_COS = np.cos(np.radians(LAT))[:, None]
_CORIOLIS = 2 * OMEGA * np.sin(np.radians(np.maximum(LAT, 12.0)))[:, None]
_WAVES = np.arange(6)
_MEMORY = np.array([1.0, 0.8, 0.55, 0.3])  # of the noise: weight of today, yesterday, …
_PERIOD = 64.0  # degrees: longest wave of the noise
_SLOW = 10_000_000  # stream of slow noise, beyond any day


def _sum_systems(systems: Array) -> Array:
    """Return (3, lat, lon): pressure [hPa], heat [K] and moisture [-] of elliptic Gaussian systems."""
    lat, lon, along, across, turn = (systems[:, i, None, None] for i in range(1, 6))
    east = (LON[None, None, :] - lon) * np.cos(np.radians(lat))
    north = LAT[None, :, None] - lat
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    shape = np.exp(-(((east * cos + north * sin) / along) ** 2 + ((north * cos - east * sin) / across) ** 2) / 2)
    return np.tensordot(systems[:, [0, 6, 7]].T, shape, axes=1)


@lru_cache(maxsize=64)
def _draws(seed: int, day: int) -> Array:
    return np.random.default_rng([seed, day, 2]).normal(size=(3, 2 * len(_WAVES), 2 * len(_WAVES)))


def _waves(degrees: Array) -> Array:
    """Return (degree, 2 waves): cosines and sines of the noise, amplitude falling with the wave number."""
    phase = 2 * np.pi / _PERIOD * degrees[:, None] * _WAVES
    amplitude = np.exp(-((_WAVES / 3.2) ** 2) / 2)
    basis = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) * np.tile(amplitude, 2)
    return np.asarray(basis / np.sqrt((amplitude**2).sum()))


def _noise(seed: int, day: int) -> Array:
    """Return three independent smooth fields (3, lat, lon) of unit variance that remember the last three days."""
    mixed = np.tensordot(_MEMORY, np.stack([_draws(seed, day - lag) for lag in range(4)]), axes=1)
    return np.asarray(_waves(LAT) @ mixed @ _waves(LON).T / np.sqrt((_MEMORY**2).sum()))


# --- fields ----------------------------------------------------------------------------------------------------------
def north_gradient(field: Array) -> Array:
    """Return ∂/∂y [1/m] of (…, lat, lon) on the inner grid, central differences."""
    return np.gradient(field, axis=-2) / -(EARTH_RADIUS * math.radians(1.0))


def east_gradient(field: Array) -> Array:
    """Return ∂/∂x [1/m] of (…, lat, lon) on the inner grid, central differences."""
    return np.asarray(np.gradient(field, axis=-1) / (EARTH_RADIUS * math.radians(1.0) * _COS))


def vorticity(u: Array, v: Array) -> Array:
    """Return the relative vorticity [s⁻¹] of a wind [m s⁻¹] on the sphere (Holton, Dynamic Meteorology, ch. 4)."""
    return np.asarray(east_gradient(v) - north_gradient(u * _COS) / _COS)


def divergence(u: Array, v: Array) -> Array:
    """Return the horizontal divergence [s⁻¹] of a wind [m s⁻¹] on the sphere."""
    return np.asarray(east_gradient(u) + north_gradient(v * _COS) / _COS)


def balanced_wind(potential: Array, limit: float, turn: float = 0.0, factor: float = 1.0) -> tuple[Array, Array]:
    """Return the wind (u, v) [m s⁻¹] that balances a geopotential [m² s⁻²].

    Geostrophic, slowed in cyclones by the gradient-wind relation with the curvature of a vortex in solid rotation,
    2 / (1 + √(1 + 2 ζ/f)); bent to ``limit`` [m s⁻¹]; turned by ``turn`` degrees towards low pressure.
    """
    u, v = -north_gradient(potential) / _CORIOLIS, east_gradient(potential) / _CORIOLIS
    cyclonic = np.maximum(vorticity(u, v) / _CORIOLIS, 0.0)
    slowed = factor * 2 / (1 + np.sqrt(1 + 2 * cyclonic))
    slowed = slowed / (1 + (np.hypot(u, v) * slowed / limit) ** 4) ** 0.25
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return (u * cos - v * sin) * slowed, (u * sin + v * cos) * slowed


def saturation_pressure(kelvin: Array) -> Array:
    """Return the saturation vapour pressure [Pa] over water (Bolton 1980, eq. 10)."""
    celsius = kelvin - 273.15
    return np.asarray(611.2 * np.exp(17.67 * celsius / (celsius + 243.5)))


def specific_humidity(kelvin: Array, percent: Array, pressure: float) -> Array:
    """Return the specific humidity [kg kg⁻¹] at a temperature, relative humidity [%] and pressure [Pa]."""
    vapour = percent / 100 * saturation_pressure(kelvin)
    return 0.622 * vapour / (pressure - 0.378 * vapour)


def equivalent_temperature(kelvin: Array, humidity: Array, pressure: float) -> Array:
    """Return the equivalent potential temperature [K], θ exp(L q / (cₚ T))."""
    return np.asarray(kelvin * (1e5 / pressure) ** 0.2857 * np.exp(HEAT_LATENT * humidity / (HEAT_DRY * kelvin)))


def logistic(value: Array) -> Array:
    """Return 1 / (1 + e⁻ˣ)."""
    return np.asarray(1 / (1 + np.exp(-value)))


class Atmosphere:
    """Fields (day, 53, 53) of some days on the inner grid, each computed when first asked for; SI units.

    :data:`FIELDS` lists them by the short name of the variable and the level in hPa: ``msl``, ``z500``, ``u10``.
    """

    def __init__(self, weather: Weather, days: list[date]) -> None:
        ordinals = [day.toordinal() for day in days]
        systems = np.stack([_sum_systems(systems_of(weather, day)) for day in ordinals])
        noise = np.stack([_noise(weather.seed, day) for day in ordinals]) * weather.noise
        self._weather, self.days = weather, days
        self._pressure, self._heat, self._moisture = systems.swapaxes(0, 1)
        self._rough_pressure, self._rough_heat, self._rough_moisture = noise.swapaxes(0, 1)
        angle = np.array([2 * np.pi * day.timetuple().tm_yday / 365.25 for day in days])[:, None, None]
        self._air_season = np.cos(angle - 2 * np.pi * 208 / 365.25)  # 1 in late July
        self._sea_season = np.cos(angle - 2 * np.pi * 236 / 365.25)  # 1 in late August
        self._north = (LAT[:, None] - 15) / 40

    @cached_property
    def msl(self) -> Array:
        """Sea level pressure [Pa], bent so that it stays within 960–1050 hPa."""
        summer = (1 + self._air_season) / 2
        systems = ((5, 50, 108, 16, 13, 0, 0, 0), (-8, 50, 160, 14, 11, 0, 0, 0), (4, 34, 162, 18, 9, 0, 0, 0),
                   (-6, 42, 110, 15, 14, 0, 0, 0), (-5, 14, 125, 20, 7, 0, 0, 0))  # fmt: skip
        parts = np.stack([_sum_systems(np.array([row], float))[0] for row in systems])
        base = 1013 + (1 - summer) * (parts[0] + parts[1]) + summer * (parts[2] + parts[3]) + parts[4]
        # Weather is quieter in the tropics.
        departure = base + self._pressure + 4.7 * (0.55 + 0.6 * self._north) * self._rough_pressure - 1005
        return np.asarray(1e2 * (1005 + departure / (1 + (departure / 45) ** 8) ** 0.125))

    @cached_property
    def wind10(self) -> tuple[Array, Array]:
        """Wind (u, v) [m s⁻¹] near the surface: slowed by a third and turned 20° to low pressure by friction."""
        return balanced_wind(self.msl / 1.2, limit=38.0, turn=20.0, factor=0.68)

    @cached_property
    def t850(self) -> Array:
        """Climate of the latitude and season, warm air carried from the south, heat of the systems, noise."""
        front = np.tanh((LAT[:, None] - 36 - 4 * self._air_season) / 9)
        contrast = 8.5 - 4 * self._air_season
        climate = 290 - contrast * (front + 1 + 1.1 * self._north) + 3 * self._air_season * self._north
        carried = 4 * np.tanh(self.wind10[1] / 12) * np.minimum(self._north + 0.35, 1)
        return np.asarray(climate + carried + self._heat + 0.7 * self._rough_heat)

    @cached_property
    def t500(self) -> Array:
        """850 hPa temperature less a lapse that grows with the warmth of the lower air, bent to stay below 269 K."""
        cold = (1 - self._air_season) * self._north
        dry = self.t850 - 25 + 3 * cold - 0.3 * (self._heat + 0.7 * self._rough_heat)
        return np.asarray(269 - 3 * np.log1p(np.exp((269 - dry) / 3)))

    def temperature(self, pressure: float) -> Array:
        """Return the temperature [K] at ``pressure`` [hPa], linear in ln p through 850 and 500 hPa."""
        return self.t850 + (self.t850 - self.t500) * math.log(pressure / 850) / math.log(850 / 500)

    def _height(self, pressure: float) -> Array:
        """Geopotential [m² s⁻²] from the hypsometric equation with the mean temperature of the layer."""
        layer = self.temperature(math.sqrt(1000 * pressure))
        return self.z1000 + GAS_DRY * layer * math.log(1000 / pressure)

    @cached_property
    def z1000(self) -> Array:
        """Geopotential [m² s⁻²] of 1000 hPa, reduced from sea level with the temperature of the lowest air."""
        return GAS_DRY * self.temperature(1000) * np.log(self.msl / 1e5)

    @cached_property
    def z500(self) -> Array:
        """Geopotential [m² s⁻²] of 500 hPa."""
        return self._height(500)

    @cached_property
    def wind850(self) -> tuple[Array, Array]:
        """Wind (u, v) [m s⁻¹] at 850 hPa, turned a little to low pressure."""
        return balanced_wind(self._height(850), limit=48.0, turn=5.0, factor=0.95)

    @cached_property
    def wind500(self) -> tuple[Array, Array]:
        """Wind (u, v) [m s⁻¹] at 500 hPa."""
        return balanced_wind(self.z500, limit=80.0)

    @cached_property
    def w700(self) -> Array:
        """Vertical velocity [Pa s⁻¹] by continuity: convergence of the lowest 300 hPa is ascent (negative)."""
        return 1.5e4 * (divergence(*self.wind10) + divergence(*self.wind850))

    @cached_property
    def w500(self) -> Array:
        """Vertical velocity [Pa s⁻¹]: that of 700 hPa, and ascent where the 850 hPa wind brings warm air."""
        (u, v), kelvin = self.wind850, self.t850
        warming = -(u * east_gradient(kelvin) + v * north_gradient(kelvin))
        return 1.1 * self.w700 - 0.3 * np.tanh(warming / 2e-4)

    @cached_property
    def r850(self) -> Array:
        """Relative humidity [%]: moist systems and ascent."""
        return 100 * logistic(0.7 + 0.7 * self._moisture - 2.0 * np.tanh(self.w700) + 0.4 * self._rough_moisture)

    @cached_property
    def r700(self) -> Array:
        """Relative humidity [%]: as at 850 hPa, drier and with more contrast."""
        return 100 * logistic(1.1 * self._moisture - 2.5 * np.tanh(self.w500) + 0.5 * self._rough_moisture - 0.1)

    @cached_property
    def q850(self) -> Array:
        """Specific humidity [kg kg⁻¹]."""
        return specific_humidity(self.t850, self.r850, 85_000)

    @cached_property
    def q700(self) -> Array:
        """Specific humidity [kg kg⁻¹]."""
        return specific_humidity(self.temperature(700), self.r700, 70_000)

    @cached_property
    def tcwv(self) -> Array:
        """Water vapour of the column [kg m⁻²]: ∫ q dp / g over the layers of :meth:`_vapour_layers`."""
        return np.asarray(sum(self._vapour_layers()))

    def _vapour_layers(self) -> tuple[Array, Array, Array]:
        """Water vapour [kg m⁻²] of 1000–775, 775–600 and 600–300 hPa, q falling with height."""
        return 1.1 * self.q850 * 22_500 / GRAVITY, self.q700 * 17_500 / GRAVITY, 0.35 * self.q700 * 30_000 / GRAVITY

    def vapour_flux(self, part: int) -> Array:
        """Vapour flux of the column [kg m⁻¹ s⁻¹], eastward (0) or northward (1): ∫ q V dp / g."""
        low, high = self.wind850[part], self.wind500[part]
        layers = self._vapour_layers()
        return layers[0] * low + layers[1] * (low + high) / 2 + layers[2] * high

    @cached_property
    def cape(self) -> Array:
        """CAPE [J kg⁻¹] from the excess of 850 hPa equivalent temperature over the saturated one of 500 hPa."""
        lower = equivalent_temperature(self.t850, self.q850, 85_000)
        saturated = specific_humidity(self.t500, np.full_like(self.t500, 100.0), 50_000)
        upper = equivalent_temperature(self.t500, saturated, 50_000)
        return 160 * np.maximum(lower + 4 - upper, 0)

    @cached_property
    def tcc(self) -> Array:
        """Cloud cover [0–1] from the humidity at 700 hPa."""
        return logistic((self.r700 - 62) / 9)

    @cached_property
    def rain(self) -> Array:
        """Precipitation rate [kg m⁻² s⁻¹]: vapour lifted through 850 hPa where the air above is moist."""
        lifted = np.maximum(-self.w500, 0) * self.q850 / GRAVITY
        return lifted * np.clip((self.r700 - 55) / 30, 0, 1)

    @cached_property
    def ice(self) -> Array:
        """Share of condensate that is frozen [0–1], from the temperature at 850 hPa."""
        return logistic((271.5 - self.t850) / 2.5)

    @cached_property
    def cloud_water(self) -> Array:
        """Cloud condensate [kg m⁻²], liquid and ice."""
        return self.tcc**2 * (0.04 + 0.45 * np.tanh(np.maximum(-self.w500, 0)))

    @cached_property
    def sst(self) -> Array:
        """Sea surface temperature [K]: climate, season, the Kuroshio, slow anomalies; not below freezing."""
        latitude = LAT[:, None]
        climate = 289.2 - 13.5 * np.tanh((latitude - 38) / 14)
        season = (1.2 + 6 * np.exp(-(((latitude - 40) / 12) ** 2))) * self._sea_season
        path = 23 + 13 * (1 - np.exp(-np.maximum(LON - 121, 0) / 9))
        kuroshio = 2 * np.exp(-(((latitude - path) / 1.8) ** 2)) * logistic((LON - 122) / 1.5)
        return np.asarray(np.maximum(climate + season + kuroshio + self._sea_anomaly, 271.46))

    @cached_property
    def _sea_anomaly(self) -> Array:
        """Anomaly [K] that changes over weeks: noise on every 15th day, linear in between."""
        seed, knots = self._weather.seed, [divmod(day.toordinal(), 15) for day in self.days]
        fields = [_noise(seed, _SLOW + k)[1] * (1 - r / 15) + _noise(seed, _SLOW + k + 1)[1] * r / 15 for k, r in knots]
        return 0.7 * self._weather.noise * np.stack(fields)


FIELDS: dict[str, Callable[[Atmosphere], Array]] = {
    "msl": lambda air: air.msl,
    "z500": lambda air: air.z500,
    "z1000": lambda air: air.z1000,
    "t850": lambda air: air.t850,
    "u500": lambda air: air.wind500[0],
    "v500": lambda air: air.wind500[1],
    "u850": lambda air: air.wind850[0],
    "v850": lambda air: air.wind850[1],
    "r700": lambda air: air.r700,
    "r850": lambda air: air.r850,
    "vo500": lambda air: vorticity(*air.wind500),
    "vo850": lambda air: vorticity(*air.wind850),
    "q850": lambda air: air.q850,
    "w500": lambda air: air.w500,
    "w700": lambda air: air.w700,
    "d850": lambda air: divergence(*air.wind850),
    "tcwv": lambda air: air.tcwv,
    "viwve": lambda air: air.vapour_flux(0),
    "viwvn": lambda air: air.vapour_flux(1),
    "cape": lambda air: air.cape,
    "cin": lambda air: 220 * np.exp(-air.cape / 500) * (0.4 + 0.6 * logistic(4 * air.w700)),
    "tcc": lambda air: air.tcc,
    "tp": lambda air: 3.6 * air.rain,
    "u10": lambda air: air.wind10[0],
    "v10": lambda air: air.wind10[1],
    "sst": lambda air: air.sst,
    "tclw": lambda air: air.cloud_water * (1 - 0.8 * air.ice),
    "tciw": lambda air: air.cloud_water * (0.2 + 0.5 * air.ice),
    "tcrw": lambda air: 600 * air.rain * (1 - air.ice),
    "tcsw": lambda air: 700 * air.rain * (0.2 + 0.8 * air.ice),
}


# --- the caller's grid -----------------------------------------------------------------------------------------------
# Coasts as (longitude, latitude), good to about 50 km.
_COASTS = (
    (110, 10, 109, 20.5, 110.5, 21, 114.2, 22.3, 116.7, 23.3, 118.1, 24.5, 119.6, 25.5, 120.8, 27.8, 122, 29.9,
     121.9, 31, 120.9, 32.6, 119.3, 34.8, 120.3, 36, 122.6, 37.2, 121, 37.6, 119, 37.3, 117.7, 38.8, 119.5, 39.9,
     121.5, 40.8, 121.3, 38.9, 124.3, 39.9, 125.3, 39.3, 125, 38, 126.6, 37.5, 126.4, 34.5, 127.5, 34.7, 129.2, 35.2,
     129.5, 36.8, 127.5, 39.5, 129.7, 41, 130.7, 42.3, 132, 43.2, 135.5, 44.4, 138.2, 46.5, 140.4, 48.5, 140.5, 51,
     141.3, 53.1, 139, 54.2, 137, 53.8, 135.3, 54.7, 137.5, 56.5, 142.5, 59.2, 149, 59.6, 155, 59.3, 162, 62, 100, 62,
     100, 10),
    (142, 46, 143.5, 46.7, 142.8, 47.5, 144.6, 49, 143.2, 52.5, 142.6, 54.3, 141.8, 51.5, 142.1, 49),
    (140, 41.5, 141.1, 41.8, 141, 42.5, 143.3, 42, 145.4, 43.3, 144.3, 44, 141.9, 45.5, 141.6, 43.4, 140.4, 43.2),
    (141.2, 41.4, 142, 39.6, 141, 38.2, 140.9, 36.9, 140.8, 35.7, 139.8, 35, 138.7, 34.7, 137, 34.6, 135.8, 33.5,
     135, 34.5, 132.5, 34.2, 130.9, 34, 131.2, 34.6, 132.8, 35.5, 135.3, 35.7, 136.7, 37.4, 138.6, 37.4, 139.8, 38.9,
     140, 40.7),
    (132.1, 33.5, 132.8, 32.8, 134.2, 33.3, 134.6, 34.2, 133, 34.1),
    (130.2, 31.2, 131.1, 31.4, 131.9, 32.8, 131.7, 33.6, 130.9, 33.9, 129.7, 33.2),
    (120.8, 21.9, 121.5, 24, 121.9, 25.1, 121.1, 25.1, 120.1, 23.4),
    (120.2, 12, 121.9, 12, 122.3, 18.4, 120.7, 18.6, 120, 16),
)  # fmt: skip


def land(lat: Array, lon: Array) -> NDArray[np.bool_]:
    """Return (lat, lon), true over land: inside an odd number of coasts."""
    inside = np.zeros((len(lat), len(lon)), bool)
    for coast in _COASTS:
        corners = np.array(coast, float).reshape(-1, 2)
        for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            crosses = ((y1 > lat) != (y2 > lat))[:, None]
            where = x1 + (lat - y1) * (x2 - x1) / (y2 - y1 if y2 != y1 else 1.0)
            inside ^= crosses & (lon[None, :] < where[:, None])
    return inside


class Grid:
    """A regular grid within the inner one: latitude descending, longitude ascending, in degrees."""

    def __init__(self, lat: Array, lon: Array) -> None:
        self.lat, self.lon, self.land = lat, lon, land(lat, lon)
        self._rows, self._columns = _lagrange(LAT[0] - lat, len(LAT)), _lagrange(lon - LON[0], len(LON)).T.copy()

    def sample(self, field: Array) -> Array:
        """Interpolate (day, 53, 53) to (day, lat, lon); exact on whole degrees."""
        return np.asarray(self._rows @ field @ self._columns)


def _lagrange(position: Array, size: int) -> Array:
    """Return (target, node): weights of the six nodes around each position, a polynomial of degree five."""
    weights = np.zeros((len(position), size))
    for row, x in enumerate(np.round(position, 9)):
        first = math.floor(x) - 2
        nodes = range(first, first + 6)
        for node in nodes:
            weights[row, node] = math.prod((x - other) / (node - other) for other in nodes if other != node)
    return weights
