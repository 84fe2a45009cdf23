// The results: overlay, viewer of the bodies, table and downloads.

const $ = (id) => document.getElementById(id);
const SOURCES = {
  given: "as given",
  exif: "by the file's EXIF",
  people: "by the people who stand there",
  default: "assumed: a field of view of 60\u00b0 over the diagonal",
  hmr2: "of HMR2.0's very long lens",
};

export const source = (name) => SOURCES[name] ?? name;

const cell = (text, kind = "number") => {
  const made = document.createElement("td");
  made.className = kind;
  made.textContent = text;
  return made;
};

function row(person, number) {
  const made = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.className = `c${number % 6}`;
  name.textContent = `Person ${number + 1}`;
  const error = person.distance_error ? ` \u00b1 ${person.distance_error.toFixed(1)}` : "";
  made.append(
    name,
    cell(`${person.distance.toFixed(2)}${error} m`),
    cell(person.score === null ? "by hand" : person.score.toFixed(2)),
    cell(person.box.map(Math.round).join(", "), "number box-column"),
  );
  return made;
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function showBody(base, which, button) {
  $("viewer").src = `${base}/bodies/${which}`;
  for (const other of $("which").children) other.setAttribute("aria-pressed", String(other === button));
}

function tab(base, which, text) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", () => showBody(base, which, button));
  return button;
}

// Figures beside each other are of one height, which the window has room for.
function share(event) {
  const figure = event.target.closest("figure");
  const aspect = event.target.naturalWidth / event.target.naturalHeight;
  figure.dataset.aspect = aspect;
  figure.style.flex = `${aspect} 1 0`;
  figure.style.minWidth = `min(100%, ${260 * aspect}px)`;
  const shown = [...figure.parentElement.children].filter((one) => !one.hidden);
  const sum = shown.reduce((total, one) => total + Number(one.dataset.aspect ?? 0), 0);
  figure.parentElement.style.maxWidth = `max(300px, ${68 * sum}vh)`;
}
$("overlay").addEventListener("load", share);
$("views").addEventListener("load", share);

// Shows what the server says of a prediction.
export function show(said) {
  const base = `/api/results/${said.result}`;
  $("overlay").src = `${base}/overlay.jpg`;
  $("before").src = `/api/images/${said.image}/shown.jpg`;
  $("views-figure").hidden = !said.has_views;
  if (said.has_views) $("views").src = `${base}/views.jpg`;
  const tabs = said.people.map((_, number) => tab(base, number, `Person ${number + 1}`));
  if (tabs.length > 1) tabs.unshift(tab(base, "all", "All"));
  $("which").replaceChildren(...tabs);
  $("which").hidden = tabs.length < 2;
  showBody(base, said.people.length > 1 ? "all" : 0, tabs[0]);
  $("rows").replaceChildren(...said.people.map(row));
  const focal = `Focal length ${Math.round(said.focal_length)} px, ${source(said.focal_length_source)}.`;
  $("camera").textContent = `${focal} Distances are as accurate as the focal length.`;
  $("downloads").replaceChildren(
    ...said.files.map((file) => {
      const link = document.createElement("a");
      link.className = "button";
      link.href = `${base}/${file.name}`;
      link.download = file.name;
      link.textContent = `${file.name.split(".").pop().toUpperCase()}, ${size(file.bytes)}`;
      return link;
    }),
  );
  $("results").hidden = false;
  $("overlay-title").focus({ preventScroll: true });
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("results").scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
}

export function hide() {
  $("results").hidden = true;
  $("viewer").removeAttribute("src");
}

export const fade = (percent) => ($("before").style.opacity = String(1 - percent / 100));
