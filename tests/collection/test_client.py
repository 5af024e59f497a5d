"""The qdrant-client engines: what a server answers, and the folder that stands in for Edge."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from inbedder_retrieval import (
    CollectionExists,
    CollectionLocked,
    CollectionNotFound,
    EngineError,
    InputError,
    Storage,
)
from inbedder_retrieval.collection.client import ClientEngine
from inbedder_retrieval.collection.engine import Point, VectorQuery
from tests.collection.engines import RunEngine, create_engine, open_engine

WIDTHS = {"answer": 4}
REGISTRY = {"inbedder": {"format": 1, "views": ["answer"]}}
VECTOR = np.array([1, 0, 0, 0], dtype=np.float32)


class Answering(ThreadingHTTPServer):
    """A web server that gives the same answer to every request."""

    status = 200
    body = b""
    api_key: str | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Answering)
        self.server.api_key = self.headers["api-key"]
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Answering]:
    with Answering() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "location",
    [
        "http://",
        "http://:6333",
        "http:///collection",
        "http://host:port",
        "http://host:99999",
        "http://host:-1",
        "http://[::1",
        "http://two words:6333",
        "http://host/one/two",
        "https://host:x/one",
    ],
)
def test_a_malformed_address_is_an_input_error(location: str) -> None:
    with pytest.raises(InputError, match=r"is no server address; write http://host:6333/"):
        create_engine(location, WIDTHS, REGISTRY)
    with pytest.raises(InputError, match=r"is no server address; write http://host:6333/"):
        open_engine(location)


@pytest.mark.parametrize("location", ["HTTP://127.0.0.1:9", "ftp://host/c"])
def test_an_address_is_never_taken_for_a_folder(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, EngineError), match=r"127|host"):
        create_engine(location, WIDTHS, REGISTRY).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("location", ["http://127.0.0.1:9", "https://127.0.0.1:9/tickets"])
def test_where_nothing_listens_one_message_says_so(location: str) -> None:
    message = rf"no Qdrant server answers at {location} \([^()]+\); start it, or check the address$"
    with pytest.raises(EngineError, match=f"^could not create a collection: {message}"):
        create_engine(location, WIDTHS, REGISTRY)
    with pytest.raises(EngineError, match=f"^could not open the collection: {message}"):
        open_engine(location)


def test_a_password_in_the_address_is_not_shown() -> None:
    with pytest.raises((EngineError, InputError)) as raised:
        open_engine("http://me:geheim@127.0.0.1:9")
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize("body", [b"<h1>It works!</h1>", b"{}", b'{"result": 3}', b""])
def test_a_server_that_is_not_qdrant_is_an_engine_error(server: Answering, body: bytes) -> None:
    server.body = body
    with pytest.raises(EngineError, match=f"(?s)could not open the collection.*{server.url}"):
        open_engine(server.url)


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_server_that_refuses_is_quoted(server: Answering, status: int) -> None:
    server.status, server.body = status, b"out of cheese"
    with pytest.raises(EngineError, match=r"(?s)could not open the collection.*out of cheese"):
        open_engine(server.url)


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection:UserWarning")
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_which_variable_holds_it(
    server: Answering, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "wrong")
    server.status, server.body = status, b"Invalid API key"
    with pytest.raises(EngineError, match=r"Invalid API key.*set QDRANT_API_KEY") as raised:
        open_engine(server.url)
    assert server.api_key == "wrong"
    assert "wrong" not in str(raised.value)


def test_every_collection_in_memory_is_its_own() -> None:
    first, second = (create_engine(":memory:", WIDTHS, REGISTRY) for _ in range(2))
    first.upsert([Point(str(UUID(int=1)), {}, {"answer": VECTOR})])
    assert (first.count(), second.count()) == (1, 0)
    first.close()
    second.close()


def test_a_folder_of_local_mode_is_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "c.inb"
    engine = RunEngine(ClientEngine.create(folder, WIDTHS, REGISTRY, Storage()))
    payload = {"n": 1, "metadata": {"a": [2**62, 0.1, None, True]}}
    engine.upsert([Point(str(UUID(int=1)), payload, {"answer": VECTOR})])
    engine.close()
    again = open_engine(folder)
    assert again.kind().startswith("local (qdrant-client 1.")
    assert again.read_registry() == REGISTRY
    found = again.search([VectorQuery("answer", VECTOR)], limit=5)
    assert [point.payload for point in found] == [payload]
    again.close()


@pytest.mark.filterwarnings("ignore:unclosed file .*lock:ResourceWarning")
def test_a_folder_of_local_mode_is_held_by_one_and_created_once(tmp_path: Path) -> None:
    folder = tmp_path / "c.inb"
    engine = RunEngine(ClientEngine.create(folder, WIDTHS, REGISTRY, Storage()))
    with pytest.raises(CollectionLocked, match=r"c\.inb: it is held by another process"):
        open_engine(folder)
    engine.close()
    with pytest.raises(CollectionExists, match="already holds a collection"):
        create_engine(folder, WIDTHS, REGISTRY)
    open_engine(folder).close()


def test_a_folder_of_local_mode_is_created_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="could not create a collection"):
        ClientEngine.create(tmp_path / "c.inb", {"no/vector:name": 4}, REGISTRY, Storage())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{}", "not JSON", '{"collections": {}}', "[]"])
def test_another_tools_meta_json_is_no_collection(tmp_path: Path, content: str) -> None:
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises((CollectionNotFound, EngineError), match=str(tmp_path)):
        open_engine(tmp_path)
    with pytest.raises(CollectionExists, match=r"other files \(meta\.json"):
        create_engine(tmp_path, WIDTHS, REGISTRY)
    assert [path.name for path in tmp_path.iterdir()] == ["meta.json"]
    assert (tmp_path / "meta.json").read_text() == content
