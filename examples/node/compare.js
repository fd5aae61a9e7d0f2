// Two photographs compared by an exported network: chips, embeddings, distance, verdict.
//
//     npm install onnxruntime-node
//     node compare.js model.onnx one.ppm one.json other.ppm other.json
//
// A .ppm file holds a photograph's pixels (`convert one.jpg one.ppm`), so that this example needs no
// decoder. The .json file holds the five landmarks of its face, [[x, y], ...] in pixels, in the order
// of the model's chip; any detector will do that finds the same points (dlib's five-point predictor).

const fs = require("node:fs");
const ort = require("onnxruntime-node");

// The metadata of an .onnx file: entries (field 14) of its outermost message of protocol buffers.
// onnxruntime's JavaScript interface does not give them.
function metadata(bytes) {
  const found = {};
  const fields = function* (start, end) {
    let place = start;
    const number = () => {
      let value = 0;
      for (let factor = 1; ; factor *= 128) {
        const byte = bytes[place++];
        value += (byte & 127) * factor;
        if (byte < 128) return value;
      }
    };
    while (place < end) {
      const key = number();
      if ((key & 7) === 0) number();
      else if ((key & 7) === 2) {
        const length = number();
        yield [key >> 3, place, place + length];
        place += length;
      } else throw new Error("not an .onnx file that siamese wrote");
    }
  };
  for (const [field, start, end] of fields(0, bytes.length)) {
    if (field !== 14) continue;
    const entry = {};
    for (const [part, from, to] of fields(start, end)) entry[part] = bytes.toString("utf8", from, to);
    found[entry[1]] = entry[2];
  }
  return JSON.parse(found.siamese);
}

// A binary PPM (P6, 255): width, height, and red, green, blue of each pixel.
function readPpm(file) {
  const bytes = fs.readFileSync(file);
  const head = /^P6\s+(?:#.*\n)*(\d+)\s+(\d+)\s+255\s/.exec(bytes.toString("latin1", 0, 200));
  if (!head) throw new Error(`${file}: not a binary PPM file`);
  return { width: +head[1], height: +head[2], pixels: bytes.subarray(head[0].length) };
}

// The similarity (rotation, scale, shift) from `source` to `target` with the least squares (Umeyama
// 1991). With points as complex numbers it is target = a * source + b.
function similarity(source, target) {
  const mean = (points, axis) => points.reduce((sum, p) => sum + p[axis], 0) / points.length;
  const [sx, sy, tx, ty] = [mean(source, 0), mean(source, 1), mean(target, 0), mean(target, 1)];
  let re = 0, im = 0, size = 0;
  source.forEach(([x, y], i) => {
    const [u, v, p, q] = [x - sx, y - sy, target[i][0] - tx, target[i][1] - ty];
    re += u * p + v * q;
    im += u * q - v * p;
    size += u * u + v * v;
  });
  const [c, s] = [re / size, im / size];
  return { c, s, x: tx - c * sx + s * sy, y: ty - s * sx - c * sy };
}

// The aligned chip as the network takes it: (3, size, size) of 0..255, red first, black beyond the
// photograph. Between pixels it is sampled bilinearly. Of photographs in which the face is more than
// twice as large as in the chip, scale them down before.
function chipOf(image, landmarks, model) {
  const size = model.input.size;
  const map = similarity(model.chip.map((p) => [p.x, p.y]), landmarks);
  const scale = Math.hypot(map.c, map.s), middle = (size - 1) / 2;
  const spread = (size * scale - 1) / (size * scale - scale); // as dlib samples its chips
  const chip = new Uint8Array(3 * size * size);
  const at = (x, y, colour) => image.pixels[3 * (y * image.width + x) + colour];
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const u = (column - middle) * spread + middle, v = (row - middle) * spread + middle;
      const x = map.c * u - map.s * v + map.x, y = map.s * u + map.c * v + map.y;
      const left = Math.floor(x), top = Math.floor(y), across = x - left, down = y - top;
      if (left < 0 || top < 0 || left + 1 >= image.width || top + 1 >= image.height) continue;
      for (let colour = 0; colour < 3; colour++) {
        const above = at(left, top, colour) * (1 - across) + at(left + 1, top, colour) * across;
        const below = at(left, top + 1, colour) * (1 - across) + at(left + 1, top + 1, colour) * across;
        chip[(colour * size + row) * size + column] = above * (1 - down) + below * down;
      }
    }
  }
  return chip;
}

// As model.distance.formula says; in 64 bits, rounded once to 32.
function distanceOf(a, b, name) {
  const length = (v) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0)) || 1;
  const [la, lb] = name === "cosine" ? [length(a), length(b)] : [1, 1];
  let squares = 0;
  for (let i = 0; i < a.length; i++) squares += (a[i] / la - b[i] / lb) ** 2;
  return Math.fround(name === "cosine" ? squares / 2 : Math.sqrt(squares));
}

async function main([file, ...photographs]) {
  if (photographs.length !== 4) {
    console.error("usage: node compare.js MODEL.onnx A.ppm A.json B.ppm B.json");
    process.exit(2);
  }
  const model = metadata(fs.readFileSync(file));
  const session = await ort.InferenceSession.create(file);
  const size = model.input.size, rows = [];
  for (let i = 0; i < photographs.length; i += 2) {
    const landmarks = JSON.parse(fs.readFileSync(photographs[i + 1], "utf8"));
    const chip = chipOf(readPpm(photographs[i]), landmarks, model);
    const images = new ort.Tensor("uint8", chip, [1, 3, size, size]);
    rows.push(Array.from((await session.run({ images })).embeddings.data));
  }
  const distance = distanceOf(rows[0], rows[1], model.distance.name);
  const threshold = model.operating_point.threshold;
  console.log(JSON.stringify({ same: distance <= threshold, distance, threshold }));
}

main(process.argv.slice(2));
