"""Downloads without a published checksum, from a server that misbehaves in every way."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import multiprocessing
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as to_safetensors

import rinalmo_kit as rk
from rinalmo_kit._utils import download
from rinalmo_kit._utils.contents import check_content
from rinalmo_kit._utils.download import fetch, note_of
from rinalmo_kit.model import pretrained

CUT = 40_000  # bytes after which a connection breaks
PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>"
    + b"Please wait. " * 9000
    + b"</body></html>"
)
BIG = torch.arange(50_000, dtype=torch.float32)


def torch_file(x: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    torch.save({"x": x}, stream)
    return stream.getvalue()


def zip_file(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, np.random.default_rng(1).bytes(150_000))
        archive.writestr("more.txt", "text")
    return stream.getvalue()


NOISE = np.random.default_rng(0).bytes(150_000)
FILES = {
    "model.pt": torch_file(BIG),
    "model.safetensors": to_safetensors({"x": BIG}),
    "table.csv.gz": gzip.compress(NOISE),
    "data.tar.gz": gzip.compress(NOISE),
    "sheet.xlsx": zip_file("[Content_Types].xml"),
    "set.zip": zip_file("TR0/a.st"),
    "sets.RDa": gzip.compress(b"RDX3\nX\n" + NOISE),
}
OTHER = {
    "model.pt": torch_file(BIG + 1),
    "model.safetensors": to_safetensors({"x": BIG + 1}),
    "table.csv.gz": gzip.compress(NOISE[::-1]),
}


class Server(http.server.BaseHTTPRequestHandler):
    """Answers with the functions in `plan`, one a request, the last of them for ever."""

    plan: list[Callable[[Server, int], None]]
    asked: list[dict[str, str | None]]

    def do_GET(self) -> None:
        if self.path == "/login":
            return self.answer(PAGE, headers={"Content-Type": "text/html; charset=utf-8"})
        headers = {name: self.headers.get(name) for name in ("Range", "If-Range")}
        self.asked.append(headers)
        start = int(re.match(r"bytes=(\d+)-", headers["Range"])[1]) if headers["Range"] else 0
        plan = type(self).plan
        return (plan.pop(0) if len(plan) > 1 else plan[0])(self, start)

    def answer(
        self, body: bytes, *, status: int = 200, headers: dict | None = None, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **(headers or {})}.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body[:cut])

    def log_message(self, *_) -> None:
        pass


def good(
    content: bytes, *, cut: int | None = None, ranged: bool = True, shift: int = 0, **headers: object
) -> Callable:
    """Make an answer as it should be, but for what is asked for: `headers` with _ for -, None to leave one out."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(server: Server, start: int) -> None:
        wanted = server.headers.get("If-Range")
        valid = wanted in (None, headers.get("ETag"), headers.get("Last-Modified"))
        if not (start and ranged and valid):
            return server.answer(content, cut=cut, headers=headers)
        if start >= len(content):
            return server.answer(b"", status=416)
        first = start + shift
        range_ = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
        return server.answer(content[first:], status=206, cut=cut, headers=range_ | headers)

    return answer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    handler = type("Handler", (Server,), {"plan": [], "asked": []})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.url = f"http://127.0.0.1:{running.server_port}"
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr("time.sleep", lambda _: None)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    yield handler
    running.shutdown()
    running.server_close()


def get(server: type[Server], path: Path, sha256: str | None = None) -> bytes:
    return fetch(f"{server.url}/f", path, sha256=sha256, otherwise="Get it elsewhere").read_bytes()


def there(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if not one.name.endswith(".lock"))


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_is_remembered(server: type[Server], tmp_path: Path, name: str) -> None:
    server.plan = [good(FILES[name], ETag='"1"')]
    assert get(server, tmp_path / name) == get(server, tmp_path / name) == FILES[name]
    assert len(server.asked) == 1 and there(tmp_path) == [name, f"{name}.sha256.json"]
    note = json.loads(note_of(tmp_path / name).read_text())
    assert note["sha256"] == hashlib.sha256(FILES[name]).hexdigest()
    assert (note["size"], note["etag"], note["url"]) == (len(FILES[name]), '"1"', f"{server.url}/f")


# --- answers that are not the file -----------------------------------------------------------------------


def login(server: Server, start: int) -> None:
    server.answer(b"", status=302, headers={"Location": "/login"})


WRONG = {
    "a page, by its type": good(PAGE, Content_Type="text/html; charset=utf-8"),
    "a page, by its content": good(PAGE, Content_Type="application/octet-stream"),
    "a page with a mark and blanks before it": good(b"\xef\xbb\xbf \n" + PAGE),
    "xhtml": good(b"<?xml version='1.0'?><html/>", Content_Type="application/xhtml+xml"),
    "sent on to a page": login,
    "json": good(b'{"message": "rate limit"}', Content_Type="application/json"),
    "nothing": good(b""),
    "text": good(b"Service unavailable\n" * 1000),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("wrong", WRONG)
def test_another_answer_is_never_the_file(
    server: type[Server], tmp_path: Path, name: str, wrong: str
) -> None:
    server.plan = [WRONG[wrong]]
    with pytest.raises(ValueError, match=rf"{re.escape(name)}.*Get it elsewhere"):
        get(server, tmp_path / name)
    assert there(tmp_path) == []
    server.plan = [good(FILES[name])]
    assert get(server, tmp_path / name) == FILES[name]


@pytest.mark.parametrize("name", ["notes.txt", "table.csv", "set.fasta"])
@pytest.mark.parametrize(
    "wrong", ["a page, by its type", "a page, by its content", "sent on to a page", "nothing"]
)
def test_a_web_page_is_not_taken_for_a_text(
    server: type[Server], tmp_path: Path, name: str, wrong: str
) -> None:
    server.plan = [WRONG[wrong]]
    with pytest.raises(ValueError, match=name):
        get(server, tmp_path / name)


def middle(content: bytes) -> bytes:
    return content[:70_000] + bytes(b ^ 1 for b in content[70_000:70_050]) + content[70_050:]


DAMAGE = {
    "cut": lambda content: content[:-1],
    "half": lambda content: content[: len(content) // 2],
    "changed": middle,
    "hole": lambda content: content[:60_000] + content[90_000:],
    "twice": lambda content: content[:60_000] + content,
    "longer": lambda content: content + b"\x00\x01",
}
HARMLESS = {("model.safetensors", "changed")}  # cannot be seen: the format has no checksum
HARMLESS |= {
    (name, "longer") for name in ("model.pt", "sheet.xlsx", "set.zip")
}  # a comment behind the archive


@pytest.mark.parametrize(
    ("name", "damage"), [(n, d) for n in FILES for d in DAMAGE if (n, d) not in HARMLESS]
)
def test_a_damaged_file_never_gets_the_name(
    server: type[Server], tmp_path: Path, name: str, damage: str
) -> None:
    """The server sends it as if it were whole."""
    server.plan = [good(DAMAGE[damage](FILES[name]))]
    with pytest.raises(ValueError, match=rf"{re.escape(name)} is cut off, damaged or something else"):
        get(server, tmp_path / name)
    assert there(tmp_path) == []


# --- resuming --------------------------------------------------------------------------------------------

STAMP = {"Last_Modified": "Tue, 02 Jul 2024 10:00:00 GMT"}
MARKS = [{"ETag": '"1"'}, STAMP, {"ETag": 'W/"1"', **STAMP}, {}]


@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize("name", ["model.pt", "table.csv.gz"])
def test_a_broken_connection_is_resumed(server: type[Server], tmp_path: Path, name: str, marks: dict) -> None:
    server.plan = [good(FILES[name], cut=60_000, **marks)]
    assert get(server, tmp_path / name) == FILES[name]
    assert 2 < len(server.asked) < 6 and int(server.asked[-1]["Range"][6:-1]) > 90_000
    mark = marks.get("ETag") if marks.get("ETag", "W").startswith('"') else marks.get("Last_Modified")
    assert {one["If-Range"] for one in server.asked[1:]} == {mark}


def test_what_nothing_could_verify_is_begun_anew(server: type[Server], tmp_path: Path) -> None:
    """Neither ETag nor date, and no checksum inside."""
    name = "model.safetensors"
    server.plan = [good(FILES[name], cut=CUT), good(FILES[name])]
    assert get(server, tmp_path / name) == FILES[name]
    assert server.asked[1]["Range"] == "bytes=0-"


def one_byte_less(content: bytes) -> Callable:
    def answer(server: Server, start: int) -> None:
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}", "ETag": '"1"'}
        server.answer(content[start:-1], status=206, headers=headers)

    return answer


def misplaced(content: bytes, said: str | None) -> Callable:
    """Answer with status 206 whatever was asked for, from the first byte on."""

    def answer(server: Server, start: int) -> None:
        if server.headers.get("Range") is None:
            return server.answer(content, headers={"ETag": '"1"'})
        return server.answer(content, status=206, headers={"Content-Range": said, "ETag": '"1"'})

    return answer


def unsatisfiable(content: bytes) -> Callable:
    def answer(server: Server, start: int) -> None:
        if start:
            return server.answer(b"", status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        return server.answer(content)

    return answer


def second_answers(content: bytes, other: bytes) -> dict[str, tuple[Callable, bytes]]:
    """What a server answers once a part has arrived, and what the file is then."""
    size = len(content)
    return {
        "the whole file": (good(content, ranged=False, ETag='"1"'), content),
        "another file, whole, since its mark differs": (good(other, ETag='"2"'), other),
        "starts earlier": (good(content, shift=-1000, ETag='"1"'), content),
        "starts later": (good(content, shift=1000, ETag='"1"'), content),
        "does not say where": (misplaced(content, None), content),
        "says the start of all": (misplaced(content, f"bytes 0-{size - 1}/{size}"), content),
        "no sense": (misplaced(content, "bytes one-two/three"), content),
        "another length of the whole": (misplaced(content, f"bytes {CUT}-{size}/{size + 1}"), content),
        "not as long as it says": (one_byte_less(content), content),
        "nothing there": (unsatisfiable(content), content),
    }


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("way", second_answers(b"", b""))
def test_an_answer_that_does_not_fit_starts_over(
    server: type[Server], tmp_path: Path, name: str, way: str
) -> None:
    answer, expected = second_answers(FILES[name], OTHER[name])[way]
    server.plan = [good(FILES[name], cut=CUT, ETag='"1"'), answer, answer, good(expected)]
    assert get(server, tmp_path / name) == expected
    assert server.asked[1] == {"Range": f"bytes={CUT}-", "If-Range": '"1"'}


@pytest.mark.parametrize("name", ["model.pt", "table.csv.gz"])
@pytest.mark.parametrize("published", [True, False])
def test_a_resumed_file_that_turns_out_wrong_is_begun_anew(
    server: type[Server], tmp_path: Path, name: str, published: bool
) -> None:
    """The server has another file under the same ETag."""
    sha256 = hashlib.sha256(FILES[name]).hexdigest() if published else None
    mark = {"ETag": '"1"'}
    other = FILES[name][:CUT] + OTHER[name][CUT:] if name == "model.pt" else OTHER[name]
    server.plan = [good(FILES[name], cut=CUT, **mark), good(other, **mark), good(FILES[name], **mark)]
    assert get(server, tmp_path / name, sha256) == FILES[name]


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("marks", [{"ETag": '"2"'}, {}])
def test_a_file_that_changes_between_attempts(
    server: type[Server], tmp_path: Path, name: str, marks: dict
) -> None:
    """The server does not heed If-Range: it sends the end of another file."""

    def careless(server: Server, start: int) -> None:
        content = OTHER[name]
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}", **marks}
        server.answer(content[start:], status=206 if start else 200, headers=headers if start else marks)

    first = {"ETag": '"1"'} if marks else {}
    server.plan = [good(FILES[name], cut=CUT, **first), careless]
    assert get(server, tmp_path / name) == OTHER[name]


def test_answers_that_never_fit_end_in_an_error(server: type[Server], tmp_path: Path) -> None:
    def wrong(server: Server, start: int) -> None:
        server.answer(NOISE, status=206, headers={"Content-Range": "bytes 7-9/11"})

    server.plan = [wrong]
    with pytest.raises(ConnectionError, match=r"answers do not fit together.*'bytes 7-9/11' was sent"):
        get(server, tmp_path / "model.pt")
    assert there(tmp_path) == []


# --- what an earlier call left ---------------------------------------------------------------------------


def left(server: type[Server], path: Path, **marks: str) -> Path:
    """Break a download off for good, and return its part."""
    server.plan = [
        good(FILES[path.name], cut=CUT, **marks),
        lambda server, start: server.answer(b"", cut=0, status=503),
    ]
    with pytest.raises(ConnectionError, match="What has arrived is kept; call again to go on"):
        get(server, path)
    [part] = path.parent.glob("*.part")
    assert part.stat().st_size == CUT
    server.asked.clear()
    server.plan = [good(FILES[path.name], **marks)]
    return part


def flip(part: Path) -> None:
    content = bytearray(part.read_bytes())
    content[100] ^= 1
    part.write_bytes(content)


def note(**change: object) -> Callable[[Path], None]:
    def change_note(part: Path) -> None:
        path = part.with_name(part.name + ".json")
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return change_note


TAMPERED = {
    "a bit": flip,
    "shorter": lambda part: part.write_bytes(part.read_bytes()[:-10]),
    "another": lambda part: part.write_bytes(NOISE[:CUT]),
    "empty": lambda part: part.write_bytes(b""),
    "no note": lambda part: part.with_name(part.name + ".json").unlink(),
    "note is no JSON": lambda part: part.with_name(part.name + ".json").write_text("{"),
    "note is a list": lambda part: part.with_name(part.name + ".json").write_text("[1]"),
    "note of another address": note(url="http://example.org"),
    "note with a wrong size": note(size=-1),
    "note with a size of another type": note(size="40000"),
    "note with a length that is less": note(total=10),
}


@pytest.mark.parametrize("tamper", TAMPERED)
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_a_part_that_was_changed_is_not_used(
    server: type[Server], tmp_path: Path, name: str, tamper: str
) -> None:
    part = left(server, tmp_path / name, ETag='"1"')
    TAMPERED[tamper](part)
    assert get(server, tmp_path / name) == FILES[name]
    assert server.asked == [{"Range": "bytes=0-", "If-Range": None}]


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_what_came_after_the_note_is_asked_for_again(server: type[Server], tmp_path: Path, name: str) -> None:
    """A killed process has written more than its note says."""
    part = left(server, tmp_path / name, ETag='"1"')
    part.write_bytes(part.read_bytes() + b"and what came last")
    assert get(server, tmp_path / name) == FILES[name]
    assert server.asked == [{"Range": f"bytes={CUT}-", "If-Range": '"1"'}]


def test_a_part_that_is_whole_is_not_asked_for(server: type[Server], tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    part = left(server, path, ETag='"1"')
    part.write_bytes(FILES["model.pt"])
    note(size=len(FILES["model.pt"]), sha256=hashlib.sha256(FILES["model.pt"]).hexdigest())(part)
    assert get(server, path) == FILES["model.pt"] and server.asked == []


def test_the_note_of_a_part_is_kept_up_to_date(
    server: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process that is killed leaves behind can be used."""
    monkeypatch.setattr(download, "NOTED", 1)
    sizes = []
    monkeypatch.setattr(download.json, "dumps", lambda facts, **_: sizes.append(facts["size"]) or "{}")
    server.plan = [good(FILES["model.pt"])]
    get(server, tmp_path / "model.pt")
    assert len(set(sizes)) > 2


# --- later calls -----------------------------------------------------------------------------------------


def test_a_later_change_is_noticed(server: type[Server], tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    server.plan = [good(FILES["model.pt"])]
    get(server, path)
    os.utime(path, (1, 1))  # copied, or touched: the same file
    assert get(server, path) == FILES["model.pt"]
    assert json.loads(note_of(path).read_text())["mtime_ns"] == 10**9
    path.write_bytes(OTHER["model.pt"])
    with pytest.raises(ValueError, match=r"model\.pt has changed since it was downloaded.*Remove it"):
        get(server, path)
    path.unlink()
    assert get(server, path) == FILES["model.pt"] and len(server.asked) == 2


def test_the_sum_is_not_computed_at_every_load(
    server: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.plan = [good(FILES["model.pt"])]
    get(server, tmp_path / "model.pt")
    monkeypatch.setattr(download, "sha256_of", lambda path: pytest.fail("computed"))
    assert get(server, tmp_path / "model.pt") == FILES["model.pt"]


@pytest.mark.parametrize("spoil", [None, "", "{", "[]", '{"sha256": "00"}'])
def test_a_file_without_a_note_is_checked_and_remembered(
    server: type[Server], tmp_path: Path, spoil: str | None
) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(FILES["model.pt"])
    if spoil is not None:
        note_of(path).write_text(spoil)
    assert get(server, path) == FILES["model.pt"]
    assert json.loads(note_of(path).read_text())["sha256"] == hashlib.sha256(FILES["model.pt"]).hexdigest()
    note_of(path).unlink()
    path.write_bytes(FILES["model.pt"][:-100])
    with pytest.raises(ValueError, match=f"{path} is cut off, damaged"):
        get(server, path)


# --- official files --------------------------------------------------------------------------------------

UNPUBLISHED = [name for name, (_, sha256) in pretrained.OFFICIAL.items() if sha256 is None]


@pytest.fixture
def official(server: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Server]:
    monkeypatch.setattr(pretrained, "RECORD", server.url)
    monkeypatch.setenv("RINALMO_KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RINALMO_KIT_DATA", raising=False)
    return server


def test_fourteen_files_are_without_a_checksum() -> None:
    assert len(UNPUBLISHED) == 14


@pytest.mark.parametrize("name", UNPUBLISHED)
def test_an_official_file_says_once_what_was_not_verified(official: type[Server], name: str) -> None:
    official.plan = [good(FILES["model.pt"])]
    with pytest.warns(
        UserWarning, match=f"no SHA-256 is published for {pretrained.OFFICIAL[name][0]}: .*not verified"
    ):
        path = pretrained.official_file(name)
    assert pretrained.official_file(name) == path  # warnings are errors here
    path.write_bytes(OTHER["model.pt"])
    with pytest.raises(ValueError, match="has changed since"):
        rk.load(name)


@pytest.mark.parametrize("name", UNPUBLISHED[:2])
@pytest.mark.parametrize("wrong", WRONG)
def test_no_official_file_is_a_web_page(official: type[Server], name: str, wrong: str) -> None:
    official.plan = [WRONG[wrong]]
    with pytest.raises(ValueError, match=r"\$RINALMO_KIT_DATA"):
        rk.load(name)


@pytest.mark.parametrize("folder", ["", "checkpoints"])
def test_a_copy_in_the_data_folder_is_checked(
    official: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("RINALMO_KIT_DATA", str(tmp_path / "data"))
    path = tmp_path / "data" / folder / pretrained.OFFICIAL["giga-mrl"][0]
    path.parent.mkdir(parents=True)
    for content in (PAGE, FILES["model.pt"][:-1], middle(FILES["model.pt"]), b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path} is "):
            rk.load("giga-mrl")
    path.write_bytes(FILES["model.pt"])
    with pytest.warns(UserWarning, match="its structure fits.*was not verified"):
        assert pretrained.official_file("giga-mrl") == path
    assert official.asked == []


@pytest.mark.parametrize("kind", ["a file", "in a file"])
@pytest.mark.parametrize("name", ["giga", "giga-mrl"])
def test_a_cache_that_cannot_be_written_names_its_variable(
    official: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    (tmp_path / "file").touch()
    cache = tmp_path / "file" if kind == "a file" else tmp_path / "file" / "cache"
    monkeypatch.setenv("RINALMO_KIT_CACHE", str(cache))
    with pytest.raises(
        OSError, match=rf"{cache}.*cannot be written.*Set RINALMO_KIT_CACHE to a folder"
    ) as caught:
        rk.load(name)
    assert not isinstance(caught.value, ConnectionError) and official.asked == []


def test_a_full_disk_is_not_called_a_broken_connection(
    official: type[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    official.plan = [good(FILES["model.pt"])]
    with pytest.raises(OSError, match=r"No space left on device.*RINALMO_KIT_CACHE") as caught:
        rk.load("giga-mrl")
    assert not isinstance(caught.value, ConnectionError)


def _fetch_in_process(url: str, path: Path, gate: object, queue: object) -> None:
    gate.wait()
    queue.put(fetch(url, path, sha256=None, otherwise="").read_bytes() == FILES["model.pt"])


def test_of_several_processes_one_downloads(server: type[Server], tmp_path: Path) -> None:
    server.plan = [good(FILES["model.pt"])]
    context = multiprocessing.get_context("fork")
    gate, queue = context.Event(), context.SimpleQueue()
    arguments = (f"{server.url}/f", tmp_path / "model.pt", gate, queue)
    workers = [context.Process(target=_fetch_in_process, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    gate.set()
    assert [queue.get() for _ in workers] == [True] * 3
    for worker in workers:
        worker.join()
    assert len(server.asked) == 1


# --- the structure of files ------------------------------------------------------------------------------


def test_ready_files_of_the_package_are_whole() -> None:
    for path in sorted(pretrained.WEIGHTS.glob("*.safetensors")):
        check_content(path)


def test_a_legacy_checkpoint_is_left_to_the_loader(tmp_path: Path) -> None:
    torch.save({"x": BIG}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    check_content(tmp_path / "old.pt")


def test_an_archive_that_torch_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(FILES["set.zip"])
    with pytest.raises(ValueError, match=r"not one of torch\.save"):
        check_content(tmp_path / "model.pt")
