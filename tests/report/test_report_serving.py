"""The report of a run at work, for whoever looks at it on this machine."""

import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from tests.report.conftest import write_realistic

from rewarm.errors import CampaignError, StorageError
from rewarm.report.loading import read_run
from rewarm.report.page import page
from rewarm.report.serving import ReportServer


@contextmanager
def serving(*runs):
    with ReportServer(runs, 0, refresh_seconds=7) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def get(url, **headers):
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers))
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read().decode()


def test_it_is_the_page_and_is_asked_for_again_while_the_run_is_at_work(tmp_path):
    run = write_realistic(tmp_path / "run", unfinished=True)
    with serving(run) as url:
        status, headers, html = get(url)
        assert (status, headers["Refresh"]) == (200, "7")
        assert html == page([read_run(run)])
        write_realistic(tmp_path / "run")
        status, headers, html = get(url)
        assert (status, headers["Refresh"]) == (200, None)
        assert html == page([read_run(run)])


def test_nothing_else_is_given_out(realistic):
    with serving(realistic) as url:
        assert get(f"{url}plan.json")[0] == 404
        assert get(f"{url}../plan.json")[0] == 404
        assert get(url, Host="evil.example:80")[0] == 403


def test_a_damaged_record_is_said_and_does_not_end_it(tmp_path):
    run = write_realistic(tmp_path / "run")
    with serving(run) as url:
        plan = (run / "plan.json").read_bytes()
        (run / "plan.json").write_bytes(b"{")
        status, headers, text = get(url)
        assert status == 500
        assert "plan.json" in text
        assert headers["Content-Type"].startswith("text/plain")
        (run / "plan.json").write_bytes(plan)
        assert get(url)[0] == 200


def test_what_cannot_be_served_is_said_at_once(realistic, tmp_path):
    with pytest.raises(CampaignError, match="not a run folder"):
        ReportServer([tmp_path], 0, refresh_seconds=7)
    with (
        ReportServer([realistic], 0, refresh_seconds=7) as server,
        pytest.raises(StorageError, match="give another --port"),
    ):
        ReportServer([realistic], server.server_port, refresh_seconds=7)
