// The texts of copyable.py; `element` and `props` come from Gradio.
'use strict';
element.addEventListener('click', async event => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const code = button.closest('section').querySelector('code');
  let said = 'Copied';
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch { // a page that is not served by HTTPS may not write there
    getSelection().selectAllChildren(code);
    said = 'Selected: copy it with Ctrl-C';
  }
  button.textContent = said;
  element.querySelector('[role=status]').textContent = said;
  setTimeout(() => { button.textContent = 'Copy'; }, 2000);
});
