// A film and its evidence map in one frame. Runs once for each viewer, with `element`, `props` and `watch` from Gradio;
// `props.value` is what viewer.py's `view` makes, or null.
'use strict';
const part = name => element.querySelector(`[data-part="${name}"]`);
const canvas = part('canvas'), stage = part('stage'), readout = part('readout'), spoken = part('spoken');
const context = canvas.getContext('2d');
const STEP = 1.25, DEEPEST = 16; // of the zoom
const start = {zoom: 1, x: 0.5, y: 0.5, level: 127.5, width: 255, invert: false}; // x, y: what stands in the middle
let shown = null; // the film and map being shown
let view = {...start}, map = true, boxes = true, opacity = 0.7, dragging = 'window', cursor = null;

// ---- What is shown --------------------------------------------------------------------------------------------------

function load(source) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = source;
  });
}

// The red channel of a picture, which is grey: {width, height, values}.
function greys(image) {
  const sheet = new OffscreenCanvas(image.width, image.height).getContext('2d', {willReadFrequently: true});
  sheet.drawImage(image, 0, 0);
  const pixels = sheet.getImageData(0, 0, image.width, image.height).data;
  const values = new Uint8Array(image.width * image.height);
  for (let i = 0; i < values.length; i++) values[i] = pixels[4 * i];
  return {width: image.width, height: image.height, values};
}

// The colours of evidence from 0 to 1, those of matplotlib's inferno.
const STOPS = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];
const COLOURS = Array.from({length: 256}, (_, step) => {
  const place = step / 255 * (STOPS.length - 1), from = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[from].map((value, channel) => value + (place - from) * (STOPS[from + 1][channel] - value));
});

let asked = 0;
async function show(value) {
  const ticket = ++asked;
  element.querySelector('.hp-viewer').hidden = !value;
  if (!value) { shown = null; return; }
  const [film, heat] = await Promise.all([load(value.film), value.map ? load(value.map) : null]);
  if (ticket !== asked) return; // another film came meanwhile
  const same = shown && shown.value.film === value.film;
  shown = {value, film: greys(film), heat: heat && greys(heat), grey: sheet(film), colour: heat && sheet(heat)};
  if (!same) { view = {...start}; cursor = null; }
  canvas.setAttribute('aria-label', value.name);
  part('legend').hidden = !heat;
  part('map').disabled = part('opacity').disabled = !heat;
  part('boxes').disabled = !value.boxes.length;
  part('boxes').textContent = `Boxes (${value.boxes.filter(box => !box.planted).length})`;
  part('hottest').style.left = `${100 * value.probability}%`;
  part('hottest').title = `this film's hottest place: ${percent(value.probability)}`;
  develop();
  tint();
  fit();
}

function sheet(image) { return new OffscreenCanvas(image.width, image.height).getContext('2d'); }

// The film through window, level and inversion.
function develop() {
  const {values, width, height} = shown.film, image = new ImageData(width, height), table = new Uint8Array(256);
  for (let grey = 0; grey < 256; grey++) {
    const seen = Math.max(0, Math.min(255, 255 * ((grey - view.level) / view.width + 0.5)));
    table[grey] = view.invert ? 255 - seen : seen;
  }
  for (let i = 0; i < values.length; i++) {
    image.data[4 * i] = image.data[4 * i + 1] = image.data[4 * i + 2] = table[values[i]];
    image.data[4 * i + 3] = 255;
  }
  shown.grey.putImageData(image, 0, 0);
}

// The map in colour: as strong as the map there times the film's probability, so that weak evidence is pale.
function tint() {
  if (!shown.heat) return;
  const {values, width, height} = shown.heat, {probability} = shown.value;
  const image = new ImageData(width, height);
  for (let i = 0; i < values.length; i++) {
    const evidence = values[i] / 255 * probability, [red, green, blue] = COLOURS[Math.round(255 * evidence)];
    image.data[4 * i] = red;
    image.data[4 * i + 1] = green;
    image.data[4 * i + 2] = blue;
    image.data[4 * i + 3] = Math.round(255 * evidence);
  }
  shown.colour.putImageData(image, 0, 0);
}

// ---- Where it is shown ----------------------------------------------------------------------------------------------

// Pixels of the canvas for a pixel of the film, and the film's corner on the canvas.
function placed() {
  const {width, height} = shown.film;
  const scale = Math.min(canvas.width / width, canvas.height / height) * view.zoom;
  return {scale, left: canvas.width / 2 - view.x * width * scale, top: canvas.height / 2 - view.y * height * scale};
}

function draw() {
  if (!shown || !canvas.width) return;
  const {scale, left, top} = placed(), {film, value} = shown, ratio = devicePixelRatio || 1;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = '#000';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = scale < 4;
  context.drawImage(shown.grey.canvas, left, top, film.width * scale, film.height * scale);
  if (shown.heat && map) {
    context.imageSmoothingEnabled = true;
    context.globalAlpha = opacity;
    context.drawImage(shown.colour.canvas, left, top, film.width * scale, film.height * scale);
    context.globalAlpha = 1;
  }
  const unit = film.width / value.width * scale; // pixels of the canvas for one of the file's
  if (boxes) value.boxes.forEach((box, number) => frame(box, unit, left, top, ratio, number === under(cursor)));
  if (cursor && cursor.keys) cross(left + cursor.x * film.width * scale, top + cursor.y * film.height * scale, ratio);
  part('zoomed').textContent = `${Math.round(100 * view.zoom)} %`;
}

function frame(box, unit, left, top, ratio, hovered) {
  const place = [left + box.x * unit, top + box.y * unit, box.w * unit, box.h * unit];
  for (const [colour, width] of [['#000', 4], [hovered ? '#fff' : box.planted ? '#7CFC9A' : '#5adcff', 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * ratio;
    context.setLineDash(box.planted ? [8 * ratio, 5 * ratio] : []);
    context.strokeRect(...place);
  }
  context.setLineDash([]);
  if (!hovered) return;
  const words = label(box);
  context.font = `${13 * ratio}px system-ui, sans-serif`;
  const wide = context.measureText(words).width + 10 * ratio;
  const x = Math.max(0, Math.min(place[0], canvas.width - wide)), y = Math.max(22 * ratio, place[1]);
  context.fillStyle = '#000c';
  context.fillRect(x, y - 22 * ratio, wide, 20 * ratio);
  context.fillStyle = '#fff';
  context.fillText(words, x + 5 * ratio, y - 7 * ratio);
}

function label(box) {
  return box.planted ? 'opacity planted here' : `box: mean of the map ${box.score.toFixed(2)}`;
}

function cross(x, y, ratio) {
  context.lineWidth = ratio;
  for (const [colour, aside] of [['#000', 1], ['#fff', 0]]) {
    context.strokeStyle = colour;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + aside + 4 * dx * ratio, y + aside + 4 * dy * ratio);
      context.lineTo(x + aside + 12 * dx * ratio, y + aside + 12 * dy * ratio);
    }
    context.stroke();
  }
}

function fit() {
  const ratio = devicePixelRatio || 1, box = stage.getBoundingClientRect();
  if (!box.width || !shown) return;
  const tallest = Math.max(240, Math.min(0.8 * innerHeight, 900));
  const height = document.fullscreenElement === stage ? innerHeight
    : Math.round(Math.min(tallest, box.width * shown.film.height / shown.film.width));
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(box.width * ratio);
  canvas.height = Math.round(height * ratio);
  draw();
}

// ---- What lies under the pointer ------------------------------------------------------------------------------------

// Of an event on the canvas: the place as shares of the film's sides.
function place(event) {
  const bounds = canvas.getBoundingClientRect(), {scale, left, top} = placed();
  const x = (event.clientX - bounds.left) * canvas.width / bounds.width;
  const y = (event.clientY - bounds.top) * canvas.height / bounds.height;
  return {x: (x - left) / scale / shown.film.width, y: (y - top) / scale / shown.film.height};
}

function at({width, height, values}, {x, y}) {
  const column = Math.min(width - 1, Math.floor(x * width)), row = Math.min(height - 1, Math.floor(y * height));
  return values[row * width + column];
}

// The number of the box at a place, the smallest where several lie over each other; -1 for none.
function under(spot) {
  if (!spot || !shown) return -1;
  const {width, height, boxes} = shown.value, x = spot.x * width, y = spot.y * height;
  const hit = boxes.map((box, number) => ({box, number}))
    .filter(({box}) => x >= box.x && x < box.x + box.w && y >= box.y && y < box.y + box.h)
    .sort((a, b) => a.box.w * a.box.h - b.box.w * b.box.h);
  return hit.length ? hit[0].number : -1;
}

function percent(share) { return share < 0.1 ? `${(100 * share).toFixed(1)} %` : `${Math.round(100 * share)} %`; }

function read(spot) {
  if (!spot || spot.x < 0 || spot.y < 0 || spot.x >= 1 || spot.y >= 1) return '';
  const {value, film, heat} = shown;
  const words = [`${Math.floor(spot.x * value.width)}, ${Math.floor(spot.y * value.height)}`,
    `grey ${at(film, spot)} of 255`];
  if (heat) {
    const share = at(heat, spot) / 255;
    words.push(`map ${share.toFixed(2)}`, `evidence ${percent(share * value.probability)}`);
  }
  const box = under(spot);
  if (box >= 0 && boxes) words.push(label(value.boxes[box]));
  return words.join(' · ');
}

function point(spot, aloud) {
  readout.textContent = read(spot) || readout.dataset.empty;
  if (aloud) spoken.textContent = read(spot);
}

// ---- What can be done -----------------------------------------------------------------------------------------------

function bound(value, low, high) { return Math.max(low, Math.min(high, value)); }

function zoom(factor, spot = {x: view.x, y: view.y}) {
  const before = view.zoom;
  view.zoom = bound(view.zoom * factor, 1, DEEPEST);
  const kept = before / view.zoom; // the place under the pointer stays under it
  view.x = spot.x + (view.x - spot.x) * kept;
  view.y = spot.y + (view.y - spot.y) * kept;
  pan(0, 0);
}

// By shares of the film's sides; of what is zoomed the middle stays on the film.
function pan(x, y) {
  const reach = 0.5 / view.zoom;
  view.x = view.zoom === 1 ? 0.5 : bound(view.x + x, reach, 1 - reach);
  view.y = view.zoom === 1 ? 0.5 : bound(view.y + y, reach, 1 - reach);
  canvas.style.touchAction = view.zoom === 1 ? 'pan-y' : 'none';
  draw();
}

function grade(width, level) {
  view.width = bound(view.width + width, 4, 510);
  view.level = bound(view.level + level, 0, 255);
  develop();
  draw();
  point(cursor, false);
  spoken.textContent = `window ${Math.round(view.width)}, level ${Math.round(view.level)}`;
  part('graded').textContent = `W ${Math.round(view.width)} L ${Math.round(view.level)}`;
}

function press(name, on) { part(name).setAttribute('aria-pressed', on); draw(); }

const actions = {
  map: () => press('map', map = !map),
  boxes: () => press('boxes', boxes = !boxes),
  invert: () => { view.invert = !view.invert; develop(); press('invert', view.invert); },
  in: () => zoom(STEP),
  out: () => zoom(1 / STEP),
  reset: () => { view = {...start}; grade(0, 0); press('invert', false); pan(0, 0); },
  pan: () => { dragging = dragging === 'pan' ? 'window' : 'pan'; press('pan', dragging === 'pan'); },
  full: () => document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen(),
};
const keys = {m: 'map', b: 'boxes', i: 'invert', '+': 'in', '=': 'in', '-': 'out', 0: 'reset', p: 'pan', f: 'full'};
const arrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

element.addEventListener('click', event => {
  const button = event.target.closest('button[data-part]');
  if (button && shown) actions[button.dataset.part]();
});
part('opacity').addEventListener('input', event => { opacity = event.target.value / 100; draw(); });

canvas.addEventListener('keydown', event => {
  if (!shown || event.ctrlKey || event.altKey || event.metaKey) return;
  const arrow = arrows[event.key], action = keys[event.key.toLowerCase()];
  if (!arrow && !action) return;
  event.preventDefault();
  if (action) return actions[action]();
  if (event.shiftKey) return grade(8 * arrow[0], -4 * arrow[1]);
  const step = 0.02 / view.zoom;
  cursor = cursor || {x: view.x, y: view.y};
  cursor = {
    x: bound(cursor.x + step * arrow[0], 0, 0.9999), y: bound(cursor.y + step * arrow[1], 0, 0.9999), keys: true,
  };
  const reach = 0.45 / view.zoom; // the view follows
  const beyond = axis => cursor[axis] - bound(cursor[axis], view[axis] - reach, view[axis] + reach);
  pan(beyond('x'), beyond('y'));
  point(cursor, true);
});
canvas.addEventListener('blur', () => { cursor = null; draw(); });

const touches = new Map();
canvas.addEventListener('pointerdown', event => {
  if (!shown) return;
  canvas.focus({preventScroll: true});
  canvas.setPointerCapture(event.pointerId);
  touches.set(event.pointerId, event);
});
canvas.addEventListener('pointermove', event => {
  if (!shown) return;
  const before = touches.get(event.pointerId), spot = place(event);
  if (before) {
    const {scale} = placed(), ratio = canvas.width / canvas.getBoundingClientRect().width;
    const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
    if (touches.size === 2) {
      const other = [...touches.values()].find(touch => touch.pointerId !== event.pointerId);
      const apart = touch => Math.hypot(touch.clientX - other.clientX, touch.clientY - other.clientY);
      zoom(apart(event) / Math.max(1, apart(before)), place(other));
    } else if (dragging === 'pan' || event.buttons === 4) {
      pan(-dx * ratio / scale / shown.film.width, -dy * ratio / scale / shown.film.height);
    } else {
      grade(dx, dy);
    }
    touches.set(event.pointerId, event);
  }
  const hovered = under(cursor);
  cursor = event.pointerType === 'mouse' && !before ? spot : cursor;
  if (under(cursor) !== hovered || cursor === spot) draw();
  point(spot, false);
});
for (const kind of ['pointerup', 'pointercancel']) canvas.addEventListener(kind, e => touches.delete(e.pointerId));
canvas.addEventListener('pointerleave', () => { if (!touches.size) { cursor = null; draw(); point(null, false); } });
canvas.addEventListener('wheel', event => {
  if (!shown || !(event.ctrlKey || document.activeElement === canvas)) return; // else the page scrolls
  event.preventDefault();
  zoom(event.deltaY < 0 ? STEP : 1 / STEP, place(event));
}, {passive: false});
canvas.addEventListener('dblclick', () => shown && actions.reset());

new ResizeObserver(fit).observe(stage);
watch('value', () => show(props.value));
show(props.value);
