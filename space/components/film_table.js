// The table of film_table.py; `element`, `props` and `watch` come from Gradio.
'use strict';
const part = name => element.querySelector(`[data-part="${name}"]`);
const whole = element.querySelector('.hp-films'), body = element.querySelector('tbody');
const filter = part('filter'), count = part('count'), heads = [...element.querySelectorAll('[data-sort]')];
const ALL = 'all films';
let run = null, made = [], by = null, falling = false;

function line(row) {
  const tr = document.createElement('tr'), name = document.createElement('th');
  name.scope = 'row';
  if (row.thumbnail) {
    const picture = new Image(56, 56);
    picture.src = row.thumbnail;
    picture.alt = '';
    name.append(picture);
  }
  const text = document.createElement('span');
  text.textContent = row.file;
  name.append(text);
  tr.append(name);
  for (const key of ['verdict', 'shown', 'remarks']) tr.insertCell().textContent = row[key];
  tr.className = `hp-film-${row.kind}`;
  return tr;
}

function before(a, b) { // films without the value stand last, whichever way the others run
  const [left, right] = [a.row[by], b.row[by]];
  if (left === null || right === null) return (left === null) - (right === null);
  const order = typeof left === 'number' ? left - right : left.localeCompare(right, undefined, {numeric: true});
  return falling ? -order : order;
}

function arrange() {
  const kept = filter.value;
  const words = [ALL, ...[...new Set(made.map(({row}) => row.verdict))].sort()];
  if (words.join('\n') !== [...filter.options].map(option => option.value).join('\n')) {
    filter.replaceChildren(...words.map(word => new Option(word, word)));
    filter.value = words.includes(kept) ? kept : ALL;
  }
  for (const {row, line} of made) line.hidden = ![ALL, row.verdict].includes(filter.value);
  const lines = (by ? made.toSorted(before) : made).map(({line}) => line);
  if (lines.some((own, index) => body.rows[index] !== own)) body.append(...lines);
  const shown = made.filter(({line}) => !line.hidden).length;
  count.textContent = shown === made.length ? `${shown} films` : `${shown} of ${made.length} films`;
  whole.hidden = !made.length;
}

function show() {
  const {run: now, rows} = props.value ?? {run: null, rows: []};
  if (now !== run || rows.length < made.length) {
    [run, made] = [now, []];
    body.replaceChildren();
  }
  made.push(...rows.slice(made.length).map(row => ({row, line: line(row)})));
  arrange();
}

for (const head of heads) {
  head.addEventListener('click', () => {
    falling = by === head.dataset.sort && !falling;
    by = head.dataset.sort;
    for (const other of heads) other.parentElement.ariaSort = 'none';
    head.parentElement.ariaSort = falling ? 'descending' : 'ascending';
    arrange();
  });
}
filter.addEventListener('change', arrange);
watch('value', show);
show();
