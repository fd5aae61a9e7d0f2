"""Registry: names are found by any thread, taken once, and never missing in silence."""

import subprocess
import sys
import threading

import pytest

import siamese
from siamese.errors import ConfigError
from siamese.registry import Registry


def package(folder, monkeypatch, name, body=""):
    """A package with one file that registers ``One`` as "one"."""
    room = folder / name
    room.mkdir()
    (room / "__init__.py").write_text("from siamese.registry import Registry\n")
    (room / "base.py").write_text(
        f"from siamese.registry import Registry\nTABLE = Registry('thing', 'TABLE', {name!r})\n"
    )
    (room / "one.py").write_text(
        f"{body}\nfrom {name}.base import TABLE\n@TABLE.register('one')\nclass One: ...\n"
    )
    monkeypatch.syspath_prepend(folder)
    return __import__(f"{name}.base", fromlist=["TABLE"]).TABLE


def test_a_name_is_found_while_another_thread_looks_for_it(tmp_path, monkeypatch):
    table = package(tmp_path, monkeypatch, "slow_room", "import time; time.sleep(0.3)")
    found = []
    threads = [threading.Thread(target=lambda: found.append(table["one"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4


def test_a_file_that_cannot_be_imported_is_no_empty_table(tmp_path, monkeypatch):
    table = package(tmp_path, monkeypatch, "broken_room", "import no_such_library")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_library"):
            list(table)


def test_a_name_is_taken_once_and_a_class_may_be_defined_again():
    table = Registry("thing", "TABLE", "siamese.losses")

    def define(module):
        return type("Thing", (), {"__module__": module})

    table.register("thing")(define("notebook"))
    again = table.register("thing")(define("notebook"))
    assert table["thing"] is again
    with pytest.raises(ConfigError, match=r"is notebook\.Thing: register Thing under another name"):
        table.register("thing")(define("elsewhere"))
    assert table["thing"] is again


def test_our_own_names_are_taken_before_any_is_looked_up():
    script = "import siamese; siamese.BACKBONES.register('small_res_net')(type('Mine', (), {}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "'small_res_net' is siamese.backbones.small_res_net.SmallResNet" in done.stderr


@pytest.mark.parametrize("kind", ["CROPPERS", "POLICIES", "PAIR_RULES"])
def test_what_is_built_by_name_is_called_so(kind):
    table = getattr(siamese, kind)
    needs = {"recall": {"rate": 0.9}, "fmr": {"rate": 0.1}, "cost": {"false_match": 2}}
    for name in set(table) - {"fixed_pairs", "fixed_box"}:
        assert table.name(table.build({"name": name} | needs.get(name, {}))) == name


def test_arguments_that_came_later_mean_what_the_class_did_without_them():
    table = Registry("thing", "TABLE", "siamese.losses")

    class Thing:
        added = {"later": 1, "latest": 1}

        def __init__(self, first=0, later=2, latest=2):
            self.first, self.later, self.latest = first, later, latest

    class Rewrites(Thing):  # what its parent did once says nothing of it
        def __init__(self, first=0, later=2):
            super().__init__(first, later)

    class Inherits(Thing):
        pass

    table.register("thing")(Thing)
    table.register("rewrites")(Rewrites)
    table.register("inherits")(Inherits)

    def built(settings):
        return table.settings(table.build(settings))

    written = {"name": "thing", "first": 5}
    assert built(written) == written | {"later": 1, "latest": 1}
    assert built(written | {"later": 3}) == written | {"later": 3, "latest": 1}
    assert (
        built("thing")
        == built({"name": "thing"})
        == {"name": "thing", "first": 0, "later": 2, "latest": 2}
    )
    assert built({"name": "rewrites", "first": 5})["later"] == 2
    assert built({"name": "inherits", "first": 5}) == built(written) | {"name": "inherits"}
