// The microphone: speech leaves as it comes, pauses are not sent, so that the avatar idles in them.

const OPEN = 3, LEAST = 0.006; // times the noise, and root mean square, above which sound is speech
const HOLD = 30, BEFORE = 4; // pieces of 20 ms that are sent after and before speech

export class Microphone {
  constructor(audio, { piece, end, level }) {
    Object.assign(this, { audio, piece, end, level });
    this.noise = 0.002;
    this.held = 0;
    this.before = [];
  }

  async start() {
    const constraints = { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } };
    this.stream = await navigator.mediaDevices.getUserMedia(constraints);
    await this.audio.audioWorklet.addModule("/page/resample.js");
    this.source = this.audio.createMediaStreamSource(this.stream);
    this.node = new AudioWorkletNode(this.audio, "resample", { numberOfOutputs: 0 });
    this.node.port.onmessage = ({ data }) => this.take(data);
    this.source.connect(this.node);
  }

  take({ pcm, level }) {
    this.level(level);
    const speech = level > Math.max(LEAST, OPEN * this.noise);
    if (!speech) this.noise += 0.05 * (Math.min(level, 0.02) - this.noise);
    if (speech) {
      for (const early of this.before.splice(0)) this.piece(early);
      this.held = HOLD;
    }
    if (this.held > 0) {
      this.piece(pcm);
      if (--this.held === 0) this.end();
      return;
    }
    this.before.push(pcm);
    if (this.before.length > BEFORE) this.before.shift();
  }

  stop() {
    this.source?.disconnect();
    this.node?.port.close();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    if (this.held > 0) this.end();
    this.level(0);
  }
}
