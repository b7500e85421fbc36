// Runs a report's own script on its buttons: node press.js < {"script": …, "buttons": [{"a": …, "b": …}, …], "press": 0}
// prints what the download button then saves. Only what the script asks of a browser is here.
"use strict";
const {script, buttons, press} = JSON.parse(require("fs").readFileSync(0, "utf-8"));
const element = dataset => ({
  dataset, hidden: true, listeners: [], textContent: "",
  addEventListener(kind, listener) { this.listeners.push(listener); },
  click() { for (const listener of this.listeners) listener(); },
  querySelector() { return element({}); },
});
const pairs = buttons.map(element), named = {};
let saved = null;
const document = {
  querySelectorAll: () => pairs,
  getElementById: id => named[id] ??= element({}),
  createElement: () => ({click() {}}),
};
const url = {createObjectURL: blob => { saved = blob; return "blob:"; }, revokeObjectURL() {}};
new Function("document", "URL", script)(document, url);
pairs[press].click();
if (named.basket.hidden || pairs[press].ariaPressed !== "true") process.exit(3);
named.download.click();
saved.text().then(text => process.stdout.write(text));
