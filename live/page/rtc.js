// The avatar over WebRTC: one picture and one sound track, control and speech over a data channel.

const PIECE = 16000; // bytes of a data channel message

export class RtcLink {
  constructor({ canvas, video }, on) {
    Object.assign(this, { canvas, video, on });
  }

  async open(choices, _format, token) {
    const peer = (this.peer = new RTCPeerConnection());
    const stream = new MediaStream();
    for (const kind of ["video", "audio"]) peer.addTransceiver(kind, { direction: "recvonly" });
    this.channel = peer.createDataChannel("control");
    this.channel.binaryType = "arraybuffer";
    this.channel.onmessage = (event) => this.on.message(JSON.parse(event.data));
    peer.ontrack = (event) => stream.addTrack(event.track);
    peer.onconnectionstatechange = () => {
      if (["failed", "closed", "disconnected"].includes(peer.connectionState)) this.on.closed("the connection broke off");
    };
    await peer.setLocalDescription(await peer.createOffer());
    if (peer.iceGatheringState !== "complete") {
      await new Promise((done) => peer.addEventListener("icegatheringstatechange", () => {
        if (peer.iceGatheringState === "complete") done();
      }));
    }
    const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const body = JSON.stringify({ sdp: peer.localDescription.sdp, type: "offer", ...choices });
    const answer = await fetch("/webrtc/offer", { method: "POST", headers, body });
    const content = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(content.message), content);
    await peer.setRemoteDescription({ type: "answer", sdp: content.sdp });
    this.canvas.hidden = true;
    this.video.hidden = false;
    this.video.srcObject = stream;
    this.video.play().catch(() => {});
    this.timer = setInterval(() => this.send({ type: "ping", id: 0 }), 1000); // a sign of life
    return content;
  }

  get fps() {
    return null;
  }

  send(message) {
    if (this.channel.readyState === "open") this.channel.send(JSON.stringify(message));
  }

  hear(pcm) {
    if (this.channel.readyState !== "open") return;
    for (let at = 0; at < pcm.byteLength; at += PIECE) this.channel.send(pcm.slice(at, at + PIECE));
  }

  interrupt() {
    this.send({ type: "interrupt" });
  }

  close() {
    clearInterval(this.timer);
    this.peer.onconnectionstatechange = null;
    this.channel?.close();
    this.peer.close();
    this.video.srcObject = null;
  }
}
