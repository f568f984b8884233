from .gap import sampled_relative_gap as sampled_relative_gap
from .measure import forecast_in_store as forecast_in_store
from .measure import record as record
from .verdict import APART as APART
from .verdict import ConnectivityLine as ConnectivityLine
from .verdict import Forecast as Forecast
from .verdict import forecast_by_gap as forecast_by_gap
from .verdict import forecast_by_statistics as forecast_by_statistics
