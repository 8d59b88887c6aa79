// A solid out of a GLB file, turned by pointer or keys: one mesh with its texture, drawn by WebGL without a library.

import { element } from "./dom.js";

const VERTEX = `
  attribute vec3 place; attribute vec3 normal; attribute vec2 spot;
  uniform mat4 view; uniform mat4 lens; uniform vec3 middle;
  varying vec2 at; varying float facing;
  void main() {
    vec4 seen = view * vec4(place - middle, 1.0);
    facing = abs(normalize(mat3(view) * normal).z);
    at = spot;
    gl_Position = lens * seen;
  }`;
const FRAGMENT = `
  precision mediump float;
  uniform sampler2D colours; varying vec2 at; varying float facing;
  void main() { gl_FragColor = vec4(texture2D(colours, at).rgb * (0.72 + 0.28 * facing), 1.0); }`;
const ARRAYS = { 5121: Uint8Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };
const SIZES = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4 };
const KEYS = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, 0.15], ArrowDown: [0, -0.15] };

// Returns the parts of a GLB file that are drawn: places, normals, texture coordinates, corners, and the texture's PNG.
export function readGlb(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 20 || view.getUint32(0, true) !== 0x46546c67) throw new Error("This is no GLB file.");
  const length = view.getUint32(12, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 20, length)));
  const start = 20 + length + 8;
  const bytes = (index) => {
    const { byteOffset = 0, byteLength } = head.bufferViews[index];
    return buffer.slice(start + byteOffset, start + byteOffset + byteLength);
  };
  const values = (index) => {
    const { bufferView, byteOffset = 0, componentType, count, type } = head.accessors[index];
    return new ARRAYS[componentType](bytes(bufferView), byteOffset, count * SIZES[type]);
  };
  const { attributes, indices } = head.meshes[0].primitives[0];
  const { min, max } = head.accessors[attributes.POSITION];
  const image = head.images?.[0];
  return {
    places: values(attributes.POSITION), normals: values(attributes.NORMAL), spots: values(attributes.TEXCOORD_0),
    corners: Uint32Array.from(values(indices)), middle: min.map((low, i) => (low + max[i]) / 2),
    radius: Math.hypot(...min.map((low, i) => (max[i] - low) / 2)) || 1,
    texture: image && new Blob([bytes(image.bufferView)], { type: image.mimeType }),
  };
}

export class Solid {
  constructor(name) {
    this.turn = [0.5, 0.25];
    this.near = 1;
    this.canvas = element("canvas", {
      width: 640, height: 640, tabIndex: 0, role: "img",
      "aria-label": `${name} in 3D. Arrow keys turn it, plus and minus bring it nearer or farther.`,
    });
    this.note = element("span", { class: "hint" }, "…");
    this.element = element("div", { class: "picture solid" }, this.canvas, this.note);
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1); }, { passive: false });
    let last = null;
    this.canvas.addEventListener("pointerdown", (event) => { this.canvas.setPointerCapture(event.pointerId); last = [event.clientX, event.clientY]; });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.rotate((event.clientX - last[0]) / 120, (event.clientY - last[1]) / 120);
      last = [event.clientX, event.clientY];
    });
    for (const kind of ["pointerup", "pointercancel"]) this.canvas.addEventListener(kind, () => { last = null; });
  }

  key(event) {
    if (KEYS[event.key]) this.rotate(...KEYS[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.1);
    else if (event.key === "-") this.zoom(1 / 1.1);
    else return;
    event.preventDefault();
  }

  rotate(aside, up) {
    this.turn = [this.turn[0] + aside, Math.min(1.5, Math.max(-1.5, this.turn[1] + up))];
    this.draw();
  }

  zoom(factor) {
    this.near = Math.min(4, Math.max(0.4, this.near * factor));
    this.draw();
  }

  // Loads a file and shows it; where the browser has no WebGL a sentence says so, and the file can be downloaded.
  async load(buffer) {
    try {
      const parts = readGlb(buffer), gl = this.canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
      if (!gl || !gl.getExtension("OES_element_index_uint")) throw new Error("This browser shows no solids: download the GLB file.");
      const texture = parts.texture && await createImageBitmap(parts.texture);
      this.prepare(gl, parts, texture);
      this.note.remove();
      this.draw();
    } catch (problem) {
      this.canvas.hidden = true;
      this.note.textContent = problem.message;
    }
  }

  prepare(gl, parts, texture) {
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    for (const [name, values, size] of [["place", parts.places, 3], ["normal", parts.normals, 3], ["spot", parts.spots, 2]]) {
      const where = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(where);
      gl.vertexAttribPointer(where, size, gl.FLOAT, false, 0, 0);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, parts.corners, gl.STATIC_DRAW);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    const grey = new Uint8Array([190, 190, 190, 255]);
    if (texture) gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, texture);
    else gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, grey);
    // Of any size: WebGL 1 takes one that is no power of two only without repeats and smaller copies.
    for (const [key, value] of [[gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE], [gl.TEXTURE_MIN_FILTER, gl.LINEAR]]) gl.texParameteri(gl.TEXTURE_2D, key, value);
    gl.enable(gl.DEPTH_TEST);
    gl.clearColor(1, 1, 1, 1);
    Object.assign(this, { gl, program, parts });
  }

  draw() {
    const { gl, program, parts } = this;
    if (!gl) return;
    const far = 2.9 * parts.radius / this.near, [c, s] = [Math.cos(this.turn[0]), Math.sin(this.turn[0])], [d, t] = [Math.cos(this.turn[1]), Math.sin(this.turn[1])];
    // By columns: first about the vertical, then towards the eye, which stands on the z axis.
    const view = [c, s * t, -s * d, 0, 0, d, t, 0, s, -c * t, c * d, 0, 0, 0, -far, 1];
    const [front, back, focus] = [0.05 * far, far + 2 * parts.radius, 2.6];
    const lens = [focus, 0, 0, 0, 0, focus, 0, 0, 0, 0, (back + front) / (front - back), -1, 0, 0, 2 * back * front / (front - back), 0];
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix4fv(gl.getUniformLocation(program, "view"), false, view);
    gl.uniformMatrix4fv(gl.getUniformLocation(program, "lens"), false, lens);
    gl.uniform3fv(gl.getUniformLocation(program, "middle"), parts.middle);
    gl.drawElements(gl.TRIANGLES, parts.corners.length, gl.UNSIGNED_INT, 0);
  }
}
