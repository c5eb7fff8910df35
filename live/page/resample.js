// AudioWorklet: the microphone at its own rate -> 16 kHz mono 16-bit in pieces of 20 ms, with their loudness.

const RATE = 16000, PIECE = 320, ZEROS = 8; // zero crossings of the filter on either side

class Resample extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ratio = sampleRate / RATE;
    this.scale = Math.min(1, 0.92 / this.ratio); // of the pass band, below half of 16 kHz
    this.reach = Math.ceil(ZEROS / this.scale);
    this.past = new Float32Array(2 * this.reach + 1);
    this.at = this.reach; // place of the next output sample in `past`
    this.piece = new Int16Array(PIECE);
    this.filled = 0;
    this.energy = 0;
  }

  process([input]) {
    if (!input.length) return true;
    const block = input[0], joined = new Float32Array(this.past.length + block.length);
    joined.set(this.past);
    for (let i = 0; i < block.length; i++) {
      let sum = 0;
      for (const channel of input) sum += channel[i];
      joined[this.past.length + i] = sum / input.length;
    }
    for (; this.at + this.reach < joined.length; this.at += this.ratio) this.put(this.sample(joined));
    const used = Math.floor(this.at) - this.reach;
    this.past = joined.slice(used);
    this.at -= used;
    return true;
  }

  sample(data) {
    const centre = Math.floor(this.at);
    let sum = 0, weights = 0;
    for (let i = centre - this.reach + 1; i <= centre + this.reach && i < data.length; i++) {
      const x = (i - this.at) * this.scale;
      if (Math.abs(x) >= ZEROS) continue;
      const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
      const weight = sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / ZEROS));
      sum += weight * data[i];
      weights += weight;
    }
    return sum / weights;
  }

  put(value) {
    this.piece[this.filled++] = Math.max(-1, Math.min(1, value)) * 32767;
    this.energy += value * value;
    if (this.filled < PIECE) return;
    const pcm = this.piece.slice();
    this.port.postMessage({ pcm: pcm.buffer, level: Math.sqrt(this.energy / PIECE) }, [pcm.buffer]);
    this.filled = this.energy = 0;
  }
}

registerProcessor("resample", Resample);
