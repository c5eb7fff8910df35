// The avatar over a WebSocket: see docs/live.md for the messages.

import { Fragments } from "./fragments.js";
import { Player } from "./player.js";

const HEADER = 12, PICTURE = 1, SOUND = 2, MP4 = 3;

export class SocketLink {
  constructor({ canvas, video, audio }, on) {
    Object.assign(this, { canvas, video, audio, on });
  }

  open(choices, format, token) {
    return new Promise((opened, failed) => {
      const address = new URL("/stream", location.href);
      address.protocol = address.protocol.replace("http", "ws");
      this.socket = new WebSocket(address);
      this.socket.binaryType = "arraybuffer";
      this.socket.onopen = () => this.send({ type: "start", format, ...choices, ...(token ? { token } : {}) });
      this.socket.onmessage = (event) => {
        if (typeof event.data !== "string") return this.binary(event.data);
        const message = JSON.parse(event.data);
        if (message.type === "started") {
          this.begin(format);
          opened(message);
        } else if (message.type === "error" && !this.began) {
          failed(Object.assign(new Error(message.message), message));
        } else if (message.type === "mp4") {
          this.fragments.start(message.mime).catch((error) => this.on.error(error.message));
        } else this.on.message(message);
      };
      this.socket.onclose = (event) => {
        failed(new Error(event.reason || "the server cannot be reached"));
        this.on.closed(event.reason);
      };
    });
  }

  begin(format) {
    this.began = true;
    this.canvas.hidden = format === "mp4";
    this.video.hidden = format !== "mp4";
    if (format === "mp4") this.fragments = new Fragments(this.video);
    else {
      this.player = new Player(this.canvas, this.audio);
      this.player.onshown = this.on.shown;
    }
  }

  binary(data) {
    const view = new DataView(data), kind = view.getUint8(0), speaking = (view.getUint8(1) & 1) === 1;
    const time = view.getUint32(8, true) / 1000, content = data.slice(HEADER);
    if (kind === PICTURE) this.player.picture(time, content, speaking);
    else if (kind === SOUND) this.player.sound(time, content, speaking);
    else if (kind === MP4) this.fragments.add(content);
  }

  get fps() {
    return this.player ? this.player.fps : null;
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  hear(pcm) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(pcm);
  }

  interrupt() {
    this.player?.silence();
    this.send({ type: "interrupt" });
  }

  close() {
    this.socket.onclose = null;
    this.socket.close();
    this.player?.close();
    this.fragments?.close();
  }
}
