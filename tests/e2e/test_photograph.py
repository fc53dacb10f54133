"""The page of a photograph: words, neighbours, composing, metadata, deleting with a way back."""

from __future__ import annotations

import json

import httpx2
from playwright.sync_api import Page, expect

from tests.app.helpers import picture

HOSTILE = """<script>document.title="stolen"</script>"'><img src=x onerror=alert(1)>"""
RIGHT_TO_LEFT = "\u202eשלום עולם مرحبا"


def upload(server: str, data: bytes, name: str, metadata: str = "{}") -> str:
    response = httpx2.post(f"{server}/v1/images", files={"files": (name, data)}, data={"metadata": metadata})
    image_id: str = response.json()["results"][0]["image"]["id"]
    return image_id


def test_it_opens_from_the_grid_with_words_and_neighbours(page: Page, ids: dict[str, str]) -> None:
    page.goto("/?q=a+cat")
    page.locator("#hits .photo").first.click()
    expect(page).to_have_url(f"{page.url.partition('/photos')[0]}/photos/{ids['cat.jpg']}")
    expect(page.get_by_role("heading", level=1)).to_have_text("cat.jpg")
    captions = page.locator("#words .captions")
    written, stored = captions.nth(0), captions.nth(1)
    expect(written.locator("li")).to_have_count(5)
    expect(stored.locator("li")).to_have_count(5)
    expect(page.locator("#photo")).to_have_attribute("alt", written.locator("li bdi").first.inner_text())
    expect(page.locator("#near .tile").first).to_be_visible()
    expect(page.locator(f'#near .tile[data-id="{ids["cat.jpg"]}"]')).to_have_count(0)
    page.get_by_role("link", name="cat", exact=True).click()
    expect(page.get_by_role("searchbox")).to_have_value("cat")


def test_composing_changes_the_neighbours_in_place(page: Page, ids: dict[str, str]) -> None:
    page.goto(f"/photos/{ids['cat.jpg']}")
    expect(page.locator("#near .tile").first).to_be_visible()
    before = page.locator("#near .tile").first.get_attribute("data-id")
    page.get_by_label("Minus these words").fill("cat")
    page.get_by_label("Plus these words").fill("rocket sky night")
    link = page.get_by_role("link", name="Open as a search")
    expect(link).to_have_attribute("href", f"/?q=image%3A{ids['cat.jpg']}+-+cat+%2B+rocket+sky+night")
    assert page.locator("#near .tile").first.get_attribute("data-id") != before
    page.get_by_label("Plus these words").fill("xqztl")
    expect(page.locator("#near")).to_contain_text("xqztl")
    page.get_by_label("Plus these words").fill("night")
    link.click()
    expect(page.locator(".query .chip")).to_have_count(3)


def test_metadata_is_edited(page: Page, server: str) -> None:
    image_id = upload(server, picture(seed=61), "meta.jpg", '{"year": 2024, "album": "winter"}')
    page.goto(f"/photos/{image_id}")
    page.get_by_label("Value of year").fill("2025")
    page.get_by_label("Name of a new entry").fill("place")
    page.get_by_label("Value of the new entry").fill("Ulm")
    page.locator("#metadata").get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_label("Value of place")).to_have_value("Ulm")
    stored = httpx2.get(f"{server}/v1/images/{image_id}").json()["metadata"]
    assert stored == {"year": 2025, "album": "winter", "place": "Ulm"}
    page.get_by_label("Value of year").fill("next")
    page.locator("#metadata").get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("'year' holds JSON")


def test_captions_are_edited(page: Page, server: str) -> None:
    image_id = upload(server, picture(seed=60), "captions.jpg")
    page.goto(f"/photos/{image_id}")
    for caption in ("a dog on the beach", "our holiday"):
        page.get_by_label("New caption").fill(caption)
        page.locator("#captions").get_by_role("button", name="Save").click()
        expect(page.locator("#captions textarea", has_text=caption)).to_be_visible()
        expect(page.get_by_label("New caption")).to_have_value("")
    page.get_by_label("Caption 1").fill("a white dog on the beach")
    page.get_by_label("Caption 2").fill("")
    page.locator("#captions").get_by_role("button", name="Save").click()
    expect(page.locator("#captions textarea")).to_have_count(2)
    stored = httpx2.get(f"{server}/v1/images/{image_id}/captions").json()["captions"]
    assert [(one["text"], one["origin"]) for one in stored] == [("a white dog on the beach", "user")]
    page.get_by_label("New caption").fill("xqztl")
    page.locator("#captions").get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("xqztl")
    expect(page.get_by_label("New caption")).to_have_value("xqztl")


def test_metadata_that_nobody_touched_is_saved_as_it_was(page: Page, server: str) -> None:
    odd = {" spaces ": " kept ", "line\nbreak": "in the key", "lines": "\r\nof\rthree\nkinds", "album": "winter"}
    image_id = upload(server, picture(seed=69), "odd.jpg", json.dumps(odd))
    page.goto(f"/photos/{image_id}")
    httpx2.patch(f"{server}/v1/images/{image_id}", json={"metadata": {"place": "Ulm"}})  # somebody else
    page.get_by_label("Value of album").fill("spring")
    page.locator("#metadata").get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_label("Value of place")).to_have_value("Ulm")
    stored = httpx2.get(f"{server}/v1/images/{image_id}").json()["metadata"]
    assert stored == {**odd, "album": "spring", "place": "Ulm"}


def test_deleting_can_be_undone(page: Page, server: str) -> None:
    image_id = upload(server, picture(seed=62), "unwanted.jpg")
    page.goto(f"/photos/{image_id}")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".toast")).to_contain_text("unwanted.jpg is being deleted.")
    expect(page.locator("#hits .tile").first).to_be_visible()
    expect(page.locator(f'.tile[data-id="{image_id}"]')).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("unwanted.jpg")
    page.goto("/")
    expect(page.locator(f'.tile[data-id="{image_id}"]')).to_have_count(1)


def test_a_long_name_leaves_room_to_undo_on_a_phone(page: Page, server: str) -> None:
    image_id = upload(server, picture(seed=70), f"{'w' * 3_000}.jpg")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/photos/{image_id}")
    page.get_by_role("button", name="Delete").click()
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_in_viewport(ratio=1)
    undo.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("www")


def test_a_deletion_that_is_not_undone_happens(page: Page, server: str) -> None:
    image_id = upload(server, picture(seed=63), "unwanted.jpg")
    page.goto(f"/photos/{image_id}")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".toast")).to_contain_text("is being deleted")
    page.goto("/model")  # it may be undone from every page
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    expect(page.locator(".toast")).to_have_count(0, timeout=30_000)
    page.wait_for_timeout(1500)
    assert httpx2.get(f"{server}/v1/images/{image_id}").status_code == 404


def test_a_very_long_sentence_does_not_fill_a_list(page: Page, server: str) -> None:
    created = httpx2.post(f"{server}/v1/sentences", json={"texts": ["a white dog " * 80]}).json()["results"][0]
    page.goto("/?q=a+white+dog&target=sentences")
    line = page.locator(".lines li", has_text="a white dog a white dog")
    expect(line).to_be_visible()
    assert line.evaluate("(one) => one.offsetHeight") < 200
    page.set_viewport_size({"width": 390, "height": 844})
    assert line.evaluate("(one) => one.offsetHeight") < 200
    httpx2.delete(f"{server}/v1/sentences/{created['sentence']['id']}")


def test_hostile_names_and_metadata_are_text(page: Page, server: str) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    long = "x" * 10_000
    upload(server, picture(seed=64), "plain.jpg")
    image_id = upload(server, picture(seed=65), "hostile.jpg")
    metadata = {HOSTILE: HOSTILE, "rtl": RIGHT_TO_LEFT, "long": long, "nested": {"a": [HOSTILE]}}
    patched = httpx2.patch(f"{server}/v1/images/{image_id}", json={"metadata": metadata})
    assert patched.status_code == 200
    for seed, name in enumerate((HOSTILE, RIGHT_TO_LEFT, f"{'x' * 3_000}.jpg")):
        other = upload(server, picture(seed=66 + seed), name)
        page.goto(f"/photos/{other}")
        expect(page.locator("#near .tile").first).to_be_visible()
        assert "stolen" not in page.title()
    page.goto(f"/photos/{image_id}")
    expect(page.get_by_label(f"Value of {HOSTILE}")).to_have_value(HOSTILE)
    expect(page.get_by_label("Value of rtl")).to_have_value(RIGHT_TO_LEFT)
    expect(page.get_by_label("Value of long")).to_have_value(long)
    page.goto("/")
    expect(page.locator("#hits .tile").first).to_be_visible()
    page.goto(f"/?q=image:{image_id}&metadata.rtl=x")
    expect(page.locator(".query .chip").first).to_be_visible()
    page.get_by_role("searchbox").fill(HOSTILE.replace(" -", ""))
    expect(page.locator("#message")).not_to_be_empty()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert dialogs == []
