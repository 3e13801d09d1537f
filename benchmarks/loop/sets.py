"""The labelled sets: a data file in the folder, a pipeline file beside this one, and how a row of the one suits the other."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from millrace.replay.files import rows_of
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.pipeline import Pipeline

Row = Mapping[str, Any]
Adapt = Callable[[Iterator[Row]], Iterator[Row]]
_HERE = Path(__file__).parent
_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)  # of sets whose rows have an order, but no time
_LATE_MINUTES = 15


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """`metric` None: the label kind's own."""

    name: str
    file: str
    adapt: Adapt
    metric: str | None = None

    def pipeline(self) -> Pipeline:
        return read_pipeline((_HERE / f"{self.name}.yaml").read_text(), version=1)

    def is_there(self, folder: Path | None) -> bool:
        return folder is not None and (folder / self.file).is_file()

    def rows(self, folder: Path | None, limit: int | None = None) -> list[Row]:
        """Raises millrace.errors.UsageError for a file that is not there."""
        assert folder is not None, "is_there said no"
        rows = list(self.adapt(iter(rows_of(folder / self.file))))
        return rows if limit is None else rows[:limit]


def as_it_is(rows: Iterator[Row]) -> Iterator[Row]:
    return rows


def flights(rows: Iterator[Row]) -> Iterator[Row]:
    """Those from JFK that arrived; late is more than 15 minutes."""
    for row in rows:
        if row["origin"] != "JFK" or row["arr_delay"] is None:
            continue
        at = datetime.fromisoformat(row["sched_dep"])
        yield {
            "sched_dep": row["sched_dep"],
            "hour": at.hour + at.minute / 60,
            "weekday": at.weekday(),
            "carrier": row["carrier"],
            "dest": row["dest"],
            "distance": row["distance"],
            "late": row["arr_delay"] > _LATE_MINUTES,
        }


def fraud(rows: Iterator[Row]) -> Iterator[Row]:
    """One customer in eight: all of a customer's payments, so that what is counted of a customer is whole."""
    for row in rows:
        if row["customer_id"] % 8:
            continue
        at = datetime.fromisoformat(row["tx_datetime"])
        extra = {"weekend": at.weekday() >= 5, "night": at.hour < 6}
        yield {
            name: row[name]
            for name in ("transaction_id", "tx_datetime", "customer_id", "amount", "fraud")
        } | extra


def diabetes(rows: Iterator[Row]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        cleaned = {name: None if value == "?" else value for name, value in row.items()}
        yield {
            **cleaned,
            **{name: cleaned[name] or "unknown" for name in _TEXTS},
            "time": (_BEGIN + timedelta(hours=number)).isoformat(),
            "back": row["readmitted"] == "<30",
        }


def machines(rows: Iterator[Row]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        yield {
            "id": row["UDI"],
            "time": (_BEGIN + timedelta(minutes=number)).isoformat(),
            "type": row["Type"],
            "air": row["Air temperature [K]"],
            "process": row["Process temperature [K]"],
            "speed": row["Rotational speed [rpm]"],
            "torque": row["Torque [Nm]"],
            "wear": row["Tool wear [min]"],
            "failed": row["Machine failure"],
        }


_TEXTS = (
    "race",
    "gender",
    "age",
    "admission_type_id",
    "discharge_disposition_id",
    "admission_source_id",
    "medical_specialty",
    "diag_1",
    "A1Cresult",
    "insulin",
    "change",
    "diabetesMed",
)

SETS = (
    LabelledSet("elec2", "elec2.csv.gz", as_it_is),
    LabelledSet("bikes", "bike_sharing_hourly.csv.gz", as_it_is),
    LabelledSet("car-loan", "synthetic_car_loan.parquet", as_it_is),
    LabelledSet("flights", "nyc_flights_2013.parquet", flights, "roc_auc"),
    LabelledSet("fraud", "fraud_handbook_80d.parquet", fraud, "roc_auc"),
    LabelledSet("diabetes", "diabetes130_readmission.csv.gz", diabetes, "roc_auc"),
    LabelledSet("machines", "ai4i_2020.csv.gz", machines, "roc_auc"),
)
