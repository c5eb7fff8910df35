// The page: buttons, figures, and which link is open.

import { Microphone } from "./microphone.js";
import { RtcLink } from "./rtc.js";
import { SocketLink } from "./socket.js";

const $ = (id) => document.getElementById(id);
const RATE = 16000, PIECE = 3200; // samples of a recording per message
const STORE = "avatars";
const view = { canvas: $("canvas"), video: $("video"), audio: null };
let link = null, microphone = null, turnBegan = null, videoFrames = 0;

function state(name, text) {
  $("frame").dataset.state = name;
  document.querySelector(".dot").dataset.state = name;
  $("state").textContent = text;
}

function problem(text) {
  $("problem").textContent = text ?? "";
  $("problem").hidden = !text;
}

function connected(yes) {
  for (const id of ["interrupt", "stop"]) $(id).disabled = !yes;
  $("speak").disabled = !yes;
  $("setup").disabled = yes;
  $("start").hidden = yes;
  for (const id of ["delay", "fps", "lost"]) $(id).textContent = "–";
}

const token = () => $("token").value || new URLSearchParams(location.hash.slice(1)).get("token") || "";
const bearer = () => (token() ? { Authorization: `Bearer ${token()}` } : {});

function refused(error) {
  if (error.code === "no_token") $("token-field").hidden = false;
  problem(error.code === "no_token" ? "This server asks for a password." : error.message);
}

// ---- connection

async function start() {
  problem();
  state("busy", "Connecting");
  $("start").hidden = true;
  view.audio ??= new AudioContext();
  view.audio.resume();
  const kind = $("transport").value, on = { message, shown, closed, error: problem };
  link = kind === "webrtc" ? new RtcLink(view, on) : new SocketLink(view, on);
  const choices = { avatar: $("avatar").value, emotion: $("emotion").value, seed: Math.floor(Math.random() * 1e9) };
  try {
    const { width, height } = await link.open(choices, kind, token());
    if (width) $("frame").style.aspectRatio = `${width} / ${height}`;
    connected(true);
    state("idle", "Listening");
  } catch (error) {
    leave();
    refused(error);
  }
}

function leave() {
  microphone?.stop();
  microphone = null;
  $("mic").setAttribute("aria-pressed", "false");
  $("mic-text").textContent = "Use the microphone";
  link?.close();
  link = null;
  view.canvas.hidden = false;
  view.video.hidden = true;
  connected(false);
  state("off", "Not connected");
}

function closed(reason) {
  if (!link || $("start").hidden === false) return;
  leave();
  problem(reason ? `Disconnected: ${reason}` : "The connection to the server was lost.");
}

function message(content) {
  if (content.type === "stats") {
    $("lost").textContent = content.dropped;
    const fps = link?.fps ?? videoFps() ?? content.fps;
    $("fps").textContent = `${Math.round(fps)} fps`;
  } else if (content.type === "speaking") {
    state(content.on ? "speaking" : "idle", content.on ? "Speaking" : "Listening");
    if (link instanceof RtcLink || view.canvas.hidden) shown(content.on);
  } else if (content.type === "error") problem(content.message);
}

function videoFps() {
  if (view.video.hidden) return null;
  const total = view.video.getVideoPlaybackQuality().totalVideoFrames, since = total - videoFrames;
  videoFrames = total;
  return since;
}

// ---- delay: from the first sound that was sent to the first picture of its speech

function began() {
  turnBegan ??= { at: performance.now(), seen: false };
}

function shown(speaking) {
  if (speaking && turnBegan && !turnBegan.seen) {
    turnBegan.seen = true;
    $("delay").textContent = `${Math.round(performance.now() - turnBegan.at)} ms`;
  } else if (!speaking && turnBegan?.seen) turnBegan = null;
}

// ---- speech

async function toggleMicrophone() {
  if (microphone) {
    microphone.stop();
    microphone = null;
  } else {
    const next = new Microphone(view.audio, {
      piece: (pcm) => { began(); link?.hear(pcm); },
      end: () => link?.send({ type: "end" }),
      level: (value) => { $("level").value = Math.min(1, 4 * value); },
    });
    try {
      await next.start();
      microphone = next;
    } catch (error) {
      problem(`The microphone cannot be used: ${error.message}`);
    }
  }
  $("mic").setAttribute("aria-pressed", String(microphone !== null));
  $("mic-text").textContent = microphone ? "Microphone is on" : "Use the microphone";
}

async function playRecording(file) {
  try {
    const decoder = new OfflineAudioContext(1, 1, RATE);
    const sound = await decoder.decodeAudioData(await file.arrayBuffer());
    const pcm = new Int16Array(sound.length);
    for (let c = 0; c < sound.numberOfChannels; c++) {
      const channel = sound.getChannelData(c);
      for (let i = 0; i < pcm.length; i++) pcm[i] += (channel[i] / sound.numberOfChannels) * 32767;
    }
    began();
    for (let at = 0; at < pcm.length; at += PIECE) link?.hear(pcm.slice(at, at + PIECE).buffer);
    link?.send({ type: "end" });
  } catch {
    problem(`${file.name} is no recording that this browser can read.`);
  }
}

function say() {
  const text = $("text").value.trim();
  if (!text) return;
  problem();
  began();
  link.send({ type: "say", text, ...($("voice").value ? { voice: $("voice").value } : {}) });
  $("text").value = "";
}

function interrupt() {
  turnBegan = null;
  link.interrupt();
}

// The chosen avatar, before it comes alive.
async function poster() {
  const answer = await fetch(`/avatars/${$("avatar").value}/picture`, { headers: bearer() }).catch(() => null);
  if (!answer?.ok || link) return;
  const image = await createImageBitmap(await answer.blob());
  Object.assign(view.canvas, { width: image.width, height: image.height });
  view.canvas.getContext("2d", { alpha: false }).drawImage(image, 0, 0);
  $("frame").style.aspectRatio = `${image.width} / ${image.height}`;
}

// ---- avatars: this browser remembers those that it has added

function known() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) ?? [];
  } catch {
    return [];
  }
}

function list(chosen) {
  $("avatar").length = 1;
  for (const { id, name } of known()) $("avatar").add(new Option(name, id));
  if (chosen) $("avatar").value = chosen;
}

async function addPortrait(file) {
  problem();
  state("busy", "Looking at the portrait");
  const body = new FormData();
  body.append("source", file);
  try {
    const answer = await fetch("/avatars", { method: "POST", body, headers: bearer() });
    const content = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(content.message), content);
    localStorage.setItem(STORE, JSON.stringify([...known(), { id: content.id, name: file.name.slice(0, 40) }].slice(-20)));
    list(content.id);
    poster();
  } catch (error) {
    refused(error);
  }
  state("off", "Not connected");
}

async function loadVoices() {
  const answer = await fetch("/voices", { headers: bearer() }).catch(() => null);
  const voices = answer?.ok ? await answer.json() : [];
  $("voice").length = 0;
  for (const name of voices) $("voice").add(new Option(name));
  $("saying").hidden = answer?.ok === true && voices.length === 0;
  if (answer?.status === 401) $("token-field").hidden = false;
}

$("start").onclick = start;
$("stop").onclick = leave;
$("interrupt").onclick = interrupt;
$("mic").onclick = toggleMicrophone;
$("say").onclick = say;
$("text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    say();
  }
};
$("avatar").onchange = poster;
$("token").onchange = () => { loadVoices(); poster(); };
for (const [id, act] of [["wav", playRecording], ["portrait", addPortrait]]) {
  $(id).onchange = () => {
    if ($(id).files.length) act($(id).files[0]);
    $(id).value = "";
  };
}
list();
loadVoices();
poster();
