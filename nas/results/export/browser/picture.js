/* From a picture to the network's input, as predict.py does it. */

/* Weights that scale begin..end of `size` pixels bilinearly to `result`, as Pillow does: each pixel of the result is a
   mean under a triangle as wide as two of its own or of the given pixels, whichever are wider. */
function scaling(size, begin, end, result) {
  const scale = (end - begin) / result, reach = Math.max(scale, 1);
  return Array.from({ length: result }, (_, i) => {
    const centre = begin + (i + 0.5) * scale;
    const first = Math.max(0, Math.ceil(centre - reach - 0.5)), last = Math.min(size - 1, Math.floor(centre + reach - 0.5));
    const weights = [];
    for (let x = first; x <= last; x++) weights.push(Math.max(0, 1 - Math.abs(x + 0.5 - centre) / reach));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => Math.fround(weight / sum)) };
  });
}

/* A plane of height x width values scaled to rows.length x columns.length; `finish` makes of a sum what is kept. */
function scaled(plane, width, height, rows, columns, finish) {
  const narrow = new Float32Array(height * columns.length), result = new Float32Array(rows.length * columns.length);
  columns.forEach(({ first, weights }, x) => {
    for (let y = 0; y < height; y++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * plane[y * width + first + k];
      narrow[y * columns.length + x] = finish(sum);
    }
  });
  rows.forEach(({ first, weights }, y) => {
    for (let x = 0; x < columns.length; x++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * narrow[(first + k) * columns.length + x];
      result[y * columns.length + x] = finish(sum);
    }
  });
  return result;
}

/* The planes of 8-bit RGBA pixels that the network takes: grey as Pillow reckons it, with the transparency if it does. */
function planes(rgba, channels) {
  const count = rgba.length / 4, found = Array.from({ length: channels }, () => new Float32Array(count));
  for (let i = 0; i < count; i++) {
    const [red, green, blue, alpha] = [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2], rgba[4 * i + 3]];
    const grey = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16;
    const values = channels < 3 ? [grey, alpha] : [red, green, blue, alpha];
    for (let c = 0; c < channels; c++) found[c][i] = values[c];
  }
  return found;
}

const middle = (size, wanted) => [(size - wanted) / 2, (size + wanted) / 2];
const rounded = (value) => Math.floor(value + 0.5);

/* The pixels that are left of an image (8-bit values, a plane a channel) and the network's input. */
function prepared({ data, width, height }, about) {
  const factor = Math.min(height / about.height, width / about.width);
  const rows = scaling(height, ...middle(height, factor * about.height), about.height);
  const columns = scaling(width, ...middle(width, factor * about.width), about.width);
  const seen = planes(data, about.channels).map((plane) => scaled(plane, width, height, rows, columns, rounded));
  const normal = seen.map((plane, c) => plane.map((value) => (value - about.mean[c]) / about.deviation[c]));
  const side = about.input_size;
  if (!side) return { seen, input: normal };
  const [down, across] = [about.height, about.width].map((size) => scaling(size, 0, size, side));
  return { seen, input: normal.map((plane) => scaled(plane, about.width, about.height, down, across, (value) => value)) };
}

/* Where the orientation of a camera is noted in a JPEG, PNG or WebP file: [place, is little endian], or null. */
function noted(view) {
  const text = (at, length) => String.fromCharCode(...new Uint8Array(view.buffer, at, Math.max(0, Math.min(length, view.byteLength - at))));
  let found = null;
  if (view.getUint16(0) === 0xffd8) {
    for (let at = 2; at + 10 < view.byteLength && view.getUint8(at) === 0xff && view.getUint8(at + 1) !== 0xda; at += 2 + view.getUint16(at + 2)) {
      if (view.getUint8(at + 1) === 0xe1 && text(at + 4, 6) === "Exif\0\0") found ??= at + 10;
    }
  } else if (text(0, 4) === "\x89PNG") {
    for (let at = 8; at + 8 < view.byteLength; at += 12 + view.getUint32(at)) if (text(at + 4, 4) === "eXIf") found ??= at + 8;
  } else if (text(0, 4) === "RIFF" && text(8, 4) === "WEBP") {
    for (let at = 12, size; at + 8 < view.byteLength; at += 8 + size + (size % 2)) {
      size = view.getUint32(at + 4, true);
      if (text(at, 4) === "EXIF") found ??= at + 8 + (text(at + 8, 6) === "Exif\0\0" ? 6 : 0);
    }
  }
  if (found === null || !["II", "MM"].includes(text(found, 2))) return null;
  const isLittle = text(found, 2) === "II", list = found + view.getUint32(found + 4, isLittle);
  for (let entry = 0; entry < view.getUint16(list, isLittle); entry++) {
    const at = list + 2 + 12 * entry;
    if (view.getUint16(at, isLittle) === 0x0112) return [at + 8, isLittle];
  }
  return null;
}

/* The file without the orientation, and that (1 to 8, EXIF 2.3): browsers heed it in some kinds of file and in others
   not. What is damaged is left to whoever decodes it. */
async function unturned(file) {
  const view = new DataView(await file.arrayBuffer());
  try {
    const [at, isLittle] = noted(view) ?? [];
    const how = at === undefined ? 1 : view.getUint16(at, isLittle);
    if (how < 2 || how > 8) return [file, 1];
    view.setUint16(at, 1, isLittle);
    return [new Blob([view.buffer], { type: file.type }), how];
  } catch (error) {
    if (error instanceof RangeError) return [file, 1];
    throw error;
  }
}

/* What turns a picture as the camera says: by orientation, the columns of a matrix of (width, height). */
const TURNS = {
  1: () => [1, 0, 0, 1, 0, 0],
  2: (width) => [-1, 0, 0, 1, width, 0],
  3: (width, height) => [-1, 0, 0, -1, width, height],
  4: (width, height) => [1, 0, 0, -1, 0, height],
  5: () => [0, 1, 1, 0, 0, 0],
  6: (width, height) => [0, 1, -1, 0, height, 0],
  7: (width, height) => [0, -1, -1, 0, height, width],
  8: (width) => [0, -1, 1, 0, 0, width],
};

/* The pixels of an image file as viewers show it: turned as the camera says, what is transparent on white (where the
   network takes no transparency), whatever colours its profile means. */
async function read(file, channels) {
  const head = new DataView(await file.slice(0, 26).arrayBuffer());
  const isPng = head.byteLength === 26 && head.getUint32(0) === 0x89504e47;
  if (isPng && head.getUint8(24) === 16 && head.getUint8(25) === 0) throw new Error("it has more than 8 bits a pixel; convert it to 8 bits");
  const [plain, how] = await unturned(file);
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(plain, options).catch(() => {
    throw new Error("this browser cannot read it as an image; try PNG or JPEG");
  });
  const [width, height] = how > 4 ? [bitmap.height, bitmap.width] : [bitmap.width, bitmap.height];
  const pen = canvasOf(width, height).getContext("2d", { willReadFrequently: true });
  if (channels % 2) {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, width, height);
  }
  pen.setTransform(...TURNS[how](bitmap.width, bitmap.height));
  pen.drawImage(bitmap, 0, 0);
  return pen.getImageData(0, 0, width, height);
}

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  return Object.assign(canvas, { width, height });
}
