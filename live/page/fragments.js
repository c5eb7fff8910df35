// Fragments of an mp4 into a video element, kept close to the newest picture.

const BEHIND = 0.6; // seconds of spare pictures above which it plays faster
const KEEP = 10; // seconds that stay in memory

export class Fragments {
  constructor(video) {
    this.video = video;
    this.queue = [];
    this.source = new MediaSource();
    this.address = URL.createObjectURL(this.source);
    video.src = this.address;
    this.timer = setInterval(() => this.follow(), 250);
  }

  async start(mime) {
    if (!MediaSource.isTypeSupported(mime)) throw new Error(`this browser cannot play ${mime}`);
    if (this.source.readyState !== "open") {
      await new Promise((ready) => this.source.addEventListener("sourceopen", ready, { once: true }));
    }
    this.buffer = this.source.addSourceBuffer(mime);
    this.buffer.addEventListener("updateend", () => this.feed());
    this.feed();
  }

  add(data) {
    this.queue.push(data);
    this.feed();
  }

  feed() {
    if (!this.buffer || this.buffer.updating || !this.queue.length || this.source.readyState !== "open") return;
    const size = this.queue.reduce((sum, piece) => sum + piece.byteLength, 0), all = new Uint8Array(size);
    let at = 0;
    for (const piece of this.queue) {
      all.set(new Uint8Array(piece), at);
      at += piece.byteLength;
    }
    this.queue = [];
    this.buffer.appendBuffer(all);
  }

  follow() {
    const { video, buffer } = this;
    if (!buffer || !video.buffered.length) return;
    const end = video.buffered.end(video.buffered.length - 1), spare = end - video.currentTime;
    if (spare > 3 || video.currentTime < video.buffered.start(0)) video.currentTime = Math.max(end - 0.3, video.buffered.start(0));
    video.playbackRate = spare > BEHIND ? 1.1 : 1;
    if (video.paused) video.play().catch(() => {});
    if (!buffer.updating && end - video.buffered.start(0) > 2 * KEEP) buffer.remove(0, end - KEEP);
  }

  close() {
    clearInterval(this.timer);
    URL.revokeObjectURL(this.address);
    this.video.removeAttribute("src");
    this.video.load();
  }
}
