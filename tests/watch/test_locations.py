"""What is listed of each place where releases appear, and what tells that files changed."""

import os
import shutil
import time

import pytest

from components.errors import BadParameter, BadReference, ServiceUnavailable
from components.watch.locations import open_location
from tests.support.fakehub import server  # noqa: F401 - a fixture
from tests.support.tinymodels import make_checkpoint

# ruff: noqa: F811 - fixtures are imported, and asked for by name


def listing(releases):
    return {one.name: one for one in open_location(releases).listed()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("models") / "model", layers=1)


class TestAFolder:
    @pytest.fixture
    def place(self, tmp_path, model):
        place = tmp_path / "releases"
        shutil.copytree(model, place / "one")
        shutil.copytree(model, place / "two")
        (place / "no-checkpoint").mkdir()
        (place / ".hidden").mkdir()
        (place / "README.md").write_text("Hello")
        return place

    def test_the_checkpoints_directly_in_it_are_listed(self, place):
        found = listing(str(place))
        assert set(found) == {str(place / "one"), str(place / "two")}
        assert found[str(place / "one")].reference == str(place / "one")

    def test_the_config_says_when_it_appeared(self, place):
        os.utime(place / "one/config.json", (1000, 1000))
        assert listing(str(place))[str(place / "one")].appeared == 1000

    @pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
    def test_a_file_that_changed_is_another_state_even_in_the_same_second(self, place, file):
        before = listing(str(place))
        content = (place / "one" / file).read_bytes()
        (place / "one" / file).write_bytes(content)
        after = listing(str(place))
        changed = {name for name in before if before[name].state != after[name].state}
        assert changed == {str(place / "one")}

    def test_another_file_of_no_checkpoint_changes_nothing(self, place):
        before = listing(str(place))
        (place / "one/notes.log").write_text("x")
        assert listing(str(place)) == before

    def test_one_that_is_not_there_is_not_an_empty_one(self, tmp_path):
        with pytest.raises(BadReference, match="cannot be read"):
            open_location(str(tmp_path / "unmounted")).listed()

    def test_ten_thousand_are_listed_in_seconds(self, tmp_path):
        for number in range(10_000):
            folder = tmp_path / "many" / f"release-{number}"
            folder.mkdir(parents=True)
            for name in ("config.json", "model.safetensors"):
                (folder / name).touch()
        started = time.process_time()
        assert len(listing(str(tmp_path / "many"))) == 10_000
        assert time.process_time() - started < 8


class TestABucket:
    @pytest.fixture
    def place(self, bucket_store, model):
        for path in model.iterdir():
            for name in ("one", "two"):
                bucket_store.put(f"releases/{name}/{path.name}", path.read_bytes())
        bucket_store.put("releases/one/deep/config.json", b"{}")
        bucket_store.put("releases/three/model.safetensors", b"")
        bucket_store.put("releases/config.json", b"{}")
        return bucket_store.under("releases")

    def test_the_checkpoints_directly_below_it_are_listed(self, place):
        found = listing(place.uri)
        assert set(found) == {f"{place.uri}/one", f"{place.uri}/two"}
        assert abs(found[f"{place.uri}/one"].appeared - time.time()) < 600

    def test_an_object_that_was_replaced_is_another_state(self, place):
        before = listing(place.uri)
        place.put("one/config.json", b"{} ")
        after = listing(place.uri)
        assert before[f"{place.uri}/one"].state != after[f"{place.uri}/one"].state
        assert before[f"{place.uri}/two"].state == after[f"{place.uri}/two"].state


class TestTheHub:
    @pytest.fixture
    def hub(self, server, monkeypatch):
        server.reset()
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setattr("components.sources.hub_errors.FIRST_WAIT_S", 0.01)
        return server

    @pytest.fixture
    def commits(self, hub, model, tmp_path):
        found = {}
        for number, branch in enumerate(["main", "step9", "step10", "other"]):
            folder = tmp_path / branch
            shutil.copytree(model, folder)
            (folder / "README.md").write_text(branch)
            found[branch] = hub.add("org/model", folder, branch=branch, date=f"2025-01-0{number + 1}T00:00:00.000Z")
        hub.repos["org/model"].tags["step-tag"] = found["other"]
        return found

    def test_branches_and_tags_that_match_are_listed_with_their_commits(self, commits):
        found = listing("hub:org/model@step*")
        assert {name: one.state for name, one in found.items()} == {
            "org/model@step9": commits["step9"],
            "org/model@step10": commits["step10"],
            "org/model@step-tag": commits["other"],
        }
        assert found["org/model@step9"].reference == f"org/model@{commits['step9']}"

    def test_it_takes_one_request_and_one_for_each_date(self, hub, commits):
        place = open_location("hub:org/model@step*")
        found = place.listed()
        assert len(hub.seen) == 1
        assert {one.appeared for one in found} == {None}
        dates = {one.name: place.date_of(one) for one in found}
        assert dates["org/model@step10"] - dates["org/model@step9"] == 86_400
        assert len(hub.seen) == 1 + len(found)

    def test_models_of_an_account_are_listed_by_pattern_newest_first_over_all_pages(self, hub, model):
        hub.page = 2
        for number in range(5):
            hub.add(f"org/OLMo-{number}", model, date=f"2025-01-0{number + 1}T00:00:00.000Z")
        hub.add("org/other", model)
        hub.add("another/OLMo-9", model)
        hub.add("org/OLMo-private", model, private=True)
        found = open_location("hub:org/OLMo-*").listed()
        assert [one.name for one in found] == [f"org/OLMo-{number}" for number in (4, 3, 2, 1, 0)]
        assert found[0].appeared - found[1].appeared == 86_400
        assert found[0].reference == f"org/OLMo-4@{hub.repos['org/OLMo-4'].branches['main']}"
        assert len(hub.requests("/api/models")) == 3

    def test_a_tag_of_the_hub_restricts_them(self, hub, model):
        hub.add("org/of-base", model, model_tags=("base_model:org/base",))
        hub.add("org/of-another", model, model_tags=("base_model:org/another",))
        assert set(listing("hub:org/*,base_model:org/base")) == {"org/of-base"}
        assert set(listing("hub:org/*")) == {"org/of-base", "org/of-another"}

    def test_an_outage_is_tried_again_and_then_told(self, hub, commits):
        hub.fail("status", "/refs", times=2)
        assert listing("hub:org/model@step9")
        hub.fail("status", "/refs", times=100)
        with pytest.raises(ServiceUnavailable, match="branches and tags of org/model"):
            listing("hub:org/model@step9")

    def test_a_repository_that_is_not_there_is_told(self, hub):
        with pytest.raises(BadReference, match="has no model org/gone"):
            listing("hub:org/gone@*")

    @pytest.mark.parametrize(
        "body",
        [
            b"no JSON",
            b"[]",
            b'"text"',
            b'{"branches": [], "tags": [{"name": "a", "targetCommit": "no commit"}]}',
            b'{"branches": [], "tags": [{"name": 5, "targetCommit": "0123456789012345678901234567890123456789"}]}',
            b'{"branches": [], "tags": [{"targetCommit": "0123456789012345678901234567890123456789"}]}',
            b'{"branches": 5, "tags": []}',
        ],
    )
    def test_an_answer_that_is_none_is_told(self, hub, commits, body):
        hub.fail("status", "/refs", times=100, status=200, body=body)
        if body == b"[]":
            assert listing("hub:org/model@*") == {}
            return
        with pytest.raises(ServiceUnavailable):
            listing("hub:org/model@*")

    def test_a_branch_that_cannot_be_named_or_has_no_commit_is_left_out_and_logged(self, hub, commits, caplog):
        odd = {"step#1": commits["other"], "step-é": commits["other"], "step 2": commits["other"], "step3": None}
        hub.repos["org/model"].tags |= odd
        with caplog.at_level("WARNING"):
            found = listing("hub:org/model@step*")
        assert set(found) == {"org/model@step9", "org/model@step10", "org/model@step-tag"}
        assert len(caplog.records) == len(odd)
        assert "step#1" in caplog.text

    def test_what_does_not_match_is_not_looked_at(self, hub, commits, caplog):
        hub.repos["org/model"].tags |= {"odd#1": "no commit", "other-é": None}
        with caplog.at_level("WARNING"):
            assert set(listing("hub:org/model@step*")) == {"org/model@step9", "org/model@step10", "org/model@step-tag"}
        assert not caplog.records

    def test_a_model_without_a_commit_is_left_out(self, hub, model):
        hub.add("org/whole", model)
        empty = b'[{"id": "org/empty", "sha": null, "lastModified": null}, {"id": "org/\xc3\xa9", "sha": null}]'
        hub.fail("status", "/api/models", times=1, status=200, body=empty)
        assert listing("hub:org/*") == {}
        assert set(listing("hub:org/*")) == {"org/whole"}

    @pytest.mark.parametrize("link", ["http://127.0.0.1:9/api/models?cursor=1", "circle"])
    def test_a_list_that_leads_elsewhere_or_in_circles_is_told(self, hub, model, link):
        hub.add("org/model", model)
        link = f"{hub.url}/api/models?again" if link == "circle" else link
        headers = {"Link": f'<{link}>; rel="next"'}
        hub.fail("status", "/api/models", times=100, status=200, body=b"[]", headers=headers)
        with pytest.raises(ServiceUnavailable, match="elsewhere, or in circles"):
            listing("hub:org/*")

    def test_a_token_is_sent(self, hub, model, monkeypatch):
        hub.tokens["secret"] = {"org/private"}
        monkeypatch.setenv("HF_TOKEN", "secret")
        hub.add("org/private", model, private=True)
        assert set(listing("hub:org/*")) == {"org/private"}


def test_the_demos_releases_are_listed_without_being_made():
    found = open_location("demo:release-*").listed()
    assert [one.name for one in found] == [f"demo:release-{number}" for number in range(1, 6)]
    assert sorted(found, key=lambda one: one.appeared) == found


def test_names_of_the_demo_are_those_that_it_makes():
    from components.demo import names, releases

    assert tuple(releases.RECIPES) == names.RELEASES


@pytest.mark.parametrize(
    "releases", ["", "hub:", "hub:org", "hub:org/", "hub:a/b/c", "hub:org/model@", "https://hub/x", "hub:org/x y"]
)
def test_what_names_no_place_is_refused(releases):
    with pytest.raises(BadParameter, match="releases is"):
        open_location(releases)


@pytest.mark.parametrize("releases", ["s3://", "s3://bucket/../other", "s3://UPPER/x"])
def test_what_is_no_address_in_a_bucket_is_refused(releases):
    with pytest.raises(BadReference):
        open_location(releases)
