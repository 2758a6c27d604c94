"""CSV imports as jobs: accepted at once, worked on beside the requests, gone on with after a kill."""

from __future__ import annotations

import csv
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import Engine, text

from models.import_job import MAX_TRIES, claimed_job, forget_rejects
from models.topic import add_topic
from starter.import_jobs import BrokenOff, remove_leftovers, run_next
from starter.recipients_import import CHUNK
from tests.builders import scalar
from tests.web.api.conftest import Api, MakeApi
from tests.web_process import WebProcess

PEOPLE = "email,first_name,plan\nada@example.org,Ada,gold\nbob@example.org,Bob,\n"
PATH = "/v1/recipients/imports"


def send_file(
    api: Api, content: str | bytes, query: str = "", *, key: str = "k", kind: str = "text/csv"
) -> Response:
    headers = {**api.headers, "Idempotency-Key": key, "Content-Type": kind}
    body = content.encode() if isinstance(content, str) else content
    answer: Response = api.http.post(PATH + query, content=body, headers=headers)
    return answer


def done(api: Api, answer: Response) -> dict[str, Any]:
    """The job after everything that waits was worked on."""
    assert answer.status_code == 202, answer.text
    while run_next(api.engine):
        pass
    job: dict[str, Any] = api.get(f"{PATH}/{answer.json()['id']}").json()
    return job


def until(is_so: Callable[[], Any]) -> None:
    while not is_so():
        time.sleep(0.02)


def open_sessions(engine: Engine) -> Any:
    return scalar(
        engine,
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'carillon imports'"
        " AND datname = current_database()",
    )


def test_a_file_is_accepted_queued_and_imported_and_then_no_longer_kept(api: Api) -> None:
    answer = send_file(api, PEOPLE)
    queued = answer.json()
    job = done(api, answer)

    assert (queued["state"], queued["progress"], queued["rows"]) == ("queued", 0, None)
    assert (job["state"], job["progress"], job["rows"], job["added"]) == ("finished", 1, 2, 2)
    assert job["finished_at"] >= job["started_at"] >= job["created_at"]
    assert not job["has_rejects"]
    ada = api.get("/v1/recipients/ada@example.org").json()
    assert (ada["first_name"], ada["attributes"]) == ("Ada", {"plan": "gold"})
    assert scalar(api.engine, "SELECT count(*) FROM import_job WHERE content IS NOT NULL") == 0
    assert list(Path(tempfile.gettempdir()).glob(f"carillon-import-{os.getpid()}-*")) == []


def test_the_same_comes_as_a_text_inside_json_and_joins_a_topic(api: Api) -> None:
    with api.engine.begin() as connection:
        add_topic(connection, api.team, "news", "News", "explicit")

    job = done(api, api.post(PATH, {"csv": PEOPLE, "topic": "news"}))

    assert (job["topic"], job["subscribed"], job["added"]) == ("news", 2, 2)
    assert scalar(api.engine, "SELECT count(*) FROM subscription WHERE state = 'subscribed'") == 2


def test_a_repeat_with_the_same_key_is_the_same_job(api: Api) -> None:
    first = send_file(api, PEOPLE)
    again = send_file(api, PEOPLE)
    other = send_file(api, PEOPLE + "eve@example.org,Eve,\n")

    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 422
    assert scalar(api.engine, "SELECT count(*) FROM import_job") == 1


def test_importing_again_changes_nothing_and_says_so(api: Api) -> None:
    done(api, send_file(api, PEOPLE))

    job = done(api, send_file(api, PEOPLE, key="k2"))

    assert (job["added"], job["updated"], job["unchanged"]) == (0, 0, 2)


def test_threat_csv_rejected_rows_come_back_as_a_file_that_no_spreadsheet_runs(api: Api) -> None:
    rows = "email,first_name\n=cmd|'/c calc'!A1,+1+1\nada@example.org,Ada\nbroken,@SUM(A1)\n"

    job = done(api, send_file(api, rows))
    answer = api.get(f"{PATH}/{job['id']}/rejects")

    assert (job["rows"], job["added"], job["rejected"], job["has_rejects"]) == (3, 1, 2, True)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment;")
    header, first, second = csv.reader(io.StringIO(answer.text))
    assert header == ["line", "reason", "email", "first_name"]
    assert (first[0], first[2], first[3]) == ("2", "'=cmd|'/c calc'!A1", "'+1+1")
    assert (second[0], second[3]) == ("4", "'@SUM(A1)")


def test_rejected_rows_are_kept_for_a_week(api: Api) -> None:
    job = done(api, send_file(api, "email\nbroken\n"))
    with api.engine.begin() as connection:
        kept = forget_rejects(connection)
        connection.execute(text("UPDATE import_job SET finished_at = now() - interval '8 days'"))
        forgotten = forget_rejects(connection)

    assert (kept, forgotten) == (0, 1)
    assert api.get(f"{PATH}/{job['id']}/rejects").status_code == 409
    assert api.get(f"{PATH}/{job['id']}").json()["rejected"] == 1


@pytest.mark.parametrize(
    ("content", "query", "kind", "status"),
    [
        ("", "", "text/csv", 422),
        ("name\nAda\n", "", "text/csv", 422),
        ("email,email\na@b.org,a@b.org\n", "", "text/csv", 422),
        (b"em\0ail\n", "", "text/csv", 422),
        (PEOPLE, "?topic=nothing", "text/csv", 422),
        (PEOPLE, "?resubscribe=true", "text/csv", 422),
        (PEOPLE, "", "text/plain", 415),
        ("{", "", "application/json", 400),
        ('{"csv": 5}', "", "application/json", 422),
        ('{"csv": "email", "colour": "red"}', "", "application/json", 422),
        ("x" * 20_000_001, "", "text/csv", 413),
    ],
)
def test_what_is_seen_at_once_is_refused_at_once(
    api: Api, content: str | bytes, query: str, kind: str, status: int
) -> None:
    answer = send_file(api, content, query, kind=kind)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert scalar(api.engine, "SELECT count(*) FROM import_job") == 0


def test_what_is_seen_later_fails_the_job_with_a_sentence_and_changes_nothing(api: Api) -> None:
    rows = b"".join(b"p%d@example.org,P\n" % n for n in range(5_000))

    job = done(api, send_file(api, b"email,first_name\n" + rows + b"bob@example.org,\xff\n"))

    assert job["state"] == "failed"
    assert "UTF-8" in job["error"]
    assert scalar(api.engine, "SELECT count(*) FROM recipient") == 0
    assert scalar(api.engine, "SELECT count(*) FROM import_job WHERE content IS NOT NULL") == 0
    assert api.get(f"{PATH}/{job['id']}/rejects").status_code == 409


def test_a_process_that_is_told_to_stop_leaves_the_job_to_the_next_one(api: Api) -> None:
    answer = send_file(api, PEOPLE)

    with pytest.raises(BrokenOff):
        run_next(api.engine, must_stop=lambda: True)
    left = api.get(f"{PATH}/{answer.json()['id']}").json()

    assert left["state"] == "running"
    assert done(api, answer)["added"] == 2


def test_a_job_that_somebody_works_on_is_left_alone(api: Api) -> None:
    answer = send_file(api, PEOPLE)

    with claimed_job(api.engine) as job:
        assert job is not None
        assert run_next(api.engine) is False

    assert done(api, answer)["state"] == "finished"


def test_a_job_that_kills_its_process_each_time_is_given_up(api: Api) -> None:
    answer = send_file(api, PEOPLE)
    for _ in range(MAX_TRIES):
        with claimed_job(api.engine) as job:
            assert job is not None

    job_now = done(api, answer)

    assert job_now["state"] == "failed"
    assert str(MAX_TRIES) in job_now["error"]


def test_jobs_are_listed_newest_first_by_pages(api: Api) -> None:
    ids = [send_file(api, PEOPLE, key=f"k{n}").json()["id"] for n in range(3)]

    first = api.get(f"{PATH}?limit=2").json()
    rest = api.get(f"{PATH}?limit=2&cursor={first['next']}").json()

    assert [job["id"] for job in (*first["data"], *rest["data"])] == ids[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_another_teams_job_is_not_there_and_its_people_are_its_own(
    api: Api, make_api: MakeApi
) -> None:
    other = make_api(team="other")
    mine = send_file(api, "email\nada@example.org\nbroken\n")
    theirs = send_file(other, PEOPLE)
    done(api, mine)

    for path in (f"{PATH}/{mine.json()['id']}", f"{PATH}/{mine.json()['id']}/rejects"):
        assert other.get(path).status_code == 404
        assert api.get(path).status_code == 200
    assert [job["id"] for job in other.get(PATH).json()["data"]] == [theirs.json()["id"]]
    assert other.get(f"{PATH}/{theirs.json()['id']}").json()["added"] == 2
    assert len(api.get("/v1/recipients").json()["data"]) == 1


def test_without_a_key_nobodys_file_is_read(api: Api, make_api: MakeApi) -> None:
    reader = make_api(["recipients:read"])

    assert send_file(reader, PEOPLE).status_code == 403
    assert api.post(PATH, {"csv": PEOPLE}, key=None).status_code == 400


def test_a_kill_in_the_middle_of_an_import_loses_and_doubles_nothing(
    api: Api, web: WebProcess
) -> None:
    # The last person of the file is known, and their row is locked: so the first chunk is
    # committed, and the second cannot be, when the process is killed.
    count = CHUNK + 500
    last = f"p{count - 1}@example.org"
    api.post("/v1/recipients", {"email": last})
    rows = "email,first_name\n" + "".join(f"p{n}@example.org,P{n}\n" for n in range(count))
    answer = send_file(api, rows)
    job = f"{PATH}/{answer.json()['id']}"

    with api.engine.begin() as connection:
        connection.execute(text("SELECT 1 FROM recipient FOR UPDATE"))
        process = web.start()
        until(lambda: api.get(job).json()["added"] > 0)
        process.kill()
        process.wait()
        broken_off = api.get(job).json()
    until(lambda: open_sessions(api.engine) == 0)
    web.start()
    until(lambda: api.get(job).json()["state"] != "running")

    ended = api.get(job).json()
    assert (broken_off["state"], broken_off["added"]) == ("running", CHUNK)
    assert ended["state"] == "finished"
    assert (ended["rows"], ended["added"], ended["updated"]) == (count, count - 1, 1)
    assert (ended["unchanged"], ended["merged"], ended["rejected"]) == (0, 0, 0)
    assert scalar(api.engine, "SELECT count(*) FROM recipient") == count
    assert scalar(api.engine, "SELECT count(DISTINCT address) FROM contact_point") == count
    assert scalar(api.engine, "SELECT tries FROM import_job") == 2


def test_the_file_of_a_killed_import_does_not_lie_about(tmp_path: Path) -> None:
    here = Path(tempfile.gettempdir())
    mine = here / f"carillon-import-{os.getpid()}-left"
    others = here / f"carillon-import-{os.getppid()}-used"
    for folder in (mine, others):
        folder.mkdir()

    remove_leftovers()

    assert not mine.exists()
    assert others.exists()
    others.rmdir()
