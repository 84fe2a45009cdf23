// The page: choose an image, check the boxes, predict, look at the results.

import { BoxEditor } from "./boxes.js";
import * as camera from "./camera.js";
import * as results from "./results.js";
import * as server from "./server.js";

const $ = (id) => document.getElementById(id);
let limits = { upload_bytes: 32 * 2 ** 20 };
let image = null; // its name at the server
let run = 0; // counts what the user started; what an earlier run says is ignored

const editor = new BoxEditor($("stage"), $("boxes"), (count) => {
  $("predict").disabled = count === 0;
  $("add").disabled = count >= editor.most;
  $("none").hidden = count > 0;
  $("predict").textContent = count === 1 ? "Predict 1 body" : `Predict ${count || ""} bodies`.replace("  ", " ");
});
editor.onEmpty = () => $("add").focus();
editor.onDrawing = (on) => $("draw").setAttribute("aria-pressed", String(on));

function say(text, busy = false) {
  $("status").textContent = text;
  $("status").classList.toggle("busy", busy);
}

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
  if (text) $("problem").scrollIntoView({ block: "nearest" });
}

// Does something that may fail, with the page busy in the meantime.
async function attempt(work) {
  const own = (run += 1);
  const current = () => own === run;
  complain("");
  document.body.classList.add("working");
  try {
    await work((text) => current() && say(`${text} \u2026`, true), current);
  } catch (error) {
    if (current()) {
      say("");
      complain(error.message);
    }
  } finally {
    if (current()) document.body.classList.remove("working");
  }
}

function open(blob) {
  if (!blob) return;
  attempt(async (tell, current) => {
    if (blob.size > limits.upload_bytes) {
      throw new Error(`The image has more than ${limits.upload_bytes / 2 ** 20} MiB: shrink it first.`);
    }
    leave();
    tell("Sending the image");
    const sent = await server.upload(blob);
    const said = await server.result(sent.job, tell);
    if (!current()) return void server.remove(sent.image);
    image = said.image;
    $("shown").src = `/api/images/${image}/shown.jpg`;
    await $("shown").decode();
    editor.setDrawing(false);
    editor.show(said.width, said.height, said.people);
    $("focal").value = "";
    $("focal").placeholder = String(Math.round(said.focal_length));
    $("focal-note").textContent = `If empty: ${Math.round(said.focal_length)} px, ${results.source(said.focal_length_source)}.`;
    $("start").hidden = true;
    $("edit").hidden = false;
    const found = said.people.length === 1 ? "1 person was" : `${said.people.length || "No"} people were`;
    say(`${found} found. Check the boxes, then predict.`);
    (editor.boxes[0]?.row ?? $("add")).focus({ preventScroll: true });
  });
}

// While the page is seen, the server keeps the image; afterwards it may be gone.
async function keep() {
  if (!image || document.hidden) return;
  const asked = image;
  try {
    await server.keep(asked);
  } catch (error) {
    if (asked !== image) return;
    restart();
    complain(error.message);
  }
}

function predict() {
  if (document.body.classList.contains("working")) return;
  attempt(async (tell, current) => {
    const typed = $("focal").value.trim().replace(",", ".");
    const focal = typed === "" ? null : Number(typed);
    if (focal !== null && !Number.isFinite(focal)) {
      $("focal").focus();
      throw new Error(`"${typed}" is no focal length: give a number of pixels, or leave the field empty.`);
    }
    results.hide();
    tell("Sending the boxes");
    const sent = await server.predict(image, editor.values, focal);
    const said = await server.result(sent.job, tell);
    if (!current()) return;
    $("opacity").value = 100;
    results.fade(100);
    say("");
    results.show(said);
  });
}

// Deletes the image at the server.
function forget() {
  if (image) server.remove(image).catch(() => {});
  image = null;
}

// Back to the choice of an image.
function leave() {
  forget();
  results.hide();
  $("edit").hidden = true;
  $("start").hidden = false;
}

function restart() {
  run += 1;
  document.body.classList.remove("working");
  leave();
  complain("");
  say("");
  $("choose").focus();
}

async function showCamera(on) {
  try {
    if (on) await camera.start($("video"));
    else camera.stop($("video"));
    $("live").hidden = !on;
    $("drop").hidden = on;
    complain("");
    (on ? $("snap") : $("webcam")).focus();
  } catch (error) {
    complain(error.message);
  }
}

$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  open($("file").files[0]);
  $("file").value = "";
});
$("sample").addEventListener("click", () => server.sample().then(open, (error) => complain(error.message)));
$("webcam").addEventListener("click", () => showCamera(true));
$("stop").addEventListener("click", () => showCamera(false));
$("snap").addEventListener("click", async () => {
  const taken = await camera.take($("video"));
  await showCamera(false);
  open(taken);
});
$("add").addEventListener("click", () => editor.add());
$("draw").addEventListener("click", () => editor.setDrawing(!editor.drawing));
$("predict").addEventListener("click", predict);
$("focal").addEventListener("keydown", (event) => event.key === "Enter" && !$("predict").disabled && predict());
$("again").addEventListener("click", restart);
$("opacity").addEventListener("input", () => results.fade(Number($("opacity").value)));

for (const name of ["dragenter", "dragover"]) {
  window.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) window.addEventListener(name, () => $("drop").classList.remove("over"));
window.addEventListener("drop", (event) => {
  event.preventDefault();
  open(event.dataTransfer.files[0]);
});
window.addEventListener("paste", (event) => open([...event.clipboardData.files][0]));
window.addEventListener("pagehide", () => image && fetch(`/api/images/${image}`, { method: "DELETE", keepalive: true }));

document.addEventListener("visibilitychange", keep);
$("draw").hidden = !matchMedia("(any-pointer: coarse)").matches;
$("webcam").hidden = !camera.hasCamera();
server.about().then(
  (said) => {
    limits = said;
    editor.most = said.people;
    $("checkpoint").textContent = said.checkpoint === null ? "hmr_jax" : `hmr_jax with ${said.checkpoint}`;
    $("limit").textContent = `${said.upload_bytes / 2 ** 20} MiB`;
    $("minutes").textContent = said.keep_minutes;
    $("sample").hidden = !said.has_sample;
    setInterval(keep, (said.keep_minutes * 60e3) / 3);
  },
  (error) => complain(error.message),
);
