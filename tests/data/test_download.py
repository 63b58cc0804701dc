import socket
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from jacexp.data.download import fetch, verified
from jacexp.errors import DataError

CONTENT = b"the published file" * 100
MD5 = "d4b0c8366fb14351c65d1525cccd71c8"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Leave stderr to the code under test."""


@pytest.fixture
def serve(monkeypatch):
    """Serve a folder on this machine for the time of a block."""
    monkeypatch.setenv("no_proxy", "*")

    @contextmanager
    def server(folder):
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder)) as http:
            Thread(target=http.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{http.server_port}/"
            http.shutdown()

    return server


@pytest.fixture
def mirrors(tmp_path):
    """A mirror that has half of the file, and one that has all of it."""
    for name, content in (("half", CONTENT[:900]), ("whole", CONTENT)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.gz").write_bytes(content)
    return tmp_path


def test_the_first_mirror_that_delivers_the_whole_file_wins(serve, mirrors, capsys):
    target = mirrors / "root" / "raw" / "file.gz"
    with serve(mirrors) as url:
        fetch([url + "none/file.gz", url + "half/file.gz", url + "whole/file.gz"], target, MD5)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    assert capsys.readouterr().out == ""


def test_a_failed_download_leaves_no_file_and_gives_every_reason(serve, mirrors):
    target = mirrors / "root" / "file.gz"
    with (
        serve(mirrors) as url,
        pytest.raises(DataError, match=r"none/file.gz: .*404.*half/file.gz: .*corrupted"),
    ):
        fetch([url + "none/file.gz", url + "half/file.gz"], target, MD5)
    assert sorted(path.name for path in mirrors.iterdir()) == ["half", "whole"]


def test_a_server_out_of_reach_is_a_data_error_and_the_socket_timeout_is_restored(serve, tmp_path):
    with serve(tmp_path) as url:
        pass  # from here on nobody listens at this port
    with pytest.raises(DataError, match="refused"):
        fetch([url + "file.gz"], tmp_path / "file.gz", MD5)
    assert socket.getdefaulttimeout() is None


def test_a_folder_that_cannot_be_made_is_a_data_error(serve, mirrors):
    blocked = mirrors / "whole" / "file.gz"
    with serve(mirrors) as url, pytest.raises(DataError, match=f"directory: '{blocked}"):
        fetch([url + "whole/file.gz"], blocked / "raw" / "file.gz", MD5)


def test_only_the_published_bytes_pass(tmp_path):
    assert verified(CONTENT, MD5, tmp_path / "file.gz") is CONTENT
    with pytest.raises(DataError, match=r"file\.gz has MD5 .* truncated or altered"):
        verified(CONTENT[:-1], MD5, tmp_path / "file.gz")
