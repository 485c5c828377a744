const byId = (id) => document.getElementById(id);
const say = (words, isBad = false) => {
  byId("state").textContent = words;
  byId("state").classList.toggle("bad", isBad);
};

/* ---- what the page holds */

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/* The network by onnxruntime, in one thread: more of them need headers that no file has. */
async function loaded() {
  const address = URL.createObjectURL(new Blob([await unpacked("runtime")], { type: "text/javascript" }));
  const ort = await import(address);
  URL.revokeObjectURL(address);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await unpacked("wasm");
  return { ort, session: await ort.InferenceSession.create(await unpacked("model")) };
}

/* ---- from the input to the classes */

const MEASURED_MS = 30;

async function scores(network, input, about) {
  const [height, width] = about.input_size ? [about.input_size, about.input_size] : [about.height, about.width];
  const values = new Float32Array(input.length * height * width);
  input.forEach((plane, c) => values.set(plane, c * height * width));
  const images = new network.ort.Tensor("float32", values, [1, input.length, height, width]);
  const run = async () => (await network.session.run({ images })).scores.data;
  const found = Array.from(await run());
  let runs = 0, passed = 0;
  for (const begin = performance.now(); passed < MEASURED_MS; passed = performance.now() - begin, runs++) await run();
  return { found, milliseconds: passed / runs, runs };
}

/* The likeliest classes with their probabilities. */
function likeliest(found, names, count = 5) {
  const most = Math.max(...found), powers = found.map((score) => Math.exp(score - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return names.map((name, i) => [name, powers[i] / sum]).sort((a, b) => b[1] - a[1]).slice(0, count);
}

function tell(classes, { milliseconds, runs }) {
  byId("classes").replaceChildren(...classes.map(([name, share]) => {
    const line = document.createElement("li"), label = document.createElement("span");
    const percent = document.createElement("b"), bar = document.createElement("i");
    label.textContent = name;
    percent.textContent = `${(100 * share).toFixed(2)}\u2009%`;
    bar.style.width = `${100 * share}%`;
    line.append(label, percent, bar);
    line.dataset.probability = share;
    return line;
  }));
  const digits = milliseconds < 1 ? 3 : milliseconds < 100 ? 1 : 0;
  byId("time").textContent = `${milliseconds.toFixed(digits)} ms an image, mean of ${runs.toLocaleString("en")} runs in one thread`;
}

/* What is left of the picture when the network gets it. */
function showSeen(seen, { width, height, channels }) {
  const canvas = Object.assign(byId("seen"), { width, height });
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const values = channels < 3 ? [seen[0][i], seen[0][i], seen[0][i]] : [seen[0][i], seen[1][i], seen[2][i]];
    image.data.set([...values, channels % 2 ? 255 : seen[channels - 1][i]], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/* ---- the page */

byId("theme").onclick = () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
};

async function begin() {
  if (!("DecompressionStream" in window)) throw new Error("it needs a browser of 2023 or later");
  const { class_names: names, preprocessing: about } = JSON.parse(new TextDecoder().decode(await unpacked("data")));
  const board = byId("board"), pen = board.getContext("2d", { willReadFrequently: true });
  const [ink, paper, breadth] = ["ink", "paper", "breadth"].map(byId);
  const unit = Math.max(1, Math.round(320 / Math.max(about.width, about.height)));
  Object.assign(board, { width: unit * about.width, height: unit * about.height });
  board.style.width = `min(100%, 400px, ${(62 * about.width) / about.height}vh)`;
  breadth.value = Math.max(9, Math.round(140 / Math.min(about.width, about.height))); /* strokes of a pixel and a half */
  if (about.mean.slice(0, about.channels < 3 ? 1 : 3).every((mean) => mean < 100)) [ink.value, paper.value] = ["#ffffff", "#000000"];
  const network = await loaded();

  /* What is on the board now: what comes too late for it is not shown. Images are classified one after another. */
  let current = 0, turn = Promise.resolve();
  function classify(image, mine) {
    const classified = turn.then(async () => {
      if (mine !== current) return;
      const { seen, input } = prepared(image, about);
      const result = await scores(network, input, about);
      if (mine !== current) return;
      tell(likeliest(result.found, names), result);
      showSeen(seen, about);
    });
    turn = classified.catch(() => {});
    return classified;
  }

  /* Of the pieces of a stroke that come while another is classified, the last is. */
  let isWaiting = false;
  function classifyDrawing() {
    if (isWaiting) return;
    isWaiting = true;
    turn
      .then(() => {
        isWaiting = false;
        if (board.dataset.holds === "drawing") return classify(pen.getImageData(0, 0, board.width, board.height), current);
      })
      .catch((error) => say(error.message, true));
  }

  function clear() {
    current++;
    pen.fillStyle = paper.value;
    pen.fillRect(0, 0, board.width, board.height);
    board.dataset.holds = "nothing";
    byId("classes").replaceChildren();
    byId("time").textContent = "";
    byId("seen").width = 0;
    say("");
  }

  /* The part of the picture that the network gets. */
  function show(image) {
    const whole = canvasOf(image.width, image.height), factor = Math.min(image.width / board.width, image.height / board.height);
    whole.getContext("2d").putImageData(image, 0, 0);
    const [left, right] = middle(image.width, factor * board.width), [top, bottom] = middle(image.height, factor * board.height);
    pen.imageSmoothingEnabled = factor > 1;
    pen.imageSmoothingQuality = "high";
    pen.clearRect(0, 0, board.width, board.height);
    pen.drawImage(whole, left, top, right - left, bottom - top, 0, 0, board.width, board.height);
  }

  async function take(file) {
    if (!file) return;
    const mine = ++current;
    try {
      const image = await read(file, about.channels);
      if (mine !== current) return;
      show(image);
      board.dataset.holds = "picture";
      await classify(image, mine);
      if (mine === current) say(`${file.name}, ${image.width} × ${image.height}`);
    } catch (error) {
      if (mine !== current) return;
      clear();
      say(`${file.name}: ${error.message}`, true);
    }
  }

  byId("file").onchange = ({ target }) => {
    take(target.files[0]);
    target.value = ""; /* the same file may be chosen again */
  };
  byId("clear").onclick = clear;
  paper.oninput = clear;
  addEventListener("paste", (event) => take(event.clipboardData.files[0]));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });

  let last = null;
  function stroke(event) {
    const box = board.getBoundingClientRect(), factor = board.width / box.width;
    const here = [(event.clientX - box.x) * factor, (event.clientY - box.y) * factor];
    Object.assign(pen, { strokeStyle: ink.value, lineCap: "round", lineJoin: "round", lineWidth: breadth.value / 100 * Math.min(board.width, board.height) });
    pen.beginPath();
    pen.moveTo(...(last ?? here));
    pen.lineTo(...here);
    pen.stroke();
    last = here;
    classifyDrawing();
  }
  board.onpointerdown = (event) => {
    if (event.button) return;
    if (board.dataset.holds === "picture") clear();
    current++;
    say("");
    board.dataset.holds = "drawing";
    board.setPointerCapture(event.pointerId);
    stroke(event);
  };
  board.onpointermove = (event) => last && stroke(event);
  board.onpointerup = board.onpointercancel = () => (last = null);
  clear();
  document.body.classList.add("ready");
  document.documentElement.dataset.ready = "yes";
}

begin().catch((error) => say(`This page cannot run: ${error.message}.`, true));
