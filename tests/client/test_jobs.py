"""Jobs, models and services of a real platform, as a notebook has them."""

import io
import threading

import numpy as np
import pandas as pd
import pytest

import orrery
from tests.waiting import until

MODEL = "notebook/classifier"
SLOW = {"epochs": 400, "epoch_s": 0.1}
COLUMNS = ["sepal_length__cm", "sepal_width__cm", "petal_length__cm", "petal_width__cm"]
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]


@pytest.fixture(scope="module")
def shown() -> io.StringIO:
    """What was shown while the job was followed."""
    return io.StringIO()


@pytest.fixture(scope="module")
def trained(client, shown) -> orrery.Job:
    """A training that was followed to its end."""
    job = client.train(MODEL, hyperparameters={"epochs": 4, "epoch_s": 0.3}, seed=7)
    return job.follow(file=shown)


def test_a_followed_training_shows_its_progress_and_ends_with_what_it_made(trained, shown):
    assert trained.status == "succeeded"
    assert trained.made is not None and trained.made.model_version
    lines = shown.getvalue().splitlines()
    assert any("loss" in line for line in lines)
    assert lines[-1] == f"{trained}: succeeded"


def test_curves_are_a_frame_and_a_drawing(trained):
    frame = trained.curves()
    assert list(frame.index) == sorted(frame.index)
    assert len(frame["loss"].dropna()) == 4
    assert list(trained.curves("loss").columns) == ["loss"]
    figure = trained.plot("loss")
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss"]


def test_the_log_is_read_from_any_line_on(client, trained):
    events = list(client.operations.train.logs(trained.id, follow=False))
    ids = [event.id for event in events]
    middle = len(ids) // 2
    rest = list(client.operations.train.logs(trained.id, last_event_id=ids[middle]))
    assert [event.id for event in rest] == ids[middle + 1 :]
    assert not any(line.kind == "event" for line in trained.logs())


@pytest.fixture(scope="module")
def again(trained) -> orrery.Job:
    """The training, submitted again with other epochs."""
    return trained.resubmit(hyperparameters={"epochs": 2}).follow(show=False)


def test_a_job_submitted_again_has_the_values_of_the_first_but_for_the_changes(trained, again):
    assert again.spec["hyperparameters"] == {"epochs": 2, "epoch_s": 0.3}
    assert again.spec["seed"] == 7
    assert again.spec["dataset"]["version"] == trained.made.dataset_version
    assert again.spec["resubmitted_from"] == trained.id


def test_two_resubmissions_with_one_key_are_one_job(trained):
    keyed = [trained.resubmit(seed=9, idempotency_key="notebook") for _ in range(2)]
    assert keyed[0].id == keyed[1].id
    with pytest.raises(orrery.Conflict):
        trained.resubmit(seed=10, idempotency_key="notebook")
    keyed[0].stop()


def test_a_change_that_does_not_fit_is_refused_by_its_field(trained):
    with pytest.raises(orrery.Invalid) as refused:
        trained.resubmit(seed="many", epochs=3)
    assert set(refused.value.fields) == {"set.epochs"}
    with pytest.raises(orrery.Invalid, match=r"set\.seed"):
        trained.resubmit(seed="many")


def test_jobs_are_compared_side_by_side(client, trained, again):
    frame = client.compare([trained, again.id])
    assert list(frame.index) == [trained.id, again.id]
    assert list(frame["hyperparameters.epochs"]) == [4, 2]
    assert any(name.startswith("test_metrics.") for name in frame.columns)
    curves = client.compare_curves([trained, again], "loss")
    assert [curves[job.id].count() for job in (trained, again)] == [4, 2]
    with pytest.raises(ValueError, match="no job has the metric 'los'"):
        client.compare_curves([trained], "los")


def test_lists_are_fetched_as_far_as_they_are_iterated(client, trained, again):
    listing = client.operations.jobs.list(project="notebook", limit=1)
    assert len(listing.page.items) == 1 and listing.page.next_cursor
    ids = [job.job_id for job in listing]
    assert len(ids) == len(set(ids)) and {trained.id, again.id} <= set(ids)
    assert next(client.jobs(project="notebook", kind="train")).info.project == "notebook"


def test_a_failure_is_raised_with_its_reason_and_the_last_lines_of_the_log(client):
    job = client.train(MODEL, hyperparameters={"epochs": "many"})
    with pytest.raises(orrery.JobFailed) as failed:
        job.follow(show=False)
    assert failed.value.job is job
    assert failed.value.reason == job.message != ""
    assert failed.value.lines
    assert failed.value.reason in str(failed.value) and failed.value.lines[-1] in str(failed.value)


def test_a_job_that_is_stopped_while_it_is_followed_says_so_and_is_not_deleted(client):
    job = client.train(MODEL, hyperparameters=SLOW)
    raised: list[Exception] = []

    def follow() -> None:
        try:
            client.job(job.id).follow(show=False)
        except orrery.JobStopped as stopped:
            raised.append(stopped)

    following = threading.Thread(target=follow)
    following.start()
    until(lambda: job.refresh().status == "running")
    job.stop()
    following.join()
    assert len(raised) == 1
    assert job.refresh().stop().status == "stopped"
    assert client.job(job.id).status == "stopped"


class Cutting(io.StringIO):
    """Cuts the way to the platform at the first line that it is given."""

    def __init__(self, relay, refuse: int) -> None:
        super().__init__()
        self._relay, self._refuse = relay, refuse

    def write(self, text: str) -> int:
        if not self.getvalue():
            self._relay.cut(refuse=self._refuse)
        return super().write(text)


def test_following_goes_on_where_it_was_when_the_platform_was_away(up, relay):
    with orrery.connect(relay.url, up.key) as client:
        job = client.train(MODEL, hyperparameters={"epochs": 6, "epoch_s": 0.4})
        file = Cutting(relay, refuse=2)
        job.follow(show="log", file=file)
        assert relay.refused == 2
        lines = [f"{line.at.astimezone():%H:%M:%S} {line.text}" for line in job.logs()]
        # Behind the lines of the log it says how the job ended.
        assert file.getvalue().splitlines()[:-1] == "\n".join(lines).splitlines()


@pytest.fixture(scope="module")
def model(client, trained) -> orrery.Model:
    """The model, whose newest version was simulated and is served."""
    version = trained.made.model_version
    client.simulate("notebook.nudge", model_version=version).follow(show=False)
    client.deploy("notebook.classifier-api", model_version=version).follow(show=False)
    return client.model(MODEL)


def test_evidence_is_a_frame_and_a_part_of_a_page_with_its_pictures(model, trained):
    evidence = model.evidence(trained.made.model_version)
    assert evidence.may_serve
    assert evidence.verdicts == {"notebook.nudge": "pass"}
    frame = evidence.frame()
    assert set(frame["verdict"]) == {"pass"} and (frame["low"] <= frame["high"]).all()
    pictures = evidence.pictures()
    assert pictures and all(p._repr_png_().startswith(b"\x89PNG") for p in pictures)
    page = evidence._repr_html_()
    assert page.count("data:image/png;base64,") == len(pictures)
    assert "notebook.nudge" in page


def test_a_version_that_is_not_there_has_no_evidence(model):
    with pytest.raises(orrery.NotFound):
        model.evidence(10_000)


@pytest.fixture(scope="module")
def service(client, model) -> orrery.Service:
    """The service of the model."""
    return client.service("notebook.classifier-api")


def test_predictions_have_the_form_of_the_rows(service):
    expected = service.predict(ROWS)
    assert expected == ["0", "2", "1"]
    assert service.predict(ROWS, batch_rows=2) == expected
    array = service.predict(np.array(ROWS, dtype="float32"))
    assert isinstance(array, np.ndarray) and list(array) == expected
    frame = pd.DataFrame(ROWS, columns=COLUMNS, index=["a", "b", "c"])
    series = service.predict(frame)
    assert list(series) == expected and list(series.index) == ["a", "b", "c"]
    assert service.predict(frame.to_dict("list")) == expected
    assert service.predict(frame.to_dict("records")) == expected
    assert list(service.predict(frame.iloc[:0])) == []


def test_probabilities_are_a_column_for_each_class(service):
    frame = pd.DataFrame(ROWS, columns=COLUMNS)
    found = service.probabilities(frame)
    assert list(found.columns) == ["0", "1", "2"]
    assert np.allclose(found.sum(axis=1), 1)
    assert list(found.idxmax(axis=1)) == list(service.predict(frame))


def test_a_row_that_does_not_fit_is_refused_with_its_place(service):
    with pytest.raises(orrery.Invalid) as refused:
        service.predict(pd.DataFrame([["wide", 1, 1, 1]], columns=COLUMNS))
    assert COLUMNS[0] in str(refused.value)
    with pytest.raises(orrery.Invalid, match="rows 2 to 3, numbered from 0 here"):
        service.predict([*ROWS, ["wide", 1, 1, 1]], batch_rows=2)


def test_a_service_that_does_not_serve_is_no_outage(client, service):
    service.undeploy()
    until(lambda: service.info.state == "absent")
    with pytest.raises((orrery.NotServing, orrery.NotFound)):
        service.predict(ROWS)


def test_a_notebook_shows_a_job_and_its_pictures(trained):
    page = trained._repr_html_()
    assert trained.id in page and "model version" in page
    assert all(picture.name.endswith(".png") for picture in trained.pictures())
