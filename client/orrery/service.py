"""One service: ask it for predictions, deploy it, undeploy it."""

from typing import TYPE_CHECKING, Any

from orrery import rows
from orrery.answers import inference
from orrery.errors import Refused, TooLarge, refusal

if TYPE_CHECKING:
    from orrery.client import Client
    from orrery.job import Job

BATCH_ROWS = 8_192


class Service:
    """A handle of one service, `PROJECT.SERVICE`."""

    def __init__(self, client: "Client", id: str) -> None:
        self._client, self.id = client, id

    @property
    def info(self) -> inference.Service:
        """What the platform says of it now. Raises NotFound."""
        return self._client.operations.services.get(self.id)

    def predict(self, data: Any, *, batch_rows: int = BATCH_ROWS) -> Any:
        """The predictions, in the form of the data.

        data: A frame of pandas, a mapping of columns, a list of mappings, an array of numpy or a
            list of lists, the last two in the order of the model's columns.
        batch_rows: Rows of one request; a batch that is too large is halved.

        Gives a series for a frame, an array for an array, and a list for the others: one class,
        action or value for each row. Raises Invalid where a row does not fit, NotServing where no
        version answers.
        """
        batches = self._answers(rows.table_of(data), batch_rows)
        return rows.shaped_like(data, [value for each in batches for value in _values(each)])

    def probabilities(self, data: Any, *, batch_rows: int = BATCH_ROWS) -> Any:
        """The probability of each class: a frame with a column for each, or for data without
        pandas a list of mappings.

        Raises ValueError for a model without classes, and what `predict` raises.
        """
        answers = self._answers(rows.table_of(data), batch_rows)
        if any(not each.classes for each in answers):
            raise ValueError(f"the model of {self.id} has no classes, so it gives no probabilities")
        found = [
            dict(zip(each.classes, row, strict=True))
            for each in answers
            for row in each.probabilities
        ]
        return rows.table_like(data, found)

    def _answers(self, table: rows.Table, batch_rows: int) -> list[inference.Prediction]:
        if batch_rows < 1:
            raise ValueError(f"got batch_rows={batch_rows}, expected at least 1")
        found: list[inference.Prediction] = []
        start, size = 0, batch_rows
        while start < len(table):
            batch = table[start : start + size]
            try:
                found.append(self._client.operations.services.predict(self.id, **batch.fields))
            except TooLarge:
                if len(batch) == 1:
                    raise
                size = max(1, len(batch) // 2)
                continue
            except Refused as error:
                if not start:
                    raise
                raise _placed(error, start, len(batch)) from error
            start += len(batch)
        return found

    def deploy(self, **fields: Any) -> "Job":
        """Deploy it; takes what `Client.deploy` takes."""
        return self._client.deploy(self.id, **fields)

    def undeploy(self) -> inference.Service:
        """Stop serving."""
        return self._client.operations.services.undeploy(self.id)

    def __repr__(self) -> str:
        return f"<service {self.id}>"


def _placed(error: Refused, start: int, rows: int) -> Refused:
    """The refusal, saying which rows it numbers from 0."""
    place = f"rows {start} to {start + rows - 1}, numbered from 0 here: {error.detail}"
    return refusal({**error.problem, "detail": place}, error.retry_after_s)


def _values(answer: inference.Prediction) -> list[Any]:
    return answer.predictions or answer.outputs
