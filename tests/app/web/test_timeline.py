"""The timeline, dates on tiles, and limits as chips."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from app.web import timeline
from app.web.photo_ranges import Days, days, ranges
from app.web.view import View
from tests.app.helpers import store
from tests.app.photographs import FILES


@pytest.fixture
def photos(client: TestClient) -> TestClient:
    for name, data in FILES.items():
        store(client, name, data)
    return client


def headings(html: str) -> list[str]:
    return re.findall(r'<h2 class="month"[^>]*>([^<]*)</h2>', html)


def test_months_with_their_photographs(photos: TestClient) -> None:
    page = photos.get("/timeline").text
    assert headings(page) == ["May 2024", "December 2023", "Without a date"]
    assert re.findall(r"<small>(\d+)</small>", page) == ["2", "1"]
    assert "31 May 2024" in page
    (link, *_) = re.findall(r'href="(/\?taken_after[^"]*)"', page)
    month = photos.get(link.replace("&amp;", "&")).text
    assert month.count('class="tile"') == 2
    assert "May 2024</bdi>" in month


def test_the_timeline_goes_on_where_it_stopped(photos: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "PAGE_SIZE", 1)
    shown, found = photos.get("/timeline").text, []
    for _ in range(6):
        found.append((headings(shown), shown.count('class="tile"')))
        following = re.search(r'hx-get="(/timeline/more[^"]*)"', shown)
        if following is None:
            break
        shown = photos.get(following[1].replace("&amp;", "&")).text
    assert found == [(["May 2024"], 1), ([], 1), (["December 2023"], 1), (["Without a date"], 1)]


def test_a_library_without_dates(client: TestClient) -> None:
    assert "No photograph here says" in client.get("/timeline").text
    store(client, "scan.jpg", FILES["scan.jpg"])
    assert headings(client.get("/timeline").text) == ["Without a date"]


def test_a_photograph_shows_what_its_file_says(photos: TestClient) -> None:
    image = photos.get("/v1/images", params={"near": "52.52,13.405,1"}).json()["items"][0]
    page = photos.get(f"/photos/{image['id']}").text
    assert "1 May 2024, 10:30 (+02:00)" in page
    for link, count in (("camera=", 2), ("near=", 1), ("taken_after=", 1)):
        (url,) = re.findall(rf'href="(/\?{link}[^"]*)"', page)
        assert photos.get(url.replace("&amp;", "&")).text.count('class="tile"') == count


def test_limits_that_cannot_be_read_are_said_and_can_be_removed(photos: TestClient) -> None:
    response = photos.get("/", params={"taken_after": "<yesterday>", "camera": "canon"})
    assert response.status_code == 422
    assert "must be a date" in response.text
    assert "&lt;yesterday&gt;" in response.text
    assert '/?camera=canon"' in response.text


@pytest.mark.parametrize(
    ("after", "before", "label"),
    [
        ("2024", "2025", "2024"),
        ("2024-05", "2024-06", "May 2024"),
        ("2023-12", "2024-01", "December 2023"),
        ("2024-05-01", "2024-05-02", "1 May 2024"),
        ("2024-05-01", "", "from 1 May 2024"),
        ("", "2024", "before 2024"),
        ("2024-05", "2024-07", "from May 2024, before July 2024"),
        ("2024-05-01T10:00+02:00", "", "from 1 May 2024, 10:00 (+02:00)"),
        ("9999-12", "", "from December 9999"),
        ("nonsense", "2024", "from nonsense, before 2024"),
        ("2024-05-01", "2024-05-04", "from 1 May 2024 to 3 May 2024"),
        ("", "2024-05-04", "until 3 May 2024"),
        ("", "0001-01-01", "before 1 January 1"),
    ],
)
def test_spans_in_words(after: str, before: str, label: str) -> None:
    photo = {name: text for name, text in (("taken_after", after), ("taken_before", before)) if text}
    (found,) = ranges(View(q="cat", photo=photo))
    assert found.label == label
    assert found.remove == "/?q=cat"


@pytest.mark.parametrize(
    ("after", "before", "first", "last"),
    [
        ("2024-05-01", "2024-05-04", "2024-05-01", "2024-05-03"),
        ("2024", "2024-07", "2024-01-01", "2024-06-30"),
        ("", "", "", ""),
        ("2024-05-01T10:00", "2024-05-01T10:00+02:00", "", ""),
        ("nonsense", "0001-01-01", "", ""),
    ],
)
def test_the_fields_of_the_page_show_whole_days(after: str, before: str, first: str, last: str) -> None:
    photo = {name: text for name, text in (("taken_after", after), ("taken_before", before)) if text}
    assert days(View(photo=photo)) == Days(first, last)
