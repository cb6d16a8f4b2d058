'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const sprite = document.getElementById('sprite'), map = document.getElementById('map'), card = document.getElementById('card');
const count = data.labels.length, classes = data.classes.length, PLACES = 4095, MARGIN = 0.04;
const dark = matchMedia('(prefers-color-scheme: dark)');
const shown = new Set(data.classes.keys());
let projection = 0, onlyMistakes = false, view = { x: 0, y: 0, zoom: 1 }, pointed = -1;

// Neighboring classes are far apart on the circle of hues, and differ in lightness.
const step = [7, 3, 5, 2, 1].find((n) => classes % n !== 0) || 1;
function color(c) {
  const hue = Math.round(((c * step) % classes) / classes * 360);
  const light = (dark.matches ? [66, 54] : [44, 56])[c % 2];
  return `hsl(${hue} ${classes > 1 ? 72 : 0}% ${light}%)`;
}
const isWrong = (i) => data.labels[i] !== data.predicted[i];
const isShown = (i) => shown.has(data.labels[i]) && (!onlyMistakes || isWrong(i));

// A place of the data as pixels of the canvas.
function at(i) {
  const side = Math.min(map.width, map.height), points = data.projections[projection];
  const fit = (place) => MARGIN + (1 - 2 * MARGIN) * place / PLACES;
  return [
    map.width / 2 + (fit(points[2 * i]) - 0.5 - view.x) * side * view.zoom,
    map.height / 2 - (fit(points[2 * i + 1]) - 0.5 - view.y) * side * view.zoom,
  ];
}

function draw() {
  const ratio = devicePixelRatio || 1, box = map.getBoundingClientRect();
  map.width = Math.round(box.width * ratio);
  map.height = Math.round(box.height * ratio);
  const context = map.getContext('2d'), style = getComputedStyle(document.documentElement);
  const size = Math.sqrt(Math.min(1, box.width / 800) * view.zoom);
  const radius = ratio * Math.min(5, Math.max(1.6, 90 / Math.sqrt(count)) * size);
  const order = [...Array(count).keys()].filter(isShown).sort((a, b) => isWrong(a) - isWrong(b));
  context.lineWidth = Math.max(0.7 * ratio, 0.4 * radius);
  for (const i of order) {
    const [x, y] = at(i);
    context.fillStyle = color(data.labels[i]);
    context.globalAlpha = 0.8;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
    if (isWrong(i)) {
      context.globalAlpha = 1;
      context.strokeStyle = style.getPropertyValue('--ink');
      context.beginPath();
      context.arc(x, y, radius * 1.35, 0, 2 * Math.PI);
      context.stroke();
    }
  }
  context.globalAlpha = 1;
  names(context, style, ratio);
  if (pointed >= 0) {
    const [x, y] = at(pointed);
    context.strokeStyle = style.getPropertyValue('--ink');
    context.lineWidth = 2 * ratio;
    context.beginPath();
    context.arc(x, y, radius * 2.2, 0, 2 * Math.PI);
    context.stroke();
  }
}

// The name of each class at the median of its images, if there are not too many to be read.
function names(context, style, ratio) {
  if (classes > 24) return;
  context.font = `600 ${13 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineWidth = 4 * ratio;
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  for (const c of shown) {
    const places = [...Array(count).keys()].filter((i) => data.labels[i] === c).map(at);
    if (!places.length) continue;
    const [x, y] = [0, 1].map((axis) => median(places.map((place) => place[axis])));
    const half = context.measureText(data.classes[c]).width / 2 + 4 * ratio;
    const inside = view.zoom === 1 ? Math.min(map.width - half, Math.max(half, x)) : x;
    context.strokeStyle = style.getPropertyValue('--panel');
    context.strokeText(data.classes[c], inside, y);
    context.fillStyle = style.getPropertyValue('--ink');
    context.fillText(data.classes[c], inside, y);
  }
}

function nearest(event) {
  const ratio = devicePixelRatio || 1, box = map.getBoundingClientRect();
  const x = (event.clientX - box.left) * ratio, y = (event.clientY - box.top) * ratio;
  let best = -1, least = (24 * ratio) ** 2;
  for (let i = 0; i < count; i++) {
    if (!isShown(i)) continue;
    const [a, b] = at(i), square = (a - x) ** 2 + (b - y) ** 2;
    if (square < least) [best, least] = [i, square];
  }
  return best;
}

function show(i) {
  if (i === pointed) return;
  pointed = i;
  card.hidden = i < 0;
  if (i >= 0) {
    const side = data.side, picture = card.querySelector('canvas'), context = picture.getContext('2d');
    context.imageSmoothingEnabled = false;
    context.drawImage(sprite, i % data.columns * side, Math.floor(i / data.columns) * side, side, side, 0, 0, picture.width, picture.height);
    const said = card.querySelector('.said');
    card.querySelector('b').textContent = data.classes[data.labels[i]];
    said.textContent = `${isWrong(i) ? `taken for ${data.classes[data.predicted[i]]}` : 'recognized'}, ${data.confidence[i]}\u202f%`;
    said.classList.toggle('wrong', isWrong(i));
    card.querySelector('.origin').textContent = data.origins[i];
    const ratio = devicePixelRatio || 1, box = map.getBoundingClientRect(), [x, y] = at(i).map((place) => place / ratio);
    const width = card.offsetWidth, height = card.offsetHeight;
    const within = (place, length, room) => Math.max(0, Math.min(room - length, place));
    // Right of the dot or left of it, or beneath or above where neither has room, so that the dot stays in sight.
    const left = x + 16 + width < box.width ? x + 16 : x - 16 - width;
    const below = y + 16 + height < box.height ? y + 16 : y - 16 - height;
    card.style.left = `${left >= 0 ? left : within(x - width / 2, width, box.width)}px`;
    card.style.top = `${left >= 0 ? within(y - height / 2, height, box.height) : below}px`;
  }
  draw();
}

let dragged = null;
map.addEventListener('pointerdown', (event) => { dragged = [event.clientX, event.clientY]; show(nearest(event)); });
addEventListener('pointerup', () => { dragged = null; });
map.addEventListener('pointermove', (event) => {
  if (!dragged || event.pointerType === 'touch') return show(nearest(event));
  const box = map.getBoundingClientRect(), scale = Math.min(box.width, box.height) * view.zoom;
  view.x -= (event.clientX - dragged[0]) / scale;
  view.y += (event.clientY - dragged[1]) / scale;
  dragged = [event.clientX, event.clientY];
  show(-1);
  draw();
});
map.addEventListener('pointerleave', () => show(-1));
map.addEventListener('wheel', (event) => {
  event.preventDefault();
  const box = map.getBoundingClientRect(), side = Math.min(box.width, box.height);
  const x = (event.clientX - box.left - box.width / 2) / side, y = (box.height / 2 - event.clientY + box.top) / side;
  const zoom = Math.min(40, Math.max(1, view.zoom * Math.exp(-event.deltaY / 400)));
  view = zoom === 1 ? { x: 0, y: 0, zoom } : { x: view.x + x / view.zoom - x / zoom, y: view.y + y / view.zoom - y / zoom, zoom };
  show(-1);
  draw();
}, { passive: false });
document.getElementById('whole').addEventListener('click', () => { view = { x: 0, y: 0, zoom: 1 }; show(-1); draw(); });
document.getElementById('mistakes').addEventListener('change', (event) => { onlyMistakes = event.target.checked; show(-1); draw(); });
for (const input of document.querySelectorAll('input[name=projection]')) {
  input.addEventListener('change', () => {
    projection = Number(input.value);
    document.querySelectorAll('[data-projection]').forEach((text) => { text.hidden = text.dataset.projection !== input.value; });
    view = { x: 0, y: 0, zoom: 1 };
    show(-1);
    draw();
  });
}
function paintDots() {
  for (const input of document.querySelectorAll('.classes input')) input.nextElementSibling.style.setProperty('--dot', color(Number(input.value)));
}
for (const input of document.querySelectorAll('.classes input')) {
  input.addEventListener('change', () => { shown[input.checked ? 'add' : 'delete'](Number(input.value)); show(-1); draw(); });
}
dark.addEventListener('change', () => { paintDots(); draw(); });
addEventListener('resize', draw);
paintDots();
draw();
