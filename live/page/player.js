// Shows pictures and plays their sound on one clock; late ones push the clock back, spare time is given up while idle.

const FPS = 25, RATE = 16000;
const LEAD = 0.1; // seconds between a picture's arrival and its showing
const SPARE = 0.15; // seconds of waiting above which the clock is put forward
const JUMP = 0.03; // seconds by which sound may be off before it is placed anew

export class Player {
  constructor(canvas, audio) {
    this.canvas = canvas;
    this.audio = audio;
    this.context = canvas.getContext("2d", { alpha: false });
    this.pictures = []; // {time, image, speaking}
    this.sounds = new Set();
    this.shown = []; // times of the pictures of the last second
    this.base = null; // clock time of second 0
    this.soundEnd = 0;
    this.slack = Infinity;
    this.slackSince = performance.now();
    this.onshown = () => {};
    this.open = true;
    this.draw = this.draw.bind(this);
    requestAnimationFrame(this.draw);
  }

  get fps() {
    const now = performance.now();
    this.shown = this.shown.filter((when) => now - when < 2000);
    return this.shown.length / 2;
  }

  sound(time, pcm, speaking) {
    const now = performance.now() / 1000;
    if (this.base === null || now > this.base + time) this.base = now + LEAD - time;
    this.relax(this.base + time - now, speaking);
    if (!speaking || this.audio.state !== "running") return;
    const samples = new Int16Array(pcm), buffer = this.audio.createBuffer(1, samples.length, RATE);
    const out = buffer.getChannelData(0);
    for (let i = 0; i < samples.length; i++) out[i] = samples[i] / 32768;
    const due = this.audio.currentTime + (this.base + time - now);
    const start = Math.abs(due - this.soundEnd) < JUMP ? this.soundEnd : Math.max(due, this.audio.currentTime);
    const node = this.audio.createBufferSource();
    node.buffer = buffer;
    node.connect(this.audio.destination);
    node.start(start);
    this.soundEnd = start + buffer.duration;
    this.sounds.add(node);
    node.onended = () => this.sounds.delete(node);
  }

  async picture(time, jpeg, speaking) {
    const entry = { time, image: null, speaking };
    this.pictures.push(entry);
    entry.image = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    while (this.pictures.length > 2 * FPS) this.pictures.shift().image?.close();
  }

  // What was not heard yet is not to be heard.
  silence() {
    for (const node of this.sounds) node.stop();
    this.sounds.clear();
    this.soundEnd = 0;
  }

  relax(slack, speaking) {
    this.slack = Math.min(this.slack, slack);
    const now = performance.now();
    if (now - this.slackSince < 2000) return;
    if (!speaking && this.slack > SPARE) this.base -= this.slack - LEAD;
    this.slack = Infinity;
    this.slackSince = now;
  }

  draw() {
    if (!this.open) return;
    requestAnimationFrame(this.draw);
    if (this.base === null) return;
    const now = performance.now() / 1000 - this.base;
    let due = null;
    while (this.pictures.length && this.pictures[0].image && this.pictures[0].time <= now) {
      due?.image.close();
      due = this.pictures.shift();
    }
    if (!due) return;
    if (this.canvas.width !== due.image.width || this.canvas.height !== due.image.height) {
      this.canvas.width = due.image.width;
      this.canvas.height = due.image.height;
    }
    this.context.drawImage(due.image, 0, 0);
    due.image.close();
    this.shown.push(performance.now());
    this.onshown(due.speaking);
  }

  close() {
    this.open = false;
    this.silence();
    for (const picture of this.pictures) picture.image?.close();
  }
}
