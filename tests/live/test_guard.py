"""Who may come in: token, pages of other hosts, rate, size, bombs."""

from __future__ import annotations

import struct
import zlib

import pytest

pytest.importorskip("starlette")

from live.guard import Rate
from live.settings import Limits

PUBLIC = ("/", "/docs", "/health", "/ready", "/openapi.json", "/page/main.js")


def test_the_page_and_its_scripts_are_there(make_client):
    client = make_client()
    for path in PUBLIC:
        assert client.get(path).status_code == 200, path
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]
    assert "consent" in client.get("/").text and "synthetic" in client.get("/").text
    assert "/jobs/{job}" in client.get("/openapi.json").json()["paths"]


def test_nothing_on_the_pages_comes_from_elsewhere(make_client):
    client = make_client()
    for path in (*PUBLIC, "/page/style.css", "/page/api.js", "/page/socket.js", "/page/rtc.js"):
        text = client.get(path).text.replace("http://www.w3.org", "")
        assert "http://" not in text and "https://" not in text, path


def test_with_a_token_all_else_is_closed(make_client):
    client = make_client(token="secret")
    for path in PUBLIC:
        assert client.get(path).status_code == 200, path
    for path in ("/metrics", "/voices", "/avatars/example/picture", "/jobs/" + "0" * 32):
        answer = client.get(path)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        for wrong in ("Bearer wrong", "Bearer ", "secret", "Basic secret", "Bearer s\xe9cret".encode("latin1")):
            assert client.get(path, headers={"Authorization": wrong}).status_code == 401
    assert client.get("/voices", headers={"Authorization": "Bearer secret"}).status_code == 200
    assert client.post("/webrtc/offer", json={}).status_code == 401


def test_pages_of_other_hosts_are_kept_out_unless_allowed(make_client):
    foreign = {"Origin": "https://evil.example"}
    closed = make_client()
    assert closed.get("/voices", headers=foreign).status_code == 403
    assert closed.get("/voices", headers={"Origin": "http://testserver"}).status_code == 200
    assert "access-control-allow-origin" not in closed.get("/health", headers=foreign).headers
    opened = make_client(origins=("https://evil.example",))
    assert opened.get("/voices", headers=foreign).headers["access-control-allow-origin"] == "https://evil.example"


def test_a_foreign_page_cannot_open_a_socket(make_client):
    from starlette.testclient import WebSocketDenialResponse

    with pytest.raises(WebSocketDenialResponse) as caught:
        with make_client().websocket_connect("/stream", headers={"Origin": "https://evil.example"}):
            pass
    assert caught.value.status_code == 403


def test_uploads_are_bounded_whatever_the_header_says(make_client):
    client = make_client(limits=Limits(upload_bytes=100_000))
    body = b"x" * 200_000
    assert client.post("/avatars", files={"source": ("a", body)}).status_code == 413
    chunked = client.post(
        "/avatars", content=(body[at : at + 1000] for at in range(0, len(body), 1000)),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )  # fmt: skip
    assert chunked.status_code == 413
    assert client.get("/voices", headers={"Content-Length": "-5"}).status_code == 413


def test_too_many_requests_are_slowed_down(make_client):
    client = make_client(limits=Limits(requests=0.1, burst=5))
    codes = [client.get("/voices").status_code for _ in range(8)]
    assert codes == [200] * 5 + [429] * 3
    assert client.get("/voices").headers["retry-after"] == "1"
    assert client.get("/health").status_code == 200


def test_rate_refills_and_forgets():
    now = [0.0]
    rate = Rate(2.0, 3, clock=lambda: now[0])
    assert [rate.take("a") for _ in range(4)] == [True, True, True, False]
    assert rate.take("b")
    now[0] = 0.5
    assert [rate.take("a") for _ in range(2)] == [True, False]
    for client in range(10_000):
        rate.take(str(client))
    assert len(rate._buckets) <= 4096


def png_bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes((width + 1) * 100), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("data, status", [
    (png_bomb(30000, 30000), 413),
    (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 415),
    (b"ffconcat version 1.0\nfile /etc/passwd\n", 415),
    (b"\x00\x00\x00\x18ftypisom" + b"\x00" * 100, 422),
    (b"\xff\xd8\xff\xe0" + b"\x00" * 50, 422),
    (b"GIF89a" + b"\x00" * 50, 415),
    (b"", 415),
])  # fmt: skip
def test_bombs_and_play_lists_are_refused_before_they_are_decoded(make_client, sdk, data, status):
    answer = make_client().post("/avatars", files={"source": ("a.png", data)})
    assert answer.status_code == status
    assert "\n" not in answer.json()["message"] and not sdk.registered


def test_metrics_count_refusals(make_client):
    client = make_client()
    client.get("/avatars/" + "0" * 32)
    text = client.get("/metrics").text
    assert 'ditto_refused_total{code="not_found"} 1.0' in text and "ditto_sessions_limit" in text
