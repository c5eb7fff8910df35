"""The live page in a real browser, with the embedded pack: what it shows, not what it says."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from chromium import chromium, movement, pixels, shoot
from stand_in import wait_for

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT, SENTENCE, SPEECH = (ROOT / "example" / name for name in ("portrait.png", "sentence.wav", "speech.wav"))


@pytest.fixture(scope="module")
def browser():
    with chromium(SENTENCE) as opened:
        yield opened


@pytest.fixture
def tab(browser, real_server):
    """tab() -> a page of the server; errors and requests to other hosts fail the test."""
    address, server = real_server
    problems, contexts = [], []

    @contextmanager
    def opened(**more):
        context = browser.new_context(viewport={"width": 1120, "height": 820}, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: problems.append(asked.url) if address not in asked.url
                and not asked.url.startswith(("blob:", "data:")) else None)  # fmt: skip
        page.goto(f"http://{address}/")
        yield page
        context.close()

    yield opened
    wait_for(lambda: server.sessions.count == 0)
    assert problems == []


def start(page, transport="jpeg"):
    page.select_option("#transport", transport)
    page.click("#start")
    page.wait_for_selector("#interrupt:enabled", timeout=30000)
    page.wait_for_timeout(1500)


def wait_state(page, text, seconds=15):
    page.wait_for_function("t => document.getElementById('state').textContent === t", arg=text, timeout=1000 * seconds)


def test_a_portrait_is_uploaded_idles_and_answers_the_microphone(tab):
    with tab(color_scheme="dark") as page:
        page.set_input_files("#portrait", PORTRAIT)
        page.wait_for_function("() => document.getElementById('avatar').value.length === 32", timeout=30000)
        start(page)
        idle, before = movement(page), pixels(page, (0, 0, 1, 1))
        page.click("#mic")
        wait_state(page, "Speaking")
        talking = movement(page)
        shoot(page, "live_dark")
        assert np.abs(pixels(page, (0, 0, 1, 1)) - before).mean() > 0.05  # the head moves as well
        assert talking > 1.5 * idle and talking > 0.3
        assert page.inner_text("#delay").endswith(" ms") and page.inner_text("#fps").endswith(" fps")
        assert "consent" in page.inner_text(".note")


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["mp4", "webrtc"])
def test_the_other_connections_show_moving_lips(tab, transport):
    with tab() as page:
        start(page, transport)
        idle = movement(page)
        page.set_input_files("#wav", SPEECH)
        wait_state(page, "Speaking")
        page.wait_for_timeout(700)
        assert movement(page) > 1.5 * idle
        page.click("#stop")
        assert page.is_visible("#start")


@pytest.mark.slow
def test_an_interruption_ends_speech_and_lips(tab):
    with tab() as page:
        start(page)
        idle = movement(page)
        page.set_input_files("#wav", SPEECH)
        wait_state(page, "Speaking")
        assert movement(page) > 1.5 * idle
        page.click("#interrupt")
        wait_state(page, "Listening", 1)
        page.wait_for_timeout(700)
        assert movement(page) < 2 * idle + 0.1
        shoot(page, "live_light")


def test_a_reload_in_the_middle_frees_the_session_and_starts_afresh(tab, real_server):
    _, server = real_server
    with tab() as page:
        start(page)
        page.set_input_files("#wav", SPEECH)
        wait_state(page, "Speaking")
        page.reload()
        wait_for(lambda: server.sessions.count == 0, 5)
        start(page)
        wait_state(page, "Listening")
        assert movement(page) > 0  # the new one is alive


@pytest.mark.slow
def test_two_tabs_speak_with_their_own_voices(tab):
    with tab() as first, tab() as second:
        start(first)
        start(second)
        first.set_input_files("#wav", SENTENCE)
        wait_state(first, "Speaking")
        assert second.inner_text("#state") == "Listening"
        talking, idle = movement(first, 1.0), movement(second, 1.0)
        assert talking > 1.5 * idle
        second.set_input_files("#wav", SPEECH)
        wait_state(second, "Speaking")
        wait_state(first, "Listening")
        assert second.inner_text("#state") == "Speaking"  # its recording is longer
        assert movement(second, 1.0) > 1.5 * movement(first, 1.0)


def test_the_api_page_lists_the_routes(tab, real_server):
    with tab() as page:
        page.goto(f"http://{real_server[0]}/docs")
        page.wait_for_selector("article")
        text = page.inner_text("main")
        assert "/webrtc/offer" in text and "POST" in text


def test_a_narrow_screen_needs_no_sideways_scrolling(tab):
    with tab() as page:
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
