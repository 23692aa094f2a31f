// The drop area of film_drop.py; `element`, `props`, `trigger` and `upload` come from Gradio.
'use strict';
const part = name => element.querySelector(`[data-part="${name}"]`);
const area = element.querySelector('.hp-drop'), input = part('file'), said = part('said');
let asked = 0;

async function take(files) {
  if (!files.length) return;
  const ticket = ++asked, file = files[0];
  if (file.size > props.largest) {
    said.textContent = `The file has ${Math.round(file.size / 2 ** 20)} MB; at most ${props.largest / 2 ** 20} are read.`;
    return;
  }
  said.textContent = 'Sending the film …';
  try {
    const {path} = await upload(new File([file], 'film')); // without its name, which may name a patient
    if (ticket !== asked) return; // another film came meanwhile
    said.textContent = files.length > 1 ? `${files.length} files: the first is read; Batch takes many.` : file.name;
    part('title').textContent = 'Drop the next film here';
    props.value = path;
    trigger('upload');
  } catch (error) {
    said.textContent = 'The film could not be sent; try again.';
  }
}

input.addEventListener('change', () => { take([...input.files]); input.value = ''; });
for (const kind of ['dragenter', 'dragover']) {
  area.addEventListener(kind, event => { event.preventDefault(); area.classList.add('hp-over'); });
}
for (const kind of ['dragleave', 'drop']) area.addEventListener(kind, () => area.classList.remove('hp-over'));
area.addEventListener('drop', event => { event.preventDefault(); take([...event.dataTransfer.files]); });
