// The menu of menu.py; `element`, `props`, `trigger` and `watch` come from Gradio.
'use strict';
const select = element.querySelector('select');
const show = () => { select.value = props.value.chosen; };
select.addEventListener('change', () => { props.value = {...props.value, chosen: select.value}; trigger('input'); });
watch('value', show);
show();
